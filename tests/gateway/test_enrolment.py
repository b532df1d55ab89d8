"""Wrappers that register themselves: what the gateway takes, keeps, refuses and never shows."""

import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gateway.agents.enrolment import Enrolments, Registrars
from gateway.agents.health import State
from gateway.agents.registration import Enrolled
from gateway.core.events import RunCompleted
from gateway.core.face.guard import Guard
from gateway.core.status import RunStatus
from gateway.errors import AgentUnreachableError, EmptyPoolError
from tests.core.faces import served
from tests.core.puppet import Stage
from tests.gateway.cable import cable
from tests.gateway.house import PATIENCE_S, House, house
from tests.gateway.test_remote import Pair, advertise

OWN, REGISTER = "o" * 43, "r" * 43
TOKEN, KEY = "t" * 43, "k" * 43
URL = "http://127.0.0.1:4711"


def asked(**more: Any) -> dict[str, Any]:
    return {"name": "ada", "agent_url": URL, "token": TOKEN, "key": KEY, **more}


@asynccontextmanager
async def registering(
    tmp_path: Path, token: str = REGISTER
) -> AsyncGenerator[tuple[House, httpx.AsyncClient]]:
    async with house(tmp_path / "home", local=("codex",)) as gateway:
        guard = Guard(Enrolments(gateway.registry), token=OWN, others=Registrars(REGISTER).holder)
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=guard), base_url="http://127.0.0.1", headers=headers
        ) as http:
            yield gateway, http


async def test_a_wrapper_that_registers_is_an_agent_by_its_name(tmp_path: Path) -> None:
    async with registering(tmp_path) as (gateway, http):
        answer = await http.post("/agents", json=asked())
        assert answer.json() == {
            "name": "ada",
            "spawn_run": {"backend": "remote_a2a", "backend_config": {"agent": "ada"}},
        }
        assert TOKEN not in answer.text
        assert await gateway.registry.resolve("remote_a2a", {"agent": "ada"}, "/") == "ada"
        # Its URL alone means the same agent, with the token that it brought.
        assert await gateway.agent(URL) == "ada"
        assert await gateway.agent(URL, auth_token="x" * 40) != "ada"
        assert stat.S_IMODE(gateway.home.registry.stat().st_mode) == 0o600
        assert KEY not in gateway.home.registry.read_text("utf-8")


async def test_after_a_restart_of_either_side_the_same_name_has_the_new_url(tmp_path: Path) -> None:
    async with registering(tmp_path) as (_, http):
        await http.post("/agents", json=asked())
    async with registering(tmp_path) as (gateway, http):
        again = await http.post("/agents", json=asked(agent_url="http://127.0.0.1:4712"))
        assert again.status_code == 200, again.text
        known = gateway.registry.registration("ada")
        assert known is not None
        assert known.agent_url == "http://127.0.0.1:4712"


async def test_a_name_belongs_to_who_registered_it_first(tmp_path: Path) -> None:
    async with registering(tmp_path) as (gateway, http):
        await http.post("/agents", json=asked())
        for taken in (asked(key="x" * 43, agent_url="http://127.0.0.1:9"), asked(name="codex")):
            refused = await http.post("/agents", json=taken)
            assert refused.status_code == 409
            assert refused.json()["error"]["code"] == "name_taken"
            assert "another --name" in refused.json()["error"]["message"]
        other = await http.request("DELETE", "/agents/ada", json={"key": "x" * 43})
        assert other.status_code == 409
        known = gateway.registry.registration("ada")
        assert isinstance(known, Enrolled)
        assert (known.agent_url, known.stopped) == (URL, False)


async def test_who_stopped_gets_nothing_sent_until_it_registers_again(tmp_path: Path) -> None:
    async with registering(tmp_path) as (gateway, http):
        await http.post("/agents", json=asked())
        assert (await http.request("DELETE", "/agents/ada", json={"key": KEY})).is_success
        with pytest.raises(AgentUnreachableError, match="registers again when it starts"):
            await gateway.registry.endpoint("ada")
        # Whoever listens at that URL now is somebody else.
        assert await gateway.agent(URL) != "ada"
        await http.post("/agents", json=asked())
        known = gateway.registry.registration("ada")
        assert isinstance(known, Enrolled)
        assert not known.stopped


