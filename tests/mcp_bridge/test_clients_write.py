"""`a2a-mcp-bridge config … --write`: what reaches a person's file, and what keeps it from it."""

import json
import os
import stat
import sys
import threading
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mcp_bridge import stdio
from mcp_bridge.catalog import TOOLSETS
from mcp_bridge.clients import command, files
from mcp_bridge.clients.client import Entry, Http, Surroundings
from mcp_bridge.clients.codex import PAGE_TOKENS
from mcp_bridge.clients.configuration import CLIENTS, planned, printed

COMMAND = str(Path(sys.executable).with_name("a2a-mcp-bridge"))
NAMES = sorted(CLIENTS)
WAYS = [
    Entry(COMMAND, ["--toolsets", "agents"], {"A2A_GATEWAY_HOME": "/h ü"}),
    Http("http://127.0.0.1:8420/mcp", "a2a-mcp-bridge headers"),
    Http("http://127.0.0.1:8420/mcp", None),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody's home and folder, and what they type; nobody sits at a terminal."""

    home: Path
    folder: Path
    run: Callable[[Sequence[str]], Said]

    def does(self, *words: str) -> Said:
        return self.run(words)

    def place(self, client: str, scope: Any = "user") -> Path:
        around = Surroundings({"HOME": str(self.home)}, self.folder, sys.platform)
        return CLIENTS[client].place(around, scope)

    def copies(self, path: Path) -> list[Path]:
        return sorted(path.parent.glob(f"{path.name}.*.bak"))


@pytest.fixture
def person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Person:
    home, folder = tmp_path / "ho'me $HOME é", tmp_path / "project"
    home.mkdir()
    folder.mkdir()
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("A2A_GATEWAY_PORT", raising=False)
    monkeypatch.delenv("A2A_GATEWAY_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(folder)

    def run(words: Sequence[str]) -> Said:
        code = stdio.main(words)
        done = capsys.readouterr()
        return Said(code=code, out=done.out, err=done.err)

    return Person(home=home, folder=folder, run=run)


def entry_of(client: str, path: Path) -> dict[str, Any]:
    text = path.read_text("utf-8")
    document = tomllib.loads(text) if client == "codex" else json.loads(text)
    return document[CLIENTS[client].servers]["a2a-gateway"]


# -- what is written -----------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["user", "project"])
@pytest.mark.parametrize("client", NAMES)
def test_what_is_written_is_what_is_printed_and_a_second_time_changes_nothing(
    client: str, scope: str, person: Person
) -> None:
    words = ["--toolsets", "agents", "--elicit", "config", client, "--scope", scope]
    shown = person.does(*words)
    path = person.place(client, scope)
    assert not path.exists()
    assert str(path) in shown.err
    done = person.does(*words, "--yes")
    assert (done.code, done.out) == (0, "")
    assert path.read_text("utf-8") == shown.out
    assert entry_of(client, path)["command"] == COMMAND
    assert entry_of(client, path)["args"] == ["--toolsets", "agents", "--elicit"]
    again = person.does(*words, "--write")
    assert again.code == 0
    assert "has a2a-gateway already" in again.err
    assert path.read_text("utf-8") == shown.out
    assert person.copies(path) == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("client", NAMES)
def test_from_each_way_to_each_other_nothing_of_the_first_is_left(
    client: str, way: Entry | Http
) -> None:
    text = ""
    for first in WAYS:
        text = planned(CLIENTS[client], first, text).text
    plan = planned(CLIENTS[client], way, text)
    assert not plan.foreign
    read = tomllib.loads if client == "codex" else json.loads
    servers = CLIENTS[client].servers
    assert read(plan.text)[servers] == read(printed(CLIENTS[client], way))[servers]


@pytest.mark.parametrize("client", NAMES)
def test_what_the_person_added_to_the_entry_stays(client: str) -> None:
    path = (CLIENTS[client].servers, "a2a-gateway")
    first = Entry(COMMAND, [], {"A2A_GATEWAY_HOME": "/old"})
    text = planned(CLIENTS[client], first, "").text
    if client == "codex":
        text = text.replace("env = { ", 'env = { MINE = "1", ') + "enabled = true # mine\n"
    else:
        text = text.replace('"env": {', '"env": {\n "MINE": "1",')
        text = text.replace('"args"', '"disabled": false,\n "args"')
    plan = planned(CLIENTS[client], Entry(COMMAND, ["--elicit"], {}), text)
    read = tomllib.loads if client == "codex" else json.loads
    found = read(plan.text)[path[0]][path[1]]
    assert found["env"] == {"MINE": "1"}
    assert found["args"] == ["--elicit"]
    assert found["enabled" if client == "codex" else "disabled"] is (client == "codex")
    assert '"1"' not in "".join(plan.changes)


# They say how a command is started, and went when the same command was written once more.
@pytest.mark.parametrize("client", NAMES)
def test_the_folder_and_the_file_of_variables_of_the_command_stay(client: str) -> None:
    text = planned(CLIENTS[client], Entry(COMMAND, [], {}), "").text
    if client == "codex":
        text += 'cwd = "/mine"\n'
    else:
        text = text.replace('"args"', '"cwd": "/mine", "envFile": ".env", "args"')
    again = planned(CLIENTS[client], Entry(COMMAND, ["--elicit"], {}), text)
    assert "/mine" in again.text
    assert ("envFile" in again.text) is (client != "codex")
    assert "/mine" not in planned(CLIENTS[client], WAYS[1], text).text


def test_codex_keeps_what_was_allowed_of_single_tools() -> None:
    # Codex writes such a table when a person allows a tool for ever.
    allowed = '[mcp_servers.a2a-gateway.tools.{0}]\napproval_mode = "approve"\n'
    server = f"[mcp_servers.a2a-gateway]\ncommand = {json.dumps(COMMAND)}\n"
    for tools in (["spawn_run"], ["get_event_artifact"], ["spawn_run", "get_event_artifact"]):
        text = "\n".join([server, *map(allowed.format, tools)])
        after = tomllib.loads(planned(CLIENTS["codex"], WAYS[0], text).text)
        found = after["mcp_servers"]["a2a-gateway"]["tools"]
        assert all(found[tool]["approval_mode"] == "approve" for tool in tools)
        assert found["get_event_artifact"]["output_token_limit"] == PAGE_TOKENS


def test_codex_keeps_variables_that_were_added_to_those_handed_on() -> None:
    text = planned(CLIENTS["codex"], WAYS[0], "").text
    text = text.replace("env_vars = [", 'env_vars = ["GEMINI_API_KEY", ')
    assert planned(CLIENTS["codex"], Entry(COMMAND, [], {}), text).text.count("GEMINI_API_KEY") == 1


def test_the_gateway_is_the_one_of_the_persons_shell_wherever_the_client_is_started(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A client started from a desktop has none of the shell's variables: it would find another home,
    # and start another gateway there.
    monkeypatch.setenv("XDG_STATE_HOME", str(person.home / "state"))
    assert person.does("config", "vscode", "--yes").code == 0
    home = str(person.home / "state" / "a2a-gateway")
    assert entry_of("vscode", person.place("vscode"))["env"] == {"A2A_GATEWAY_HOME": home}


def test_a_file_keeps_its_mode_its_mark_and_the_link_that_leads_to_it(person: Person) -> None:
    dotfiles = person.home / "dotfiles"
    dotfiles.mkdir()
    real = dotfiles / "cursor.json"
    before = b'\xef\xbb\xbf{\r\n  // mine\r\n  "a": 1,\r\n}\r\n'
    real.write_bytes(before)
    real.chmod(0o640)
    path = person.place("cursor")
    path.parent.mkdir()
    path.symlink_to(real)
    assert person.does("config", "cursor", "--yes").code == 0
    assert path.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    content = real.read_bytes()
    assert content.startswith(before[: -len(b"\r\n}\r\n")])
    assert content.count(b"\n") == content.count(b"\r\n")
    (copy,) = person.copies(real)
    assert copy.read_bytes() == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o640


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_a_file_keeps_its_owner(person: Person) -> None:
    path = person.place("claude")
    path.write_text("{}", "utf-8")
    os.chown(path, 12345, 12346)
    assert person.does("config", "claude", "--yes").code == 0
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_new_file_of_the_persons_own_is_for_nobody_else(person: Person) -> None:
    assert person.does("config", "gemini", "--yes").code == 0
    assert stat.S_IMODE(person.place("gemini").stat().st_mode) == 0o600


def test_claude_code_is_given_the_file_that_it_has(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = person.home / "elsewhere"
    folder.mkdir()
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(folder))
    assert person.does("config", "claude", "--yes").code == 0
    assert entry_of("claude", folder / ".claude.json")["command"] == COMMAND
    (folder / ".config.json").write_text("{}", "utf-8")  # as old versions left it
    assert person.does("config", "claude", "--yes").code == 0
    assert entry_of("claude", folder / ".config.json")["command"] == COMMAND


@pytest.mark.parametrize("root", ["project", "."])
def test_an_entry_that_goes_before_it_in_this_project_is_said(person: Person, root: str) -> None:
    folder = (person.folder.parent / root).resolve()
    (folder / ".git").mkdir()
    local = {"mcpServers": {"a2a-gateway": {"command": "/bin/false"}}}
    document = {"projects": {str(folder): local}}
    person.place("claude").write_text(json.dumps(document), "utf-8")
    for _ in range(2):
        done = person.does("config", "claude", "--yes")
        assert done.code == 0
        assert "claude mcp remove --scope local a2a-gateway" in done.err
    assert json.loads(person.place("claude").read_text("utf-8"))["projects"] == document["projects"]


# -- what is not ---------------------------------------------------------------------------------


@pytest.mark.parametrize("client", NAMES)
def test_without_a_terminal_nothing_is_written_and_the_line_that_does_is_said(
    client: str, person: Person
) -> None:
    done = person.does("--elicit", "config", client, "--write")
    assert done.code == 2
    assert f"--elicit config {client} --write --yes" in done.err
    assert not person.place(client).exists()


@pytest.mark.parametrize(
    ("client", "text", "says"),
    [
        ("claude", '{\n"a": 1\n"b": 2}', "line 3 is no JSON"),
        ("claude", "[]", "it holds no object"),
        ("claude", '{"mcpServers": []}', "its mcpServers is no object"),
        ("cursor", '{"mcpServers": {"a2a-gateway": "x"}}', "as something else than an object"),
        ("gemini", '{\n"a": 1,\n}', "line 3 is no JSON"),
        ("codex", "a = 1\nb = ?\n", "at line 2"),
        ("codex", "[mcp_servers]\na2a-gateway = 1\n", "as something else than an object"),
        ("codex", "mcp_servers = {}\n", "written in a way that cannot be edited"),
    ],
)
def test_a_file_that_cannot_be_read_or_edited_is_left_alone(
    client: str, text: str, says: str, person: Person
) -> None:
    path = person.place(client)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    done = person.does("config", client, "--yes")
    assert done.code == 1
    assert f"{path}: " in done.err
    assert says in done.err
    assert COMMAND in done.err  # what to paste
    assert path.read_text("utf-8") == text
    assert person.copies(path) == []


def test_bytes_that_are_no_text_are_left_alone(person: Person) -> None:
    person.place("claude").write_bytes(b'{"a": "\xff"}')
    done = person.does("config", "claude", "--yes")
    assert (done.code, "it is no UTF-8" in done.err) == (1, True)


@pytest.mark.parametrize("client", NAMES)
def test_another_server_under_our_name_is_not_replaced_by_a_script(
    client: str, person: Person
) -> None:
    path = person.place(client)
    path.parent.mkdir(parents=True, exist_ok=True)
    servers = CLIENTS[client].servers
    text = json.dumps(
        {servers: {"a2a-gateway": {"command": "/opt/x", "args": ["--key", "s3cret"]}}}
    )
    if client == "codex":
        text = "[mcp_servers.a2a-gateway]\ncommand = '/opt/x'\nargs = ['--key', 's3cret']\n"
    path.write_text(text, "utf-8")
    done = person.does("config", client, "--yes")
    assert done.code == 2
    assert "/opt/x" in done.err
    assert "s3cret" not in done.err
    assert path.read_text("utf-8") == text


# Servers are reached by secrets in the paths of their URLs, and some write a whole line as command.
@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ({"url": "https://me:s3cret@x.example:1/a/s3cret/mcp?k=s3cret#s3cret"}, "x.example:1"),
        ({"url": "https://x.example?k=s3cret"}, "https://x.example"),
        ({"url": ["s3cret"]}, "- url: …"),
        ({"command": "npx it --key=s3cret"}, "npx"),
    ],
)
def test_of_a_server_that_is_replaced_no_secret_is_shown(
    server: dict[str, Any], shown: str
) -> None:
    text = json.dumps({"mcpServers": {"a2a-gateway": server}})
    plan = planned(CLIENTS["cursor"], WAYS[0], text)
    assert shown in "\n".join(plan.changes)
    assert "s3cret" not in "\n".join(plan.changes)


def test_a_place_that_cannot_be_written_is_said_with_what_to_paste(person: Person) -> None:
    (person.home / ".codex").write_text("a file", "utf-8")
    done = person.does("config", "codex", "--yes")
    assert done.code == 1
    assert "Not a directory" in done.err
    assert "Traceback" not in done.err


def test_a_folder_in_the_place_of_the_file_is_said(person: Person) -> None:
    person.place("claude").mkdir()
    done = person.does("config", "claude", "--yes")
    assert (done.code, "is no file" in done.err) == (1, True)


def test_links_that_lead_to_each_other_are_said(person: Person) -> None:
    path = person.place("claude")
    path.symlink_to(path)
    done = person.does("config", "claude", "--yes")
    assert (done.code, "cannot be read" in done.err) == (1, True)


@pytest.mark.parametrize(
    ("client", "home"),
    [("claude", "/h/${X}"), ("gemini", "/h/$X"), ("cursor", "/h/${env:X}"), ("vscode", "/${a}")],
)
def test_a_path_that_the_client_would_change_is_refused(
    client: str, home: str, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A2A_GATEWAY_HOME", home)
    done = person.does("config", client)
    assert (done.code, done.out) == (1, "")
    assert "would replace $" in done.err


def test_two_at_once_both_have_their_way(person: Person) -> None:
    path = person.place("claude")
    before: dict[str, Any] = {"projects": {"/x": {}}}
    path.write_text(json.dumps(before), "utf-8")
    start = threading.Barrier(8)

    def write(number: int) -> None:
        start.wait()
        while True:
            found = files.found(path)
            document = json.loads(found.text) | {str(number): number}
            try:
                files.replaced(found, found.encoded(json.dumps(document)), private=True)
            except files.ChangedError:
                continue
            return

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    expected = before | {str(number): number for number in range(8)}
    assert json.loads(path.read_text("utf-8")) == expected
    assert len(person.copies(path)) == 8
    assert not [one for one in path.parent.iterdir() if one.name.startswith("..")]


def test_a_toolset_that_is_none_is_refused_before_it_is_written(person: Person) -> None:
    done = person.does("--toolsets", "agents,nope", "config", "codex", "--yes")
    assert (done.code, "the toolsets are runs, agents" in done.err) == (1, True)
    assert not person.place("codex").exists()
    assert set(command.TOOLSETS) == set(TOOLSETS)


def test_the_way_may_be_said_before_or_behind_the_client(person: Person) -> None:
    way = ["--gateway", "http://127.0.0.1:1", "--toolsets", "agents", "--elicit"]
    before, behind = person.does(*way, "config", "codex"), person.does("config", "codex", *way)
    assert before == behind
    assert "--elicit" in before.out


# -- by the gateway's URL ------------------------------------------------------------------------


@pytest.mark.parametrize("client", NAMES)
def test_the_url_form_has_the_token_by_reference_only(client: str, person: Person) -> None:
    token = person.folder / "token"
    token.write_text("s3cret", "utf-8")
    token.chmod(0o600)
    words = ["--gateway", "https://far.example/base/", "--token-file", "token", "--elicit"]
    done = person.does(*words, "--toolsets", "agents", "config", client, "--http")
    assert done.code == 0
    assert "https://far.example/base/mcp?toolsets=agents&elicit=true" in done.out
    assert "s3cret" not in done.out + done.err
    by = {
        "claude": "headersHelper",
        "codex": "http_headers_helper",
        "cursor": "Bearer ${env:A2A_GATEWAY_TOKEN}",
        "gemini": "Bearer $A2A_GATEWAY_TOKEN",
        "vscode": "Bearer ${input:a2a-gateway-token}",
    }
    assert by[client] in done.out
    assert str(token) in done.out + done.err


@pytest.mark.parametrize("client", NAMES)
def test_a_gateway_that_wants_no_token_gets_none(client: str, person: Person) -> None:
    done = person.does("--gateway", "http://127.0.0.1:1/mcp", "config", client, "--http")
    assert "http://127.0.0.1:1/mcp" in done.out
    assert "/mcp/mcp" not in done.out
    for word in ("Authorization", "eaders_helper", "headersHelper", "TOKEN", "inputs"):
        assert word not in done.out


def test_without_a_gateway_its_url_is_not_guessed(person: Person) -> None:
    done = person.does("config", "claude", "--http")
    assert (done.code, done.out) == (1, "")
    assert "a2a-gateway serve --port" in done.err


def test_a_port_that_is_fixed_is_enough(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A2A_GATEWAY_PORT", "8420")
    done = person.does("config", "codex", "--http")
    assert 'url = "http://127.0.0.1:8420/mcp"' in done.out
    assert "holds as long as" not in done.err


def test_the_port_of_a_running_gateway_is_said_not_to_stay(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = person.home / "gateway"
    home.mkdir(mode=0o700)
    (home / "token").write_text("s3cret", "utf-8")
    running = {"url": "http://127.0.0.1:55001", "pid": os.getpid(), "token_file": f"{home}/token"}
    (home / "gateway.json").write_text(json.dumps(running), "utf-8")
    for path in home.iterdir():
        path.chmod(0o600)
    monkeypatch.setenv("A2A_GATEWAY_HOME", str(home))
    done = person.does("config", "cursor", "--http")
    assert "http://127.0.0.1:55001/mcp" in done.out
    assert "a2a-gateway serve --port 55001" in done.err
    assert "s3cret" not in done.out + done.err
    headers = person.does("headers")
    assert json.loads(headers.out) == {"Authorization": "Bearer s3cret"}


def test_headers_of_a_gateway_that_is_not_there_are_refused(person: Person) -> None:
    done = person.does("headers")
    assert (done.code, done.out) == (1, "")
    assert "a2a-gateway serve" in done.err
    assert not (person.home / ".local").exists()
