"""Webhooks where several processes serve one database: who owns a run delivers its events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.core.addresses import Screen
from gateway.core.events import RunCompleted
from gateway.core.push import deliveries
from gateway.core.push.delivery import Patience
from gateway.core.server import task_server
from gateway.core.store.outbox import PushConfig
from tests.core.puppet import Stage
from tests.core.receiver import receiver


@asynccontextmanager
async def replica(url: str) -> AsyncGenerator[Stage]:
    made = Stage()
    async with task_server(
        database=url,
        driver_for=made.driver_for,
        screen=Screen(loopback=True),
        patience=Patience(first_s=0.01),
    ) as tasks:
        made.tasks = tasks
        yield made


async def test_a_config_stored_by_one_process_is_delivered_by_the_owner_alone(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LOOK_S", 0.01)
    async with replica(postgres_url) as ours, replica(postgres_url) as theirs, receiver() as hook:
        run, puppet = await ours.begin()
        config = PushConfig(run_id=run.id, id="hook", url=hook.url, created_at=1, next_at=1)
        await theirs.tasks.log.outbox.put(config)
        await hook.count(1)
        await puppet.end(RunCompleted())
        got = await hook.until("TASK_STATE_COMPLETED")
        assert len(got) == 2
        with anyio.fail_after(10):
            while (stored := await theirs.tasks.log.outbox.get(run.id, "hook")) is not None:
                if stored.next_at is None:
                    break
                await anyio.lowlevel.checkpoint()
        assert len(hook.got) == 2


async def test_a_config_deleted_by_one_process_is_left_alone_by_the_owner(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "LOOK_S", 0.01)
    async with replica(postgres_url) as ours, replica(postgres_url) as theirs, receiver() as hook:
        hook.answer_with(*[500] * 10_000)
        run, _puppet = await ours.begin()
        config = PushConfig(run_id=run.id, id="hook", url=hook.url, created_at=1, next_at=1)
        await ours.tasks.log.outbox.put(config)
        await hook.count(1)
        await theirs.tasks.log.outbox.drop(run.id, "hook")
        with anyio.fail_after(10):
            while f"webhook of run {run.id}" in {task.get_name() for task in asyncio.all_tasks()}:
                await anyio.lowlevel.checkpoint()
        assert await theirs.tasks.log.outbox.get(run.id, "hook") is None
