"""The pump between the log and an engine. Knows no database: the engine here refuses everything."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest

from gateway.core.errors import StorageError
from gateway.core.store.batch import Write
from gateway.core.store.engine import Engine
from gateway.core.store.pump import Pump


class Unreachable:
    """An engine whose database is gone: it fails before any operation gets a connection."""

    def __init__(self) -> None:
        self.asked = 0

    def submit(
        self, operation: Callable[..., Any], *, weight: Callable[[], int] | None = None
    ) -> asyncio.Future[Any]:
        del operation, weight
        self.asked += 1
        refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        refused.set_exception(StorageError("storage_unavailable", "it does not answer"))
        return refused


async def test_a_write_that_no_database_was_reached_for_is_refused_and_not_asked_again() -> None:
    # A killed PostgreSQL: the connection failed before the operation could take what had gathered,
    # so nobody was told, and the pump submitted the next operation at once, thousands a second.
    engine = Unreachable()
    pump = Pump(cast(Engine, engine))
    first, second = pump.write(cast(Write, object())), pump.write(cast(Write, object()))
    with anyio.fail_after(5):
        for done in (first, second):
            with pytest.raises(StorageError):
                await done
    assert engine.asked == 1
