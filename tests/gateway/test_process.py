"""The gateway as its users start it: a process."""

from pathlib import Path

import anyio
import httpx
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.house import alive
from tests.gateway.process import START_S, command, started
from tests.wrappers.launched import gone


def message(text: str, cwd: Path) -> JsonObject:
    """What a client that knows only the predecessor's key would send."""
    metadata = {"nanobot_orchestrator": {"cwd": str(cwd)}}
    parts = [{"text": text}]
    return {
        "message": {"messageId": "m-1", "role": "ROLE_USER", "parts": parts, "metadata": metadata}
    }


async def test_a_gateway_answers_guards_runs_and_ends_leaving_nothing(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        async with httpx.AsyncClient(base_url=gateway.url) as stranger:
            health = (await stranger.get("/healthz")).json()
            assert health["status"] == "ok"
            for method, path in (
                ("POST", "/mcp"),
                ("POST", "/agents/scripted/a2a/jsonrpc"),
                ("GET", "/agents/scripted/a2a/rest/tasks"),
                ("GET", "/agents/nobody/x"),
            ):
                refused = await stranger.request(method, path, json={})
                assert refused.status_code == 401, path
            card = (await stranger.get("/agents/scripted/.well-known/agent-card.json")).json()
            rebound = await stranger.get("/healthz", headers={"Host": "evil.example"})
            assert rebound.status_code == 421
        urls = [item["url"] for item in card["supportedInterfaces"]]
        assert urls[0] == f"{gateway.url}/agents/scripted/a2a/jsonrpc"
        sent = await gateway.rpc("scripted", "SendMessage", message("say hello", tmp_path))
        task = sent["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert task["artifacts"][-1]["parts"] == [{"text": "hello"}]
        unknown = await gateway.http.post("/agents/nobody/a2a/jsonrpc", json={})
        assert unknown.status_code == 404
        assert "scripted" in unknown.json()["error"]["message"]
        [wrapper] = gateway.home.wrappers()
        assert await gateway.stop() == 0
        assert not alive(wrapper.process.pid)
    left = {path.name for path in gateway.home.path.iterdir()}
    assert "gateway.json" not in left
    assert "launched.json" not in left


async def test_the_seven_tools_are_there_once_the_gateway_is(environment: dict[str, str]) -> None:
    async with started(environment) as gateway:
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        accept = {"Accept": "application/json, text/event-stream"}
        answer = await gateway.http.post("/mcp", json=body, headers=accept)
        assert answer.status_code == 200, answer.text
        assert "spawn_run" in answer.text
        assert await gateway.stop() == 0


async def test_a_second_gateway_of_a_home_names_the_first(environment: dict[str, str]) -> None:
    async with started(environment) as gateway:
        code, _, errors = await command(environment, "serve")
        assert code == 1
        assert gateway.url in errors
        assert "Traceback" not in errors
        code, out, _ = await command(environment, "status", "--json")
        assert (code, json.decode(out)["url"]) == (0, gateway.url)
        code, out, _ = await command(environment, "stop")
        assert (code, out) == (0, "the gateway was stopped\n")
        with anyio.fail_after(START_S):
            assert await gateway.process.wait() == 0
    code, _, _ = await command(environment, "status")
    assert code == 1


async def test_a_gateway_started_to_be_idle_ends_itself(environment: dict[str, str]) -> None:
    async with started(environment, "--idle-exit", "0.5") as gateway:
        with anyio.fail_after(START_S):
            assert await gateway.process.wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [("--host", "0.0.0.0"), ("--port", "70000"), ("--idle-exit", "0")],
    ids=["exposed", "no port", "no time"],
)
async def test_a_wrong_command_line_is_one_line(
    environment: dict[str, str], arguments: tuple[str, ...]
) -> None:
    code, out, errors = await command(environment, "serve", *arguments)
    assert code in (1, 2)
    assert out == ""
    assert "Traceback" not in errors
    assert errors.startswith("a2a-gateway: ")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_a_killed_gateway_finds_its_wrapper_and_its_run_again(
    environment: dict[str, str], tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    if kind == "postgres":
        environment["A2A_GATEWAY_DATABASE"] = request.getfixturevalue("postgres_url")
    async with started(environment) as gateway:
        params = message("say one\nask Go on?\nsay two", tmp_path)
        sent = await gateway.rpc("scripted", "SendMessage", params)
        task = sent["result"]["task"]
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        [wrapper] = gateway.home.wrappers()
        gateway.process.kill()
        await gateway.process.wait()
    assert alive(wrapper.process.pid)
    async with started(environment) as gateway:
        answer = message("yes", tmp_path)
        answer["message"] |= {"messageId": "m-2", "taskId": task["id"]}
        del answer["message"]["metadata"]
        said = await gateway.rpc("scripted", "SendMessage", answer)  # at once: it may take its time
        assert said["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
        [same] = gateway.home.wrappers()
        assert same.process.pid == wrapper.process.pid
        assert await gateway.stop() == 0
    await gone(wrapper.process.pid)


async def test_a_gateway_that_is_replaced_leaves_its_agents_at_work(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        params = message("stream 40 0.1 tick\nsay done", tmp_path)
        params["configuration"] = {"returnImmediately": True}
        task = (await gateway.rpc("scripted", "SendMessage", params))["result"]["task"]
        with anyio.fail_after(START_S):
            while not gateway.home.wrappers():
                await anyio.lowlevel.checkpoint()
        code, _, errors = await command(environment, "stop", "--keep-agents")
        assert (code, await gateway.process.wait()) == (0, 0), errors
        [wrapper] = gateway.home.wrappers()
    async with started(environment) as gateway:
        with anyio.fail_after(START_S):
            found = {"status": {"state": "TASK_STATE_WORKING"}}
            while found["status"]["state"] != "TASK_STATE_COMPLETED":
                found = (await gateway.rpc("scripted", "GetTask", {"id": task["id"]}))["result"]
                assert found["status"]["state"] != "TASK_STATE_FAILED", found
        assert [one.process for one in gateway.home.wrappers()] == [wrapper.process]
        assert await gateway.stop() == 0
    await gone(wrapper.process.pid)


async def test_gateways_that_share_a_database_leave_each_other_their_runs(
    environment: dict[str, str], tmp_path: Path, postgres_url: str
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    environment["A2A_GATEWAY_DATABASE"] = postgres_url
    beside = environment | {"A2A_GATEWAY_HOME": str(tmp_path / "beside")}
    async with started(environment) as first:
        params = message("ask Go on?\nsay two", tmp_path)
        task = (await first.rpc("scripted", "SendMessage", params))["result"]["task"]
        async with started(beside) as second:
            seen = await second.rpc("scripted", "GetTask", {"id": task["id"]})
            assert seen["result"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
            answer = message("yes", tmp_path)
            answer["message"] |= {"messageId": "m-2", "taskId": task["id"]}
            del answer["message"]["metadata"]
            said = await first.rpc("scripted", "SendMessage", answer)
            assert said["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"
            seen = await second.rpc("scripted", "GetTask", {"id": task["id"]})
            assert seen["result"]["status"]["state"] == "TASK_STATE_COMPLETED"
            assert await second.stop() == 0
        assert await first.stop() == 0


@pytest.mark.parametrize(
    ("database", "says"),
    [
        ("postgresql://u:sesame@127.0.0.1:1/runs", "127.0.0.1:1/runs: the database does not"),
        ("oracle://u:sesame@h/runs", "'oracle' are not supported"),
        ("sqlite:////proc/none/runs.db", "cannot be made or opened"),
    ],
    ids=["nobody there", "another kind", "no folder"],
)
async def test_a_database_that_cannot_be_used_is_one_line_without_its_password(
    environment: dict[str, str], database: str, says: str
) -> None:
    environment["A2A_GATEWAY_DATABASE"] = database
    code, out, errors = await command(environment, "serve")
    assert (code, out) == (1, "")
    [line] = [text for text in errors.splitlines() if text.startswith("a2a-gateway: ")]
    assert says in line
    assert "sesame" not in errors
    assert "Traceback" not in errors
