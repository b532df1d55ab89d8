"""Pools: several agents under one name, each run at one of them and nowhere else."""

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.agents.health import FAULT_US, State
from gateway.agents.pools import Member, least_loaded
from gateway.agents.registration import Registration, Standing
from gateway.core import json
from gateway.core.errors import CoreError
from gateway.core.events import AgentMessage, RunCompleted
from gateway.core.extension import URI
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import served
from tests.core.puppet import Puppet, Stage
from tests.gateway.cable import cable
from tests.gateway.foreigners import Answer, Executor, card_of, liar, sdk_agent, stream_of
from tests.gateway.house import ME, PATIENCE_S, House, house
from tests.gateway.process import started
from tests.gateway.test_process import message
from tests.gateway.test_remote import advertise

POOL = "painters"


def member(name: str, state: State = State.HEALTHY, runs: int = 0, chosen: int = 0) -> Member:
    return Member(name=name, state=state, runs=runs, chosen=chosen)


def test_the_least_loaded_healthy_member_is_chosen_in_turn() -> None:
    assert least_loaded([]) is None
    assert least_loaded([member("b"), member("a")]) == "a"
    assert least_loaded([member("a", runs=2), member("b", runs=1)]) == "b"
    assert least_loaded([member("a", chosen=2), member("b", chosen=1)]) == "b"
    assert least_loaded([member("a", State.FAILING), member("b", runs=99)]) == "b"
    assert least_loaded([member("a", State.OPEN), member("b", State.FAILING)]) == "b"
    assert least_loaded([member("a", State.OPEN)]) == "a"
    assert least_loaded([member("a", State.UNKNOWN), member("b", runs=1)]) == "a"


async def join(gateway: House, name: str, url: str) -> None:
    """An agent of the pool, which nobody has called yet."""
    registration = Registration(agent_url=url, pool=POOL, kind="registered")
    await gateway.registry.add(name, registration, force=True)


class Painters:
    """A gateway and a pool of three agents of ours."""

    def __init__(self, gateway: House, stages: dict[str, Stage]) -> None:
        self.gateway = gateway
        self.stages = stages

    async def begin(self, events: int = 1, **more: Any) -> tuple[Run, Puppet, str]:
        """A run at the pool once it has so many events, its puppet, and the member it is at."""
        run = await self.gateway.spawn(POOL, **more)
        await self.gateway.seen(run, events)
        found = [
            (puppet, name)
            for name, stage in self.stages.items()
            for puppet in stage.puppets.values()
            if puppet.run.request.run_id == run.id
        ]
        [(puppet, name)] = found
        return run, puppet, name


@pytest.fixture
async def painters(tmp_path: Path) -> AsyncGenerator[Painters]:
    stages = {name: Stage() for name in ("ada", "bob", "cyd")}
    async with (
        served(tmp_path / "a", driver_for=stages["ada"].driver_for) as ada,
        served(tmp_path / "b", driver_for=stages["bob"].driver_for) as bob,
        served(tmp_path / "c", driver_for=stages["cyd"].driver_for) as cyd,
        house(tmp_path / "gateway") as gateway,
    ):
        for name, agent in (("ada", ada), ("bob", bob), ("cyd", cyd)):
            await join(gateway, name, agent.base_url)
        yield Painters(gateway, stages)


async def test_runs_are_spread_and_each_says_where_it_is(painters: Painters) -> None:
    begun = [await painters.begin() for _ in range(6)]
    assert sorted(name for _, _, name in begun) == ["ada", "ada", "bob", "bob", "cyd", "cyd"]
    for run, puppet, name in begun:
        stored = await painters.gateway.tasks.get(ME, run.id)
        assert stored.agent == POOL
        assert stored.remote is not None
        assert stored.remote.agent == name
        await puppet.end(RunCompleted(final_response="done"))
        assert (await painters.gateway.ended(run)).status is RunStatus.COMPLETED


async def test_a_member_that_has_less_to_do_gets_the_next_run(painters: Painters) -> None:
    begun = [await painters.begin() for _ in range(3)]
    run, puppet, name = begun[1]
    await puppet.end(RunCompleted())
    await painters.gateway.ended(run)
    assert (await painters.begin())[2] == name


