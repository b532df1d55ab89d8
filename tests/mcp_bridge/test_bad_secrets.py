"""A secret that comes in through the tools is nowhere afterwards: in no file, no log, no answer.

A gateway and a relay as processes, and an agent that says back whatever it is sent.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.house import alive
from tests.gateway.process import COMMAND, START_S
from tests.mcp_bridge.test_relay import Pipe

LITERAL: Final = "zQ7-literal-token-of-the-call-0123456789"
HEADER: Final = "hQ7-value-of-a-header-0123456789abcdef"
BEHIND_ENV: Final = "eQ7-behind-a-variable-0123456789abcdef"
BEHIND_FILE: Final = "fQ7-behind-a-file-0123456789abcdefgh"
TELLING: Final = "sk-proj-Canary0123456789abcdef0123"
IN_URL: Final = "pQ7password0123456789"
CANARIES: Final = (LITERAL, HEADER, BEHIND_ENV, BEHIND_FILE, TELLING, IN_URL)


def _echo(request: Request) -> Response:
    """An agent that refuses with everything it was sent."""
    return Response(f"no: {request.headers} {request.get_data(as_text=True)}", 401)


def _calls(url: str, folder: Path) -> Iterable[tuple[str, JsonObject]]:
    task: JsonObject = {
        "backend": "remote_a2a",
        "role": "worker",
        "session_mode": "new",
        "cwd": str(folder),
        "prompt": f"deploy with {TELLING}",
        "metadata": {"headers": {"Authorization": f"Bearer {TELLING}"}, "note": TELLING},
    }
    secret_file = folder.parent / "secret"
    for config in (
        {"auth_token": LITERAL, "headers": {"X-Team-Key": HEADER, "Authorization": HEADER}},
        {"auth_token": "env:SECRET_OF_TEST"},
        {"auth_token": f"file:{secret_file}"},
        {"headers": {"X-Api-Key": "env:SECRET_OF_TEST"}},
        {"auth_token": f"{LITERAL}\n", "headers": {"X": HEADER}},  # no header can hold it
        {"auth_token": LITERAL, "headers": {"bad name": HEADER}},
        {"auth_token": LITERAL, "colour": HEADER},
        {"auth_token": {"value": LITERAL}},
        {"headers": [HEADER]},
    ):
        yield "spawn_run", {**task, "backend_config": {"agent_url": url, **config}}
    named = url.replace("://", f"://me:{IN_URL}@")
    yield "spawn_run", {**task, "backend_config": {"agent_url": named}}
    nobody = f"http://me:{IN_URL}@127.0.0.1:9/?token={LITERAL}"
    yield "spawn_run", {**task, "backend_config": {"agent_url": nobody}}
    yield "spawn_run", {**task, "backend": "codex", "backend_config": {"auth_token": LITERAL}}


@pytest.mark.promise("secrets.nowhere")
async def test_secrets_of_calls_are_in_no_file_and_no_answer(
    environment: dict[str, str], tmp_path: Path, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("").respond_with_handler(_echo)
    for path in ("/", "/.well-known/agent-card.json", "/.well-known/agent.json"):
        httpserver.expect_request(path).respond_with_handler(_echo)
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "secret").write_text(BEHIND_FILE, "utf-8")
    environment |= {"SECRET_OF_TEST": BEHIND_ENV}
    told: list[bytes] = []
    starting = [*COMMAND, "serve"]
    code = f"import sys; from mcp_bridge.stdio import main; sys.exit(main([], {starting!r}))"
    async with await anyio.open_process(
        [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE
    ) as process:
        pipe = Pipe(process)
        runs = await _say_all(pipe, httpserver.url_for("").rstrip("/"), project, told)
        for number, run_id in enumerate(runs, start=1000):
            for tool, more in (("poll_events", {"after_seq": 0}), ("get_run", {})):
                await pipe.say(
                    "tools/call", number, name=tool, arguments={"run_id": run_id, **more}
                )
                told.append(json.dump(await _answer(pipe)))
        await pipe.say("tools/call", 1, name="list_runs", arguments={})
        told.append(json.dump(await _answer(pipe)))
        told.append(await pipe.close())
        assert process.stderr is not None
        told += [piece async for piece in process.stderr]
    await _stop_gateway(Path(environment["A2A_GATEWAY_HOME"]))
    assert runs, "no call was taken"
    leaks = {canary: _where(canary, told, environment, project) for canary in CANARIES}
    assert {canary: found for canary, found in leaks.items() if found} == {}


async def _answer(pipe: Pipe) -> JsonObject:
    with anyio.fail_after(START_S):
        return await pipe.read()


async def _say_all(pipe: Pipe, url: str, project: Path, told: list[bytes]) -> list[str]:
    """The runs that were begun."""
    await pipe.say("tools/list", 0)
    while True:
        try:
            await pipe.read()
            break
        except TimeoutError:  # the gateway is being started
            continue
    runs: list[str] = []
    for number, (tool, arguments) in enumerate(_calls(url, project), start=1):
        await pipe.say("tools/call", number, name=tool, arguments=arguments)
        answer = await _answer(pipe)
        told.append(json.dump(answer))
        begun = json.as_object(json.as_object(answer.get("result")).get("structuredContent"))
        if "run_id" in begun:
            runs.append(begun["run_id"])
    return runs


def _where(canary: str, told: list[bytes], environment: dict[str, str], project: Path) -> list[str]:
    """The places that hold it."""
    wanted = canary.encode()
    found = [f"answer: {text[:200]!r}" for text in told if wanted in text]
    for folder in (Path(environment["HOME"]), project):
        files = (path for path in folder.rglob("*") if path.is_file())
        found += [str(path) for path in files if wanted in path.read_bytes()]
    return found


async def _stop_gateway(home: Path) -> None:
    pid = json.decode_object((home / "gateway.json").read_bytes())["pid"]
    os.kill(pid, signal.SIGTERM)
    with anyio.fail_after(START_S):
        while alive(pid):
            await anyio.lowlevel.checkpoint()
