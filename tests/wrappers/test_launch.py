"""start-a2a-agent as a real process: what it says, serves, refuses, and how it ends."""

import os
import pty
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from gateway.core import json
from gateway.core.face.tokens import read_token
from tests.wrappers.launched import COMMAND, START_S, Launched, gone, launched, refused, spoken
from wrappers.agents import agent_named

TEXT = r"""
A2A wrapper started successfully\.
Agent: scripted
Backend working directory: provided dynamically by spawn_run\.cwd
Base URL: (?P<url>http://127\.0\.0\.1:\d+)
JSON-RPC URL: (?P=url)/a2a/jsonrpc
Agent Card: (?P=url)/\.well-known/agent-card\.json
Token file: \S+/wrappers/scripted/token

Use this MCP payload:
(?P<payload>\{.*?\n\})

Press Ctrl\+C to stop the wrapper\.
"""


async def test_a_ready_wrapper_says_where_it_is_and_how_it_is_used(
    environment: dict[str, str],
) -> None:
    process = await anyio.open_process(
        [*COMMAND, "scripted"], env=environment, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    said = ""
    with anyio.fail_after(START_S):
        while "Press Ctrl+C" not in said:
            said += (await process.stdout.receive()).decode()
    found = re.fullmatch(TEXT, said, re.DOTALL)
    assert found is not None, said
    payload = json.decode(found["payload"])
    assert payload["backend_config"] == {"agent_url": found["url"]}
    assert payload["backend"] == "remote_a2a"
    process.send_signal(signal.SIGINT)
    with anyio.fail_after(START_S):
        rest = b"".join([chunk async for chunk in process.stdout])
        assert await process.wait() == 0
    assert rest.decode() == "\nReceived SIGINT, shutting down scripted A2A wrapper...\n"
    await process.aclose()


async def test_the_ready_line_names_everything_a_program_needs(
    environment: dict[str, str],
) -> None:
    async with launched(environment, "scripted", "--name", "ada") as wrapper:
        ready = wrapper.ready
        assert (ready["agent"], ready["name"], ready["pid"]) == (
            "scripted",
            "ada",
            wrapper.process.pid,
        )
        health = await wrapper.client.get(f"{ready['base_url']}/healthz")
        assert health.json()["status"] == "ok"
        card = (await wrapper.client.get(ready["card_url"])).json()
        assert [skill["id"] for skill in card["skills"]] == ["scripted"]
        assert card["supportedInterfaces"][0]["url"] == ready["jsonrpc_url"]


async def test_a_gateway_of_the_same_user_finds_the_wrapper_and_its_token(
    environment: dict[str, str],
) -> None:
    home = Path(environment["A2A_GATEWAY_HOME"])
    async with launched(environment, "scripted") as wrapper:
        port = wrapper.ready["base_url"].rpartition(":")[2]
        note = home / "agents" / f"{port}.json"
        said = json.decode_object(note.read_bytes())
        assert said["url"] == wrapper.ready["base_url"]
        assert (said["pid"], said["agent"], said["name"]) == (
            wrapper.process.pid,
            "scripted",
            "scripted",
        )
        assert said["token_file"] == wrapper.ready["token_file"]
        assert said["start_time"] > 0
        private = [note, Path(said["token_file"]), home / "wrappers" / "scripted" / "runs.db"]
        assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
        assert await wrapper.stop(signal.SIGTERM) == 0
    assert not note.exists()


async def test_a_message_does_its_script_in_the_folder_it_names(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send("run pwd; echo $HOME $A2A_GATEWAY_HOME\nsay done", tmp_path)
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        finished = [
            event["data"]
            async for event in wrapper.events(task["id"])
            if event["type"] == "command_finished"
        ]
    assert finished[0]["output"] == f"{tmp_path}\n{environment['HOME']}\n"


async def test_without_the_token_nothing_is_done(environment: dict[str, str]) -> None:
    async with launched(environment, "scripted") as wrapper, httpx.AsyncClient() as stranger:
        answer = await stranger.post(wrapper.ready["jsonrpc_url"], json={"id": 1})
        assert answer.status_code == 401
        token = read_token(Path(wrapper.ready["token_file"]))
        assert token not in json.encode(wrapper.ready)


async def test_no_auth_asks_for_no_token(environment: dict[str, str], tmp_path: Path) -> None:
    async with launched(environment, "scripted", "--no-auth") as wrapper:
        assert wrapper.ready["token_file"] is None
        assert (await wrapper.send("say hello", tmp_path))["status"]["state"].endswith("COMPLETED")


async def test_folders_outside_the_roots_are_refused(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    root = str(tmp_path / "in")
    async with launched(environment, "scripted", "--root", root) as wrapper:
        assert (await wrapper.send("say hello", tmp_path / "in"))["status"]["state"].endswith(
            "COMPLETED"
        )
        answer = await send_raw(wrapper, "say hello", tmp_path)
    assert "outside the folders" in answer["error"]["message"]


async def send_raw(wrapper: Launched, text: str, cwd: Path) -> dict[str, dict[str, str]]:
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendMessage",
        "params": {"message": spoken(text, cwd)},
    }
    return (await wrapper.client.post(wrapper.ready["jsonrpc_url"], json=body)).json()


# -- the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_stop_ends_a_running_run_truthfully_and_leaves_no_process(
    number: signal.Signals, environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send("run echo $$; exec sleep 600", tmp_path, wait=False)
        events = wrapper.events(task["id"])
        pid = 0
        last: dict[str, str] = {}
        async for event in events:
            last = event
            if event["type"] == "command_updated" and not pid:
                pid = int(event["data"]["output"])
                wrapper.process.send_signal(number)
        with anyio.fail_after(START_S):
            assert await wrapper.process.wait() == 0
        assert pid
        await gone(pid)
    assert last["type"] == "run_failed"
    assert json.encode(last["data"]).count("interrupted") == 1


async def test_a_killed_wrapper_leaves_no_process_and_tells_the_truth_when_it_is_back(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send("run echo $$; exec sleep 600", tmp_path, wait=False)
        asked = await wrapper.send("ask Colour?", tmp_path)
        pid = 0
        async for event in wrapper.events(task["id"]):
            if event["type"] == "command_updated":
                pid = int(event["data"]["output"])
                break
        wrapper.process.kill()
        await wrapper.process.wait()
        await gone(pid)
    async with launched(environment, "scripted") as wrapper:
        [*_, last] = [event async for event in wrapper.events(task["id"])]
        assert (last["type"], last["data"]["reason"]) == ("run_failed", "interrupted")
        still = await wrapper.rpc("GetTask", {"id": asked["id"]})
        assert still["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        again = await wrapper.send("say hello", tmp_path)
        assert again["status"]["state"].endswith("COMPLETED")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows another's environment")
async def test_what_survives_wrapper_and_guardian_is_swept_at_the_next_start(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        task = await wrapper.send("run sleep 600 & echo $PPID $!; wait", tmp_path, wait=False)
        guardian = left = 0
        async for event in wrapper.events(task["id"]):
            if event["type"] == "command_updated":
                guardian, left = map(int, event["data"]["output"].split())
                break
        wrapper.process.send_signal(signal.SIGSTOP)  # so it cannot sweep up itself
        os.kill(guardian, signal.SIGKILL)
        wrapper.process.kill()
        await wrapper.process.wait()
    os.kill(left, 0)  # it survived, or the test proves nothing
    async with launched(environment, "scripted"):
        await gone(left)


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nobody"], 2, "no agent 'nobody'; there are: codex, claude_code, scripted"),
        ([], 2, "no terminal to ask on; name one: codex, claude_code, scripted"),
        (["scripted", "--name", "../up"], 2, "name:"),
        (["scripted", "--port", "70000"], 2, "port:"),
        (["scripted", "--max-runs", "0"], 2, "max_runs:"),
        (["scripted", "--run-as", "no-such-user"], 2, "no user 'no-such-user'"),
        (["scripted", "--host", "0.0.0.0"], 1, "is not loopback"),
        (["scripted", "--host", "::"], 1, "is not loopback"),
        (["scripted", "--host", "0.0.0.0", "--insecure-bind"], 1, "is not loopback"),
        (["codex", "--codex-bin", "/nowhere/codex"], 1, "codex"),
    ],
)
async def test_a_start_that_cannot_work_says_what_to_do(
    arguments: list[str], status: int, says: str, environment: dict[str, str]
) -> None:
    code, errors = await refused(environment, *arguments)
    assert says in errors
    assert code == status
    assert "Traceback" not in errors


async def test_a_token_file_that_others_can_read_is_refused(
    environment: dict[str, str], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 43, encoding="ascii")
    token.chmod(0o640)
    code, errors = await refused(environment, "scripted", "--token-file", str(token))
    assert (code, "chmod 600" in errors) == (1, True)
    assert "t" * 43 not in errors


async def test_a_second_wrapper_of_the_same_name_is_refused(environment: dict[str, str]) -> None:
    async with launched(environment, "scripted"):
        code, errors = await refused(environment, "scripted")
        assert (code, "choose another --name" in errors) == (3, True)
        async with launched(environment, "scripted", "--name", "other"):
            pass


async def test_a_taken_port_is_named(environment: dict[str, str]) -> None:
    async with launched(environment, "scripted") as wrapper:
        port = wrapper.ready["base_url"].rpartition(":")[2]
        code, errors = await refused(environment, "scripted", "--name", "other", "--port", port)
    assert (code, f"127.0.0.1:{port}" in errors) == (1, True)


# -- the question --------------------------------------------------------------------------------


class Terminal:
    """A person at a terminal, who also answers where the cursor is."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            COMMAND,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env={**environment, "TERM": "xterm"},
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    async def until(self, text: str) -> None:
        with anyio.fail_after(START_S):
            while text not in self.seen:
                await anyio.wait_readable(self.ours)
                news = os.read(self.ours, 65536).decode(errors="replace")
                self.seen += news
                if "\x1b[6n" in news:
                    self.type("\x1b[1;1R")

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    async def close(self) -> int:
        with anyio.fail_after(START_S):
            return await anyio.to_thread.run_sync(self.process.wait)


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal is a pty")
async def test_without_an_argument_it_asks_until_the_answer_names_an_agent(
    environment: dict[str, str],
) -> None:
    terminal = Terminal(environment)
    try:
        await terminal.until("Choose backend to wrap")
        terminal.type("9\r")
        await terminal.until("Invalid choice.")
        terminal.type("\x7fscripted\r")
        await terminal.until("Press Ctrl+C to stop the wrapper.")
        assert "Agent: scripted" in terminal.seen
        terminal.process.send_signal(signal.SIGINT)
        await terminal.until("Received SIGINT")
        assert await terminal.close() == 0
    finally:
        terminal.process.kill()
        terminal.process.wait()
        os.close(terminal.ours)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("1", "codex"),
        (" Codex ", "codex"),
        ("2", "claude_code"),
        ("CLAUDE", "claude_code"),
        ("claudecode", "claude_code"),
        ("claude_code", "claude_code"),
        ("3", None),
        ("", None),
    ],
)
def test_an_agent_goes_by_its_number_its_name_and_its_short_names(
    said: str, meant: str | None
) -> None:
    assert agent_named(said) == meant
