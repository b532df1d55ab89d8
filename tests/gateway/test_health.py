"""How the gateway finds out that an agent is gone or back, and how little it asks for that."""

from pathlib import Path

import anyio
import pytest

from gateway.agents.health import OPEN_AFTER, Health, State
from gateway.core.events import RunCompleted
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.errors import AgentUnreachableError
from tests.core.faces import served
from tests.core.puppet import Stage
from tests.gateway.cable import Cable, cable
from tests.gateway.house import PATIENCE_S, House, house
from tests.gateway.test_remote import Pair, advertise

RUNS = 50
FEW = 15  # connections: one a look, and what was under way when the agent went


def health_of(gateway: House, name: str) -> Health:
    return gateway.registry.directory.entry(name).watch.health


def test_a_few_failures_in_a_row_open_the_circuit_and_one_answer_closes_it() -> None:
    health = Health()
    assert health.state is State.UNKNOWN
    for number in range(1, OPEN_AFTER):
        health = health.unreachable("nobody", at=number)
        assert health.state is State.FAILING
    health = health.unreachable("nobody", at=9)
    assert (health.state, health.error, health.checked_at) == (State.OPEN, "nobody", 9)
    health = health.worked(at=10, latency_ms=1.5)
    assert health == Health(state=State.HEALTHY, checked_at=10, latency_ms=1.5)


def test_an_agent_that_refuses_us_is_there() -> None:
    health = Health().unreachable("nobody", at=1).faulty("wrong token", at=2)
    assert (health.state, health.down) == (State.FAILING, False)


def test_health_is_shown_with_times_as_text() -> None:
    assert Health().shown()["state"] == "unknown"
    shown = Health().unreachable("nobody", at=1_000_000).retried(2_000_000).shown(State.DISABLED)
    assert shown == {
        "state": "disabled",
        "checked_at": "1970-01-01T00:00:01.000000Z",
        "latency_ms": None,
        "error": "nobody",
        "retry_at": "1970-01-01T00:00:02.000000Z",
    }


async def test_fifty_runs_that_lose_one_agent_share_its_probes_and_all_go_on(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(advertise(agent, link.url)))
        begun = [await pair.begin() for _ in range(RUNS)]
        link.unplug()
        with anyio.fail_after(PATIENCE_S):
            await link.knocked(5)
        assert link.refused < FEW
        for _, puppet in begun:
            await puppet.end(RunCompleted())
        link.plug()
        for run, _ in begun:
            assert (await gateway.ended(run)).status is RunStatus.COMPLETED
        assert health_of(gateway, pair.name).state is State.HEALTHY


async def test_fifty_new_runs_for_an_agent_that_is_not_there_fail_by_a_few_connections(
    tmp_path: Path,
) -> None:
    async with cable(1) as link, house(tmp_path) as gateway:
        link.unplug()
        name = await gateway.agent(link.url)
        runs = [await gateway.spawn(name) for _ in range(RUNS)]
        for run in runs:
            assert reason(await gateway.ended(run)) == "agent_unreachable"
        assert 0 < link.refused < FEW
        assert health_of(gateway, name).state is State.OPEN


def reason(run: Run) -> str | None:
    return None if run.error is None else run.error.reason


async def opened(gateway: House, link: Cable) -> str:
    """The name of an agent whose circuit is open."""
    link.unplug()
    name = await gateway.agent(link.url)
    await gateway.ended(await gateway.spawn(name))
    assert health_of(gateway, name).state is State.OPEN
    return name


async def test_an_agent_that_is_back_takes_the_next_run_whatever_the_back_off_says(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await opened(gateway, link)
        advertise(agent, link.url)
        link.plug()
        pair = Pair(gateway, puppets, agent, name)
        run, puppet = await pair.begin()
        await puppet.end(RunCompleted())
        assert (await gateway.ended(run)).status is RunStatus.COMPLETED


async def test_an_open_circuit_refuses_without_a_connection(tmp_path: Path) -> None:
    async with cable(1) as link, house(tmp_path) as gateway:
        name = await opened(gateway, link)
        knocks = link.refused
        with pytest.raises(AgentUnreachableError):
            await gateway.registry.endpoint(name)
        assert link.refused == knocks


async def test_an_agent_that_does_well_is_not_asked_again(tmp_path: Path) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        pair = Pair(gateway, puppets, agent, await gateway.agent(agent.base_url))
        run, puppet = await pair.begin()
        await puppet.end(RunCompleted())
        await gateway.ended(run)
        health = health_of(gateway, pair.name)
        assert (health.state, health.retry_at) == (State.HEALTHY, None)
        assert health.latency_ms is not None


async def test_an_agent_that_is_away_is_looked_for_although_no_run_waits(tmp_path: Path) -> None:
    async with (
        served(tmp_path / "agent", driver_for=Stage().driver_for) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await opened(gateway, link)
        assert health_of(gateway, name).retry_at is not None
        advertise(agent, link.url)
        link.plug()
        with anyio.fail_after(PATIENCE_S):
            assert await gateway.registry.looked(name)
        assert health_of(gateway, name).state is State.HEALTHY


async def test_credentials_that_are_gone_when_the_agent_is_back_end_its_runs_with_that(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    token = tmp_path / "token"
    token.write_text("t" * 43, encoding="ascii")
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for, token="t" * 43) as agent,
        cable(agent.listener.port) as link,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await gateway.agent(advertise(agent, link.url), auth_token=f"file:{token}")
        run, puppet = await Pair(gateway, puppets, agent, name).begin()
        link.unplug()
        with anyio.fail_after(PATIENCE_S):
            await link.knocked(1)
        token.unlink()
        link.plug()
        ended = await gateway.ended(run)
        assert ended.error is not None
        assert "cannot be read" in ended.error.message
        assert health_of(gateway, name).state is State.FAILING
        puppet.leave()