async def test_a_session_stays_at_its_agent_and_in_its_context(painters: Painters) -> None:
    first, puppet, name = await painters.begin()
    await puppet.end(RunCompleted())
    first = await painters.gateway.ended(first)
    others = [await painters.begin() for _ in range(2)]
    assert name not in {other for _, _, other in others}
    busy = [await painters.begin() for _ in range(3)]  # now its agent is no longer the idlest
    again, puppet, where = await painters.begin(context_id=first.context_id)
    assert where == name
    assert len(busy) == 3
    stored = await painters.gateway.tasks.get(ME, again.id)
    assert first.remote is not None
    assert stored.remote is not None
    assert stored.remote.context_id == first.remote.context_id
    assert puppet.run.context_id == first.remote.context_id


async def test_a_session_whose_agent_left_the_pool_says_that_its_conversation_is_lost(
    painters: Painters,
) -> None:
    first, puppet, name = await painters.begin()
    await puppet.end(RunCompleted())
    first = await painters.gateway.ended(first)
    directory = painters.gateway.registry.directory
    entry = directory.entry(name)
    directory.change(entry, entry.standing.model_copy(update={"enabled": False}))
    again, puppet, where = await painters.begin(2, context_id=first.context_id)
    assert where != name
    await puppet.end(RunCompleted())
    await painters.gateway.ended(again)
    (type_, data), *_ = await painters.gateway.events(again)
    assert (type_, data["reason"]) == ("status_changed", "session_lost")
    assert name in data["message"]


async def test_a_disabled_member_gets_nothing_new_and_keeps_what_it_has(
    painters: Painters,
) -> None:
    run, puppet, name = await painters.begin()
    directory = painters.gateway.registry.directory
    entry = directory.entry(name)
    directory.change(entry, entry.standing.model_copy(update={"enabled": False}))
    assert name not in painters.gateway.registry.members(POOL)
    for _ in range(3):
        assert (await painters.begin())[2] != name
    await puppet.say(AgentMessage(text="still here"))
    await puppet.end(RunCompleted())
    assert (await painters.gateway.ended(run)).status is RunStatus.COMPLETED
    for other in directory.pool(POOL):
        directory.change(other, other.standing.model_copy(update={"enabled": False}))
    with pytest.raises(CoreError, match="no agent of pool 'painters' takes runs"):
        await painters.gateway.registry.resolve("remote_a2a", {"agent": POOL}, "/")
    refused = await painters.gateway.ended(await painters.gateway.spawn(POOL))
    assert refused.error is not None
    assert refused.error.reason == "empty_pool"


