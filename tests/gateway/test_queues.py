"""A run that waits for its turn at its agent's own server, as the gateway shows it."""

from pathlib import Path

import anyio
import pytest

from gateway.core.errors import NotSteerableError
from gateway.core.events import RunCompleted
from gateway.core.messages import user_text
from gateway.core.record import Run
from tests.core.faces import served
from tests.core.puppet import Stage
from tests.gateway.house import ME, PATIENCE_S, House, house


async def handed_on(gateway: House, run: Run) -> Run:
    """The run once its agent's server has it."""
    with anyio.fail_after(PATIENCE_S):
        while (found := await gateway.tasks.get(ME, run.id)).remote is None:
            await anyio.lowlevel.checkpoint()
        return found


async def test_a_run_shows_its_place_in_its_agents_queue_and_takes_no_message_there(
    tmp_path: Path,
) -> None:
    puppets = Stage()
    async with (
        served(tmp_path / "agent", driver_for=puppets.driver_for, capacity=1) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        name = await gateway.agent(agent.base_url)
        first = await gateway.spawn(name)
        await gateway.seen(first, 1)
        waiting = [await handed_on(gateway, await gateway.spawn(name)) for _ in range(2)]
        places = [await gateway.tasks.queued(run) for run in waiting]
        assert [queued and queued.place for queued in places] == [1, 2]
        assert await gateway.tasks.queued(first) is None
        with pytest.raises(NotSteerableError) as refused:
            await gateway.say(waiting[0], user_text("m-2", "hurry"))
        # The agent's own words, without the id by which only its own server knows the run.
        assert str(refused.value).startswith(
            f"run {waiting[0].id} takes no message now: it is queued at place 1"
        )
        for puppet in list(puppets.puppets.values()):
            with anyio.fail_after(PATIENCE_S):
                await puppet.started.wait()
            await puppet.end(RunCompleted())
        for run in (first, *waiting):
            await gateway.ended(run)
            assert await gateway.tasks.queued(await gateway.tasks.get(ME, run.id)) is None
