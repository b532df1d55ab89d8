"""The reviewer's workflow: a run under `profile/reviewer-remediator.md` in a git repository.

The CLIs are real and do what the profile asks for: find the scope, fix, validate, report, commit.
What a model would decide is a script; whether the commit succeeds decides the folder they work in.
"""

import shlex
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core import json
from tests.demo.stage import BIN, Stage, stage
from tests.models.codex_program import codex_program

Json = dict[str, Any]
ENDS = {"completed", "failed", "cancelled", "rejected"}
PROFILE = Path(__file__).parent.parent.parent / "profile" / "reviewer-remediator.md"
REPORTS = ".nanobot-orchestrator/reports/reviewer"
ASKED = (
    "Review only the latest diff in the current working directory, apply low-risk fixes when "
    "clearly correct, validate them, and write a remediation report."
)
# One line each, as the profile orders it; the last says what became of it.
SCOPE = "git diff --cached --stat; git diff --stat; git show --stat --oneline HEAD"
FIX = "sh ./check.sh || sed -i 's/a - b/a + b/' add.sh; sh ./check.sh"
REPORT = (
    f"mkdir -p {REPORTS}; s=report_only; git add add.sh && "
    "git commit -qm 'Add the numbers that add is given' && s=committed; "
    f"printf '# Review\\nStatus: %s\\n' $s > {REPORTS}/20260101T000000Z.md; "
    "sh ./check.sh && echo the check passes now; echo final status $s"
)
SCRIPT = "\n".join([ASKED, *(f"@sh {step}" for step in (SCOPE, FIX, REPORT)), "@results"])


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage]:
    codex_program()
    async with stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


def git(repository: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(repository), *words], capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project whose last commit broke it."""
    repository = tmp_path / "project"
    repository.mkdir()
    git(repository, "init", "-q")
    for name, value in (("user.name", "Reviewer"), ("user.email", "reviewer@example.org")):
        git(repository, "config", name, value)
    add = "add() {{ a=$1; b=$2; echo $((a {} b)); }}\n"
    check = '. ./add.sh; test "$(add 2 3)" = 5\n'
    for operator, said in (("+", "Add add"), ("-", "Make add faster")):
        (repository / "add.sh").write_text(add.format(operator), encoding="utf-8")
        (repository / "check.sh").write_text(check, encoding="utf-8")
        git(repository, "add", ".")
        git(repository, "commit", "-qm", said)
    return repository


async def reviewed(world: Stage, repository: Path, **more: Any) -> Json:
    """The run of a review that has ended."""
    asked: Json = {
        "role": "reviewer",
        "cwd": str(repository),
        "session_mode": "new",
        "prompt": SCRIPT,
        **more,
    }
    run_id = (await world.call("spawn_run", asked))["run_id"]
    after, status = 0, ""
    with anyio.fail_after(120):
        while status not in ENDS:
            page = await world.call("poll_events", {"run_id": run_id, "after_seq": after})
            after, status = page["next_after_seq"], page["status"]
    return await world.call("get_run", {"run_id": run_id})


def was_committed(repository: Path, run: Json) -> None:
    assert (run["status"], run.get("error")) == ("completed", None)
    assert "the check passes now" in run["result"]["final_response"]
    assert "final status committed" in run["result"]["final_response"]
    assert git(repository, "log", "-1", "--format=%s") == "Add the numbers that add is given\n"
    assert git(repository, "show", "--name-only", "--format=").split() == ["add.sh"]
    left_beside(repository, run, "committed")


def left_beside(repository: Path, run: Json, status: str) -> None:
    """Report and run folder are there, and git sees neither."""
    (report,) = (repository / REPORTS).iterdir()
    assert f"Status: {status}\n" in report.read_text(encoding="utf-8")
    folder = repository / ".nanobot-orchestrator" / "runs" / run["run_id"]
    shown = json.decode_object((folder / "run.json").read_bytes())
    assert shown["profile"] in ("reviewer-remediator", str(PROFILE))
    assert (folder / "events.jsonl").read_bytes().count(b"\n") == run["last_seq"]
    assert ".nanobot-orchestrator" not in git(repository, "status", "--porcelain")
    assert ".nanobot-orchestrator" not in git(repository, "ls-files")


async def folder_written(repository: Path, run: Json) -> None:
    """The folder is written a moment behind the log."""
    folder = repository / ".nanobot-orchestrator" / "runs" / run["run_id"]
    shown = anyio.Path(folder / "run.json")
    with anyio.fail_after(30):
        while not await shown.exists() or '"completedAt": null' in await shown.read_text("utf-8"):
            await anyio.lowlevel.checkpoint()


async def test_codex_commits_its_fix_where_it_may_write_to_git(
    world: Stage, repository: Path
) -> None:
    run = await reviewed(
        world,
        repository,
        backend="codex",
        profile="reviewer-remediator",
        backend_config={"sandbox": "workspace-write+git"},
    )
    await folder_written(repository, run)
    was_committed(repository, run)


async def test_codex_only_reports_where_git_is_read_only(world: Stage, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    run = await reviewed(
        world,
        repository,
        backend="codex",
        profile=str(PROFILE),
        backend_config={"sandbox": "workspace-write"},
    )
    assert run["status"] == "completed"
    assert "final status report_only" in run["result"]["final_response"]
    assert git(repository, "rev-parse", "HEAD") == head
    assert git(repository, "diff", "--name-only").split() == ["add.sh"]
    await folder_written(repository, run)
    left_beside(repository, run, "report_only")


async def test_claude_code_commits_its_fix(world: Stage, repository: Path) -> None:
    run = await reviewed(world, repository, backend="claude_code", profile=str(PROFILE))
    await folder_written(repository, run)
    was_committed(repository, run)


async def test_the_command_line_takes_a_shipped_profile_and_a_path(
    world: Stage, repository: Path
) -> None:
    (repository / "own.md").write_text("Be brief.\n", encoding="utf-8")
    for profile in ("reviewer-remediator", "own.md"):
        words = ["run", world.agent_url, "say done", "--cwd", str(repository), "--json"]
        words += ["--role", "reviewer", "--profile", profile]
        done = await anyio.run_process(
            [str(BIN / "a2a-gateway"), *words], env=world.environment, check=False
        )
        assert done.returncode == 0, shlex.join(words) + done.stderr.decode()