async def test_a_member_that_is_not_there_costs_the_run_nothing(tmp_path: Path) -> None:
    stage = Stage()
    async with (
        served(tmp_path / "a", driver_for=stage.driver_for) as agent,
        cable(1) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        link.unplug()
        await join(gateway, "ada", agent.base_url)
        gateway.registry.directory.add(absent(gateway, link.url))
        pool = Painters(gateway, {"bob": stage})
        for _ in range(4):
            run, puppet, _ = await pool.begin()
            await puppet.end(RunCompleted())
            ended = await gateway.ended(run)
            assert ended.status is RunStatus.COMPLETED
            assert ended.remote is not None
            assert ended.remote.agent == "ada"
        assert link.refused > 0
        # When there is nobody else, the run fails and says who was tried.
        entry = gateway.registry.directory.entry("ada")
        gateway.registry.directory.remove(entry)
        failed = await gateway.ended(await gateway.spawn(POOL))
        assert failed.error is not None
        assert failed.error.reason == "agent_unreachable"


def absent(gateway: House, url: str) -> Any:
    """An agent that was never called: nothing is known of it, so it is as good as any."""
    registration = Registration(agent_url=url, pool=POOL, kind="registered")
    name = gateway.registry.directory.register(registration)
    entry = gateway.registry.directory.entry(name)
    gateway.registry.directory.remove(entry)
    entry.name, entry.standing = "absent", registration
    return entry


async def test_a_member_of_ours_that_ends_after_its_card_was_read_is_replaced(
    tmp_path: Path,
) -> None:
    stage = Stage()
    async with (
        served(tmp_path / "a", driver_for=stage.driver_for) as agent,
        sdk_agent(Executor()) as other,
        house(tmp_path / "gateway") as gateway,
    ):
        async with cable(agent.listener.port) as link:
            await join(gateway, "ada", advertise(agent, link.url))
        await join(gateway, "bob", other.base_url)
        await all_at_bob(gateway)
        assert stage.puppets == {}


async def test_a_foreign_member_that_ends_after_its_card_was_read_is_replaced(
    tmp_path: Path,
) -> None:
    async with sdk_agent(Executor()) as other, house(tmp_path) as gateway:
        async with sdk_agent(Executor()) as gone:
            await join(gateway, "ada", gone.base_url)
        await join(gateway, "bob", other.base_url)
        await all_at_bob(gateway)


@pytest.mark.parametrize("wrong", ["card", "credentials"])
async def test_a_member_that_cannot_be_used_is_replaced_and_says_why(
    tmp_path: Path, wrong: str
) -> None:
    def card(base_url: str) -> Any:
        return {"name": "no interface"} if wrong == "card" else Response(status_code=401)

    async with (
        liar(stream_of(), card) as bad,
        sdk_agent(Executor()) as other,
        house(tmp_path) as gateway,
    ):
        await join(gateway, "ada", bad.base_url)
        gateway.registry.directory.entry("ada").watch.forget()  # nobody has noticed yet
        await join(gateway, "bob", other.base_url)
        await all_at_bob(gateway)
        health = gateway.registry.directory.entry("ada").watch.health
        assert health.state is State.FAILING
        assert health.checked_at is not None
        assert health.standing(at=health.checked_at) is State.FAILING
        # It may be put right by now; the next run finds out, at no risk.
        assert health.standing(at=health.checked_at + FAULT_US + 1) is State.UNKNOWN


async def test_a_message_that_a_member_refuses_is_not_tried_at_the_others(tmp_path: Path) -> None:
    heard: list[str] = []

    def refusing(name: str) -> Answer:
        async def rpc(request: Request) -> Response:
            heard.append(name)
            number = json.decode_object(await request.body())["id"]
            error = {"code": -32602, "message": "not like this"}
            return JSONResponse({"jsonrpc": "2.0", "id": number, "error": error})

        return rpc

    async with (
        liar(refusing("ada"), ours) as ada,
        liar(refusing("bob"), ours) as bob,
        house(tmp_path) as gateway,
    ):
        await join(gateway, "ada", ada.base_url)
        await join(gateway, "bob", bob.base_url)
        ended = await gateway.ended(await gateway.spawn(POOL))
        assert ended.error is not None
        assert ended.error.reason == "agent_refused"
        assert len(heard) == 1


async def test_a_local_member_that_does_not_start_is_replaced(tmp_path: Path) -> None:
    async with (
        sdk_agent(Executor()) as other,
        house(tmp_path, dict(os.environ), local=("ada",)) as gateway,
    ):
        directory = gateway.registry.directory
        directory.change(directory.entry("ada"), Standing(pool=POOL))
        await join(gateway, "bob", other.base_url)
        await all_at_bob(gateway)


async def all_at_bob(gateway: House) -> None:
    assert gateway.registry.members(POOL) == ("ada", "bob")
    for _ in range(3):
        ended = await gateway.ended(await gateway.spawn(POOL))
        assert ended.status is RunStatus.COMPLETED, ended.error
        assert ended.remote is not None
        assert ended.remote.agent == "bob"
    assert gateway.registry.state("ada") is not State.HEALTHY, "it was tried"


async def test_a_session_with_a_conversation_is_not_moved_to_an_agent_that_does_not_know_it(
    tmp_path: Path,
) -> None:
    stage = Stage()
    async with (
        served(tmp_path / "a", driver_for=stage.driver_for) as agent,
        cable(agent.listener.port) as link,
        sdk_agent(Executor()) as other,
        house(tmp_path / "gateway") as gateway,
    ):
        advertise(agent, link.url)
        await join(gateway, "ada", link.url)
        run, puppet, _ = await Painters(gateway, {"ada": stage}).begin()
        await puppet.end(RunCompleted())
        run = await gateway.ended(run)
        await join(gateway, "bob", other.base_url)
        link.unplug()
        again = await gateway.ended(await gateway.spawn(POOL, context_id=run.context_id))
        assert again.error is not None
        assert again.error.reason == "agent_unreachable"
        assert again.remote is not None
        assert again.remote.agent == "ada"


class Holder:
    """An agent of ours that takes messages and answers none, until it is told to."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.heard = anyio.Event()

    async def answer(self, request: Request) -> Response:
        asked = json.decode_object(await request.body())
        assert asked["method"] == "SendStreamingMessage"
        self.keys.append(asked["params"]["message"]["messageId"])
        self.heard.set()
        await anyio.sleep_forever()
        raise AssertionError


def ours(base_url: str) -> dict[str, Any]:
    return card_of(base_url, capabilities={"streaming": True, "extensions": [{"uri": URI}]})


@asynccontextmanager
async def holding() -> AsyncGenerator[tuple[Holder, str]]:
    holder = Holder()
    async with liar(holder.answer, ours) as agent:
        yield holder, agent.base_url


async def test_a_gateway_that_is_killed_as_it_sends_asks_the_same_member_again(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = "[]"
    async with holding() as (ada, ada_url), holding() as (bob, bob_url):
        async with started(environment) as gateway:
            for name, url in (("ada", ada_url), ("bob", bob_url)):
                body = {"name": name, "agent_url": url, "pool": POOL}
                assert (await gateway.http.post("/registry", json=body)).status_code == 201
            asked = message("go", tmp_path)
            asked["configuration"] = {"returnImmediately": True}
            sent = await gateway.rpc(POOL, "SendMessage", asked)
            assert sent["result"]["task"]["id"]
            with anyio.fail_after(PATIENCE_S):
                await ada.heard.wait()
            await gateway.stop(signal.SIGKILL)
        ada.heard = anyio.Event()
        async with started(environment) as gateway:
            with anyio.fail_after(PATIENCE_S):
                await ada.heard.wait()
            await gateway.stop(signal.SIGKILL)
        assert len(ada.keys) == 2
        assert ada.keys[0] == ada.keys[1]
        assert bob.keys == []


async def test_a_pool_is_spawned_into_by_its_name_and_holds_local_agents_too(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with sdk_agent(Executor()) as far, started(environment) as gateway:
        await gateway.http.patch("/registry/scripted", json={"pool": POOL})
        body = {"name": "far", "agent_url": far.base_url, "pool": POOL}
        assert (await gateway.http.post("/registry", json=body)).status_code == 201
        asked: JsonObject = {
            "backend": "remote_a2a",
            "role": "worker",
            "cwd": str(tmp_path),
            "session_mode": "new",
            "prompt": "say hello",
            "backend_config": {"agent": POOL},
        }
        places: set[str] = set()
        for _ in range(2):
            run_id = (await gateway.ask("spawn_run", **asked))["run_id"]
            with anyio.fail_after(PATIENCE_S):
                while (run := await gateway.ask("get_run", run_id=run_id))["status"] != "completed":
                    await gateway.ask("poll_events", run_id=run_id, wait_s=5)
            places.add(run["remote_ref"]["agent_name"])
        assert places == {"far", "scripted"}
        card = (await gateway.http.get(f"/agents/{POOL}/.well-known/agent-card.json")).json()
        assert card["supportedInterfaces"][0]["url"].startswith(f"{gateway.url}/agents/{POOL}/")
        for name in ("far", "scripted"):
            await gateway.http.patch(f"/registry/{name}", json={"enabled": False})
        refused = (await gateway.ask("spawn_run", **asked))["refused"]
        assert "no agent of pool 'painters' takes runs now" in refused
        unknown: JsonObject = {**asked, "backend_config": {"agent": "nobody"}}
        assert (
            "no agent 'nobody' is registered"
            in (await gateway.ask("spawn_run", **unknown))["refused"]
        )
        await gateway.stop()
