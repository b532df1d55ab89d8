"""The real Claude Code and the real Codex open no stream at /mcp that would hold the gateway."""

from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from gateway.core import json
from gateway.core.face.caller import BODY
from mcp_bridge.face import server
from mcp_bridge.face.entrance import Entrance
from tests.core.puppet import stage
from tests.e2e.callers import KINDS, Caller, Kind, place
from tests.mcp_bridge.house import Agents, http_server

CONFIGURED = {
    "claude": '{{"mcpServers": {{"a2a-gateway": {{"type": "http", "url": "{url}/mcp"}}}}}}',
    "codex": '[mcp_servers.a2a-gateway]\nurl = "{url}/mcp"\nrequired = true\n'
    'default_tools_approval_mode = "approve"\n',
}


class Noted(Entrance):
    """Every request that comes in, by its HTTP method or its MCP method."""

    asked: list[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = scope["state"][BODY]
        said = json.decode_object(body).get("method") if body else scope["method"]
        self.asked.append(str(said))
        await super().__call__(scope, receive, send)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.promise("endpoint.stream")
async def test_a_client_over_http_listens_to_nothing(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Claude Code listens as soon as tools or resources say that they change.
    monkeypatch.setattr(Noted, "asked", [], raising=False)
    monkeypatch.setattr(server, "Entrance", Noted)
    project, house = tmp_path / "project", tmp_path / "house"
    project.mkdir()
    house.mkdir()
    async with (
        place(tmp_path / "place") as there,
        stage(house) as puppets,
        http_server(puppets, Agents()) as url,
    ):
        caller = Caller(kind, there, project)
        caller.paste(CONFIGURED[kind].format(url=url))
        finished = await caller.play("delegate", jobs=[])
    assert finished.outcome == []
    assert "tools/list" in Noted.asked
    assert not {"subscriptions/listen", "GET"} & set(Noted.asked)
