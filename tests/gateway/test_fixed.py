"""Fixed agents: a TOML file, read again when it changes, wrong in all the ways it can be."""

from pathlib import Path

import pytest

from gateway.agents.fixed import FILE_MAX, FixedFile
from gateway.agents.registration import Registration
from gateway.errors import NameTakenError, NotYoursError
from tests.gateway.house import House, house

GOOD = """
[agents.reviewer]
agent_url = "https://agents.example.com/reviewer"
auth_token = "env:REVIEWER_TOKEN"
pool = "reviewers"
labels = { team = "quality" }
accepted_output_modes = ["text/plain"]

[agents.second]
agent_url = "http://127.0.0.1:4711"
enabled = false
"""


def file_of(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "agents.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_table_is_an_agent(tmp_path: Path) -> None:
    fixed = FixedFile(file_of(tmp_path, GOOD)).changed()
    assert fixed is not None
    assert fixed.problems == ()
    reviewer, second = fixed.agents["reviewer"], fixed.agents["second"]
    assert (reviewer.kind, reviewer.pool) == ("configured", "reviewers")
    assert (reviewer.labels, reviewer.credentials) == ({"team": "quality"}, "env:REVIEWER_TOKEN")
    assert reviewer.accepted_output_modes == ("text/plain",)
    assert not second.enabled


def test_the_file_is_read_when_it_has_changed_and_need_not_be_there(tmp_path: Path) -> None:
    file = FixedFile(tmp_path / "agents.toml")
    first = file.changed()
    assert first is not None
    assert not first.agents
    assert file.changed() is None
    file_of(tmp_path, GOOD)
    assert file.changed() is not None
    assert file.changed() is None
    (tmp_path / "agents.toml").unlink()
    gone = file.changed()
    assert gone is not None
    assert not gone.agents


WRONG: dict[str, tuple[str, str]] = {
    "no TOML": ("[agents.x\n", "line 1"),
    "a key twice": ('[agents.x]\nagent_url = "a"\nagent_url = "b"\n', "line 3"),
    "no URL": ("\n[agents.x]\npool = 'p'\n", "line 2: agents.x: agent_url"),
    "a number as URL": ("[agents.x]\n\nagent_url = 7\n", "line 3: agents.x: agent_url"),
    "an unknown key": ("[agents.x]\nagent_url = 'http://h'\ncolour = 1\n", "line 3"),
    "enabled in words": ("[agents.x]\nagent_url = 'http://h'\nenabled = 'yes'\n", "enabled"),
    "a date": ("[agents.x]\nagent_url = 2026-11-22\n", "line 2: agents.x: agent_url"),
    "a wrong name": ("[agents.'a b']\nagent_url = 'http://h'\n", "as a name"),
    "no table": ("agents.x = 1\n", "must be a table"),
    "another table": ("[agent.x]\n", "unknown table or key 'agent'"),
    "a metadata address": ("[agents.x]\nagent_url = 'http://169.254.169.254'\n", "link-local"),
    "two ways to log in": (
        "[agents.x]\nagent_url = 'http://h'\nauth_token = 't'\nheaders = {Authorization = 'u'}\n",
        "line 3: agents.x: give auth_token or",
    ),
    "no table of agents": ("agents = 3\n", "agents must be"),
}


@pytest.mark.parametrize("case", list(WRONG))
def test_what_is_wrong_is_named_by_line_and_costs_itself_alone(tmp_path: Path, case: str) -> None:
    text, said = WRONG[case]
    fixed = FixedFile(file_of(tmp_path, text)).changed()
    assert fixed is not None
    [problem] = fixed.problems
    assert said in problem
    assert problem.startswith("agents.toml")
    assert str(tmp_path) not in problem
    if fixed.whole and "agents = 3" not in text and "agents.x =" not in text:
        beside = FixedFile(file_of(tmp_path, text + GOOD)).changed()
        assert beside is not None
        assert set(beside.agents) == {"reviewer", "second"}


def test_a_credential_in_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    text = "[agents.x]\nagent_url = 'http://h'\nauth_token = 'very-secret'\n"
    assert FixedFile(file_of(tmp_path, text)).changed() is not None
    fixed = FixedFile(file_of(tmp_path, text, 0o644)).changed()
    assert fixed is not None
    [problem] = fixed.problems
    assert "line 3: agents.x: " in problem
    assert "chmod 600" in problem
    assert "very-secret" not in problem
    open_file = FixedFile(file_of(tmp_path, GOOD, 0o644)).changed()  # references are no secrets
    assert open_file is not None
    assert open_file.problems == ()


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "agents.toml").mkdir()
    fixed = FixedFile(tmp_path / "agents.toml").changed()
    assert fixed is not None
    assert "directory" in fixed.problems[0]
    large = FixedFile(file_of(make(tmp_path / "large"), "#" * (FILE_MAX + 1))).changed()
    assert large is not None
    assert "larger" in large.problems[0]
    binary = make(tmp_path / "binary") / "agents.toml"
    binary.write_bytes(b"\xff\xfe")
    read = FixedFile(binary).changed()
    assert read is not None
    assert not read.whole


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


# -- among the other agents -------------------------------------------------------------------------


def names(gateway: House) -> list[str]:
    return gateway.registry.names()


async def test_agents_of_the_file_come_change_and_go_with_it(tmp_path: Path) -> None:
    async with house(tmp_path, local=("codex",)) as gateway:
        file = gateway.home.agents_file
        file_of(tmp_path, GOOD)
        assert names(gateway) == ["codex", "reviewer", "second"]
        assert "reviewers" in gateway.registry
        assert gateway.registry.members("reviewers") == ("reviewer",)
        file_of(tmp_path, GOOD.replace("second", "third"))
        assert names(gateway) == ["codex", "reviewer", "third"]
        file_of(tmp_path, GOOD + "\n[")
        assert names(gateway) == ["codex", "reviewer", "third"], "the last good one stands"
        assert "line" in gateway.registry.directory.problems[0]
        file.unlink()
        assert names(gateway) == ["codex"]
        assert gateway.registry.directory.problems == ()
        file_of(tmp_path, GOOD)
        await gateway.agent("http://127.0.0.1:9")
        assert b"reviewer" not in gateway.home.registry.read_bytes()


async def test_a_name_that_is_taken_is_a_problem_of_the_file(tmp_path: Path) -> None:
    async with house(tmp_path, local=("codex",)) as gateway:
        file_of(tmp_path, "[agents.codex]\nagent_url = 'http://h'\n" + GOOD)
        assert names(gateway) == ["codex", "reviewer", "second"]
        [problem] = gateway.registry.directory.problems
        assert "agents.codex" in problem
        assert gateway.registry.directory.entry("codex").kind == "local"


async def test_an_agent_of_the_file_is_changed_in_the_file_alone(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway:
        file_of(tmp_path, GOOD)
        directory = gateway.registry.directory
        directory.refresh()
        entry = directory.entry("reviewer")
        with pytest.raises(NotYoursError, match="file of fixed agents"):
            directory.remove(entry)
        with pytest.raises(NotYoursError, match="change it there"):
            directory.change(entry, entry.standing)
        with pytest.raises(NameTakenError):
            directory.free("reviewer", Registration(agent_url="http://127.0.0.1:9"))
