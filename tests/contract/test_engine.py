"""What the log may rely on, whichever database: one suite, both engines."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from gateway.core.errors import InvalidInputError, StorageError
from gateway.core.store.engine import Engine
from tests.contract.engines import KINDS, Kind, empty_database, make_table, put, words


@pytest.fixture(params=KINDS)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    kind: Kind = request.param
    async with empty_database(kind, tmp_path, request).opened() as made:
        await made.write(make_table)
        yield made


async def test_what_was_written_is_what_is_read(engine: Engine) -> None:
    assert await engine.write(put(1, "one")) == 1
    assert await engine.read(words) == {1: "one"}


async def test_operations_are_carried_out_in_the_order_of_their_submission(engine: Engine) -> None:
    seen: list[int] = []

    def note(n: int) -> None:
        seen.append(n)

    futures = [engine.submit(lambda _connection, n=n: note(n)) for n in range(1000)]
    await asyncio.gather(*futures)
    assert seen == list(range(1000))


async def test_what_is_submitted_meanwhile_goes_into_one_transaction(engine: Engine) -> None:
    transactions: set[int] = set()

    def which(connection: sa.Connection) -> None:
        transactions.add(id(connection.get_transaction()))

    await asyncio.gather(*(engine.submit(which) for _ in range(300)))
    assert len(transactions) <= 4


async def test_an_operation_that_breaks_the_transaction_fails_alone(engine: Engine) -> None:
    await engine.write(put(5))
    outcomes = await asyncio.gather(
        *(engine.submit(put(n)) for n in range(10)), return_exceptions=True
    )
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, IntegrityError)] == [5]
    assert list(await engine.read(words)) == list(range(10))


async def test_a_refusal_is_the_outcome_of_its_operation_and_rolls_nothing_back(
    engine: Engine,
) -> None:
    def refuse(_connection: sa.Connection) -> None:
        raise InvalidInputError("no")

    outcomes = await asyncio.gather(
        engine.submit(put(1)),
        engine.submit(refuse),
        engine.submit(put(2)),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [int, InvalidInputError, int]
    assert list(await engine.read(words)) == [1, 2]


async def test_a_reader_sees_one_moment(engine: Engine) -> None:
    async def twice() -> tuple[int, int]:
        return await engine.read(lambda c: (len(words(c)), len(words(c))))

    async with anyio.create_task_group() as group:
        for n in range(200):
            group.start_soon(engine.write, put(n))
        for _ in range(50):
            first, second = await twice()
            assert first == second


async def test_a_reader_cannot_write(engine: Engine) -> None:
    with pytest.raises(StorageError, match="read-only"):
        await engine.read(put(1))


@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "\udfff", "\U0001f600 é\u2028"])
async def test_no_text_is_refused(engine: Engine, text: str) -> None:
    # A summary with a NUL made PostgreSQL refuse the event it came with, and one with half a
    # surrogate pair made both refuse it: an agent's word ended its run.
    await engine.write(put(1, text))
    stored = (await engine.read(words))[1]
    assert stored in (text, text.translate({0: "\ufffd", 0xD800: "\ufffd", 0xDFFF: "\ufffd"}))
    found = await engine.read(
        lambda c: c.scalar(sa.text("select id from words where word = :word"), {"word": text})
    )
    assert found == 1


async def test_closing_finishes_what_was_submitted(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for kind in KINDS:
        database = empty_database(kind, tmp_path, request)
        async with database.opened() as engine:
            await engine.write(make_table)
            futures = [engine.submit(put(n)) for n in range(600)]
        assert all(future.done() for future in futures)
        async with database.opened() as engine:
            assert len(await engine.read(words)) == 600


async def test_a_waiter_that_is_gone_changes_nothing(engine: Engine) -> None:
    future = engine.submit(put(1))
    future.cancel()
    await engine.write(put(2))
    assert list(await engine.read(words)) == [1, 2]