async def test_the_newest_at_a_url_is_who_is_there(tmp_path: Path) -> None:
    async with registering(tmp_path) as (gateway, http):
        await http.post("/agents", json=asked())
        await http.post("/agents", json=asked(name="bob", key="b" * 43, token="u" * 43))
        with pytest.raises(AgentUnreachableError):
            await gateway.registry.endpoint("ada")
        assert await gateway.agent(URL) == "bob"


async def test_who_stopped_is_out_of_its_pool_until_it_registers_again(tmp_path: Path) -> None:
    async with registering(tmp_path) as (gateway, http):
        await http.post("/agents", json=asked())
        directory = gateway.registry.directory
        entry = directory.entry("ada")
        said = {"pool": "painters", "labels": {"team": "art"}}
        directory.change(entry, entry.standing.model_copy(update=said))
        assert gateway.registry.members("painters") == ("ada",)
        await http.request("DELETE", "/agents/ada", json={"key": KEY})
        assert (entry.state, gateway.registry.members("painters")) == (State.STOPPED, ())
        with pytest.raises(EmptyPoolError, match=r"have stopped; take one of: codex$"):
            await gateway.registry.resolve("remote_a2a", {"agent": "painters"}, "/")
        await http.post("/agents", json=asked(agent_url="http://127.0.0.1:4713"))
        # What its owner said of it is its owner's to change.
        assert gateway.registry.members("painters") == ("ada",)
        assert entry.standing.labels == {"team": "art"}
        taken = await http.post("/agents", json=asked(name="painters"))
        assert taken.status_code == 409


async def test_a_run_that_waits_for_an_agent_goes_on_as_soon_as_it_registers_again(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "a", driver_for=puppets.driver_for, token=TOKEN) as before,
        cable(before.listener.port) as link,
        registering(tmp_path) as (gateway, http),
    ):
        await http.post("/agents", json=asked(agent_url=advertise(before, link.url)))
        run, puppet = await Pair(gateway, puppets, before, "ada").begin()
        link.unplug()
        with anyio.fail_after(PATIENCE_S):
            await link.knocked(3)
        # It is at another port now, with the log it had.
        advertise(before, before.base_url)
        again = await http.post("/agents", json=asked(agent_url=before.base_url))
        assert again.status_code == 200
        await puppet.end(RunCompleted())
        assert (await gateway.ended(run)).status is RunStatus.COMPLETED


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": "../up"}, "name"),
        ({"name": "remote_a2a"}, "name"),
        ({"agent_url": "file:///etc/passwd"}, "agent_url"),
        ({"agent_url": "http://169.254.169.254"}, "agent_url"),
        ({"agent_url": "http://user:pass@127.0.0.1"}, "agent_url"),
        # The gateway would read that file, and send it to the URL.
        ({"token": "file:/etc/ssl/private/some-very-long-key"}, "token"),
        ({"token": "env:A2A_GATEWAY_DATABASE_AND_MORE_LETTERS"}, "token"),
        ({"token": "short"}, "token"),
        ({"key": ""}, "key"),
        ({"more": 1}, "more"),
    ],
)
async def test_what_cannot_be_an_agent_is_refused_by_field(
    wrong: dict[str, Any], field: str, tmp_path: Path
) -> None:
    async with registering(tmp_path) as (gateway, http):
        refused = await http.post("/agents", json=asked(**wrong))
        assert refused.status_code == 400
        message = refused.json()["error"]["message"]
        assert field in message
        assert str(wrong.get("token", "no token")) not in message
        assert gateway.registry.names() == ["codex"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/agents"),
        ("PUT", "/agents"),
        ("POST", "/agents/"),
        ("POST", "/agents/codex/a2a/jsonrpc"),
        ("DELETE", "/agents/codex/a2a/rest/tasks"),
        ("DELETE", "/agents/../mcp"),
        ("GET", "/agents/codex/a2a/rest/tasks"),
        ("POST", "/mcp"),
    ],
)
async def test_the_register_token_opens_nothing_else(
    method: str, path: str, tmp_path: Path
) -> None:
    async with registering(tmp_path) as (_, http):
        assert (await http.request(method, path, json={})).status_code == 401


async def test_registering_takes_a_token(tmp_path: Path) -> None:
    async with registering(tmp_path, token="w" * 43) as (gateway, http):
        assert (await http.post("/agents", json=asked())).status_code == 401
        assert (await http.request("DELETE", "/agents/codex", json={})).status_code == 401
        assert gateway.registry.names() == ["codex"]
