"""A gateway that goes away in the midst of a command, and one that answers nonsense."""

import socket
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.cli.link import in_commands
from gateway.core import json
from gateway.core.json import JsonObject
from gateway.home import Published, this_process, write_private
from tests.gateway.people import Desk

RUN: JsonObject = {"run_id": "r-1", "agent_name": "ada", "status": "queued"}
FOUND: JsonObject = {"jsonrpc": "2.0", "id": 1, "result": {"structuredContent": RUN, "content": []}}


@dataclass
class Standin:
    """A gateway that hangs up or says the next of `answers` to each call."""

    answers: list[bytes | None]
    asked: list[JsonObject] = field(default_factory=list[JsonObject])


@pytest.fixture
def standin(environment: dict[str, str]) -> Generator[Standin]:
    home, made = Path(environment["A2A_GATEWAY_HOME"]), Standin(answers=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append(json.decode_object(body))
            answer = made.answers.pop(0)
            if answer is None:
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        token = home / "token"
        token.write_text("t" * 43, encoding="utf-8")
        token.chmod(0o600)
        url = f"http://127.0.0.1:{server.server_port}"
        about = Published(url=url, process=this_process(), token_file=token)
        write_private(home / "gateway.json", about.to_json())
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def shell(environment: dict[str, str], tmp_path: Path) -> Desk:
    return Desk(environment=environment, folder=tmp_path)


async def test_a_spawn_whose_answer_was_lost_is_repeated_under_its_key(
    standin: Standin, shell: Desk
) -> None:
    """A script cannot tell whether its run started, so the command has to."""
    standin.answers = [None, json.dump(FOUND)]
    done = await shell.do("run", "--detach", "codex", "say x")
    assert (done.code, done.out) == (0, "r-1\n")
    first, second = standin.asked
    assert first == second
    assert len(first["params"]["arguments"]["request_key"]) == 36


async def test_a_message_whose_answer_was_lost_is_not_repeated(
    standin: Standin, shell: Desk
) -> None:
    standin.answers = [None]
    done = await shell.do("runs", "cancel", "01a2058d-58c1-7df7-b37c-273d946cf70a")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "went away" in done.err


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b'{"jsonrpc": "2.0", "id": 1}'])
async def test_nonsense_for_an_answer_is_one_line(
    answer: bytes, standin: Standin, shell: Desk
) -> None:
    standin.answers = [answer] * 2
    done = await shell.do("runs", "list")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)


def test_tools_that_an_error_names_are_commands() -> None:
    said = in_commands("no run; list_runs (ListTasks) shows them, get_run one")
    assert said == "no run; a2a-gateway runs list shows them, a2a-gateway runs show one"
