"""Every route of a wrapper is behind the guard; /status says how the wrapper is."""

import re
import signal
from pathlib import Path
from typing import cast

import anyio
import httpx
import pytest
from starlette.routing import Route

from gateway.core import json
from gateway.core.extension import URI, VERSION_HEADER
from gateway.core.face.cards import Face, build_card
from gateway.core.face.routes import FaceApp
from gateway.core.face.tokens import read_token
from gateway.core.json import JsonObject
from gateway.core.tasks import Tasks
from tests.wrappers.launched import START_S, Launched, launched
from wrappers.serving.status import STATUS_PATH

CARDS = {"/.well-known/agent-card.json", "/.well-known/agent.json"}
PUBLIC = {*CARDS, *(path + "/" for path in CARDS), "/healthz"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def paths() -> list[str]:
    """Every path that a wrapper's app has a route for, and some that it has none for."""
    card = build_card(name="x", description="", base_url="http://x", version="1", skills=[])
    # Nothing is called: only the table of the routes is read.
    app = FaceApp(cast("Tasks", None), Face(agent="x", card=card))
    routes = app._app.routes  # pyright: ignore[reportPrivateUsage]
    served = {route.path for route in routes if isinstance(route, Route)}
    assert len(served) > 20
    filled = {re.sub(r"\{[^}]*\}", "1", path) for path in served}
    return sorted({*filled, *PUBLIC, STATUS_PATH, "/", "/docs", "/a2a", "/tasks/1/x"})


def right(wrapper: Launched) -> str:
    return f"Bearer {read_token(Path(wrapper.ready['token_file']))}"


def body(cwd: Path) -> JsonObject:
    """A request that would start a run, were it let in."""
    message = {
        "messageId": "m",
        "role": "ROLE_USER",
        "parts": [{"text": "say hi"}],
        "metadata": {URI: {"cwd": str(cwd)}},
    }
    return {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}


async def test_no_route_is_reached_without_the_token(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        token = right(wrapper)
        url = wrapper.ready["base_url"]
        wrong = ["", token[:-1], token + "x", token.replace("Bearer", "Basic"), "Bearer x"]
        async with httpx.AsyncClient(base_url=url, headers={VERSION_HEADER: "1.0"}) as http:
            for path in paths():
                for method in METHODS:
                    if path in PUBLIC and method in ("GET", "HEAD"):
                        assert (await http.request(method, path)).status_code == 200
                        continue
                    for given in wrong:
                        answer = await http.request(
                            method, path, json=body(tmp_path), headers={"Authorization": given}
                        )
                        assert answer.status_code == 401, (method, path, given)
        assert (await wrapper.rpc("ListTasks", {})).get("tasks", []) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Length": str(64 * 1024 * 1024)}, 413),
    ],
)
async def test_what_a_web_page_could_send_reaches_no_route_even_with_the_token(
    headers: dict[str, str], status: int, environment: dict[str, str], tmp_path: Path
) -> None:
    async with launched(environment, "scripted") as wrapper:
        content = json.encode(body(tmp_path)).encode()
        given = {
            "Authorization": right(wrapper),
            VERSION_HEADER: "1.0",
            "Content-Type": "application/json",
            **headers,
        }
        if "Content-Length" in headers:
            content = content.ljust(64 * 1024 * 1024)
        async with httpx.AsyncClient(base_url=wrapper.ready["base_url"]) as http:
            for path in ("/a2a/jsonrpc", "/a2a/rest/message:send", "/status"):
                answer = await http.post(path, content=content, headers=given)
                assert answer.status_code == status, path
                assert "access-control-allow-origin" not in answer.headers
        assert (await wrapper.rpc("ListTasks", {})).get("tasks", []) == []


async def test_status_says_how_the_wrapper_is(environment: dict[str, str], tmp_path: Path) -> None:
    async with launched(environment, "scripted", "--max-runs", "1") as wrapper:
        await wrapper.send("ask Colour?", tmp_path)
        await wrapper.send("hang", tmp_path, wait=False)
        await wrapper.send("say later", tmp_path, wait=False)
        status: JsonObject = {}
        with anyio.fail_after(START_S):
            while status.get("findings") is None or not status["runs"]["running"]:
                answer = await wrapper.client.get(f"{wrapper.ready['base_url']}/status")
                status = answer.json()
        assert status["runs"] == {"active": 3, "running": 1, "queued": 1, "waiting": 1}
        assert (status["agent"], status["name"], status["capacity"]) == ("scripted", "scripted", 1)
        assert status["pid"] == wrapper.process.pid
        assert status["uptime_s"] > 0
        assert status["memory"]["rss_bytes"] > 10_000_000
        assert set(status["processes"]) == {"count", "rss_bytes", "pss_bytes"}
        assert status["findings"] == [
            {"name": "program", "verdict": "ok", "text": "built in; needs no login"}
        ]
        assert isinstance(status["adapter"], dict)
        assert status["registration"] is None
        await wrapper.stop(signal.SIGTERM)


async def test_a_public_url_stands_in_card_and_ready_line_and_is_a_host_that_is_served(
    environment: dict[str, str], tmp_path: Path
) -> None:
    public = ("--public-url", "https://agents.example/ada/", "--root", str(tmp_path))
    async with launched(environment, "scripted", *public) as wrapper:
        assert wrapper.ready["base_url"] == "https://agents.example/ada"
        port = next((Path(environment["A2A_GATEWAY_HOME"]) / "agents").glob("*.json")).stem
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for host in ("agents.example", "agents.example:443", f"127.0.0.1:{port}"):
                answer = await http.get("/.well-known/agent-card.json", headers={"Host": host})
                [first, *_] = answer.json()["supportedInterfaces"]
                assert first["url"] == "https://agents.example/ada/a2a/jsonrpc"
            refused = await http.get("/healthz", headers={"Host": "other.example"})
            assert refused.status_code == 421
        await wrapper.stop(signal.SIGTERM)
