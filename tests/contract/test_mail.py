"""Mailboxes of sessions: numbers, order, bounds, keys, waits and ends, on both engines."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from alembic import command

from gateway.core.errors import InvalidInputError, RequestConflictError
from gateway.core.events import RunStarted
from gateway.core.keep import Keep
from gateway.core.life.keeping import Keeping
from gateway.core.store import mail as mail_module
from gateway.core.store.log import RunLog
from gateway.core.store.mail import KEPT_CHARS, KEPT_MAX, Letter, LetterPage
from gateway.core.store.migrations.revision import HEAD, revision
from gateway.core.store.open import alembic_config
from gateway.core.store.retention import EVENTS_BATCH, Swept, sweep_older
from gateway.core.store.schema import mail, mailboxes
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import DONE, a_run, a_session, a_writer

PATIENCE_S = 20


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


@asynccontextmanager
async def opened(database: Database, *sessions: str) -> AsyncGenerator[RunLog]:
    """The log, with a run in each of these sessions."""
    log = await database.log()
    try:
        for name in sessions:
            await log.create(a_run(name), a_session(name), None)
        yield log
    finally:
        await log.close()


def a_letter(text: str, to: str = "c", **more: object) -> Letter:
    plain: dict[str, object] = {
        "id": f"m-{text[:30]}",
        "to_session_id": to,
        "created_at": 7,
        "body": {"role": "user", "parts": [{"type": "text", "text": text}]},
    }
    return Letter(**plain | more)  # pyright: ignore[reportArgumentType]


def texts(page: LetterPage) -> list[str]:
    return [letter.body["parts"][0]["text"] for letter in page.letters]


def seqs(page: LetterPage) -> list[int]:
    return [letter.seq for letter in page.letters]


async def test_what_was_sent_is_what_is_read_and_by_its_session_alone(database: Database) -> None:
    sent = [
        a_letter("é\0\ud800", "c", from_session_id="d", from_name="agent2", metadata={"n": 2**60}),
        a_letter("two", "c"),
        a_letter("other", "d"),
    ]
    async with opened(database, "c", "d") as log:
        stored = [await log.mail.send(letter) for letter in sent]
        assert [letter.seq for letter in stored] == [1, 2, 1]
        page = await log.mail.fetch("c", 0, 10)
        assert page.letters[0].metadata == {"n": 2**60}
        assert page.letters[0].from_name == "agent2"
        assert page.letters[1:] == stored[1:2]
        assert (page.has_more, page.missed) == (False, 0)
        assert texts(await log.mail.fetch("d", 0, 10)) == ["other"]
        first = await log.mail.fetch("c", 0, 1)
        assert (seqs(first), first.has_more) == ([1], True)
        assert seqs(await log.mail.fetch("c", 1, 1)) == [2]
        assert await log.mail.fetch("c", 2, 10) == LetterPage(letters=[])


@pytest.mark.promise("mail.order")
async def test_many_senders_leave_no_gap_and_no_repeat(database: Database) -> None:
    # PostgreSQL serves two processes here, which give numbers in the same mailboxes.
    async with opened(database, "c", "d") as log:
        logs = [log, await database.log()] if database.kind == "postgres" else [log]

        async def send(n: int) -> None:
            for to in ("c", "d") if n % 2 else ("d", "c"):
                await logs[n % len(logs)].mail.send(a_letter(str(n), to))

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                for n in range(100):
                    group.start_soon(send, n)
        for to in ("c", "d"):
            page = await log.mail.fetch(to, 0, 1000)
            assert seqs(page) == list(range(1, 101))
            assert sorted(texts(page), key=int) == [str(n) for n in range(100)]
        for other in logs[1:]:
            await other.close()


@pytest.mark.promise("mail.kept")
async def test_what_was_acknowledged_is_there_after_reopening(database: Database) -> None:
    async with opened(database, "c") as log:
        await log.mail.send(a_letter("one"))
    async with opened(database) as log:
        assert texts(await log.mail.fetch("c", 0, 10)) == ["one"]
        assert (await log.mail.send(a_letter("two"))).seq == 2


async def test_a_message_under_the_key_of_one_before_is_that_one(database: Database) -> None:
    async with opened(database, "c") as log:
        first = await log.mail.send(a_letter("one", key="k", from_session_id="d"))
        again = await log.mail.send(a_letter("one", key="k", from_session_id="d", id="m-2"))
        assert (again.id, again.seq) == (first.id, first.seq)
        with pytest.raises(RequestConflictError, match=r"'k'.*message m-one.*new key"):
            await log.mail.send(a_letter("two", key="k", from_session_id="d"))
        # A key is its sender's: another one may have the same idea.
        assert (await log.mail.send(a_letter("two", key="k", from_session_id="e"))).seq == 2
        assert (await log.mail.send(a_letter("two", key="k"))).seq == 3
        assert len((await log.mail.fetch("c", 0, 10)).letters) == 3


async def test_one_key_sent_many_times_at_once_is_one_message(database: Database) -> None:
    async with opened(database, "c") as log:
        seen: list[int] = []

        async def send() -> None:
            seen.append((await log.mail.send(a_letter("one", key="k"))).seq)

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(send)
        assert seen == [1] * 20


@pytest.mark.promise("mail.bounded")
async def test_a_full_mailbox_lets_the_oldest_go_and_says_so(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_module, "KEPT_MAX", 5)
    assert (KEPT_MAX, KEPT_CHARS) == (1000, 1024 * 1024)
    async with opened(database, "c") as log:
        for n in range(1, 9):
            await log.mail.send(a_letter(str(n)))
        page = await log.mail.fetch("c", 0, 10)
        assert (seqs(page), page.missed) == ([4, 5, 6, 7, 8], 3)
        assert (await log.mail.fetch("c", 2, 10)).missed == 1
        assert (await log.mail.fetch("c", 5, 10)).missed == 0


async def test_large_messages_fill_a_mailbox_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_module, "KEPT_CHARS", 10_000)
    async with opened(database, "c") as log:
        for n in range(10):
            await log.mail.send(a_letter(str(n) + "x" * 3000))
        assert seqs(await log.mail.fetch("c", 0, 100)) == [8, 9, 10]
        await log.mail.send(a_letter("y" * 20_000))
        assert seqs(await log.mail.fetch("c", 0, 100)) == [11]
    async with database.opened() as engine:
        box = await engine.read(lambda c: c.execute(sa.select(mailboxes)).one())
        kept = await engine.read(lambda c: c.execute(sa.select(mail)).all())
    assert (box.first_seq, box.last_seq) == (11, 11)
    assert box.chars == sum(len(row.data) for row in kept)


async def test_a_message_to_a_session_that_is_gone_is_refused(database: Database) -> None:
    async with opened(database) as log:
        with pytest.raises(InvalidInputError, match="session c is no longer kept; list_agents"):
            await log.mail.send(a_letter("one"))


async def test_mail_goes_with_its_session(database: Database) -> None:
    async with opened(database, "c", "d") as log:
        for to in ("c", "d"):
            await log.mail.send(a_letter("one", to))
        writer = a_writer(log, a_run("c"))
        await writer.emit(RunStarted(), DONE)
        await writer.flush()
        keeping = Keeping(log, Keep(finished=timedelta(0)), clock=lambda: 10**15)
        await keeping.sweep()
        assert await log.session("c") is None
    async with database.opened() as engine:
        for table in (mail, mailboxes):
            left = await engine.read(
                lambda c, table=table: c.scalars(sa.select(table.c.session_id)).all()
            )
            assert left == ["d"]


async def test_a_full_mailbox_goes_batch_by_batch(database: Database) -> None:
    # One delete of a session took all of its messages, and held the writer up for as long.
    async with opened(database, "c", "d") as log:
        for n in range(2 * EVENTS_BATCH + 50):
            await log.mail.send(a_letter(str(n)))
        for name in ("c", "d"):
            writer = a_writer(log, a_run(name))
            await writer.emit(RunStarted(), DONE)
            await writer.flush()

        def operation(connection: sa.Connection) -> Swept:
            return sweep_older(connection, 10**15)

        left: list[int] = []
        while (await log.let_go(operation)).anything:
            left.append(len((await log.mail.fetch("c", 0, 1000)).letters))
        assert left == [EVENTS_BATCH + 50, 50, 0]
        assert await log.session("c") is None
        assert await log.session("d") is None


# -- waiting -------------------------------------------------------------------------------------


async def test_who_waits_has_a_message_as_soon_as_it_is_there(database: Database) -> None:
    async with opened(database, "c", "d") as log:
        got: list[LetterPage] = []

        async def wait(n: int) -> None:
            got.append(await log.mail.fetch("c", n, 10, wait_s=3600))

        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(wait, 0)
                group.start_soon(wait, 0)
                await log.mail.send(a_letter("not theirs", "d"))
                await log.mail.send(a_letter("one"))
        assert [texts(page) for page in got] == [["one"], ["one"]]


async def test_a_wait_begins_before_the_look_so_that_nothing_is_missed(database: Database) -> None:
    # A message that came between the look and the wait was read only when the next one came.
    async with opened(database, "c") as log:
        with anyio.fail_after(PATIENCE_S):
            for n in range(50):
                async with anyio.create_task_group() as group:
                    group.start_soon(log.mail.send, a_letter(str(n)))
                    page = await log.mail.fetch("c", n, 10, wait_s=3600)
                    assert seqs(page) == [n + 1]


async def test_who_waits_for_nothing_is_answered_in_time_and_at_the_servers_end(
    database: Database,
) -> None:
    async with opened(database, "c") as log:
        with anyio.fail_after(PATIENCE_S):
            assert (await log.mail.fetch("c", 0, 10, wait_s=0.05)).letters == []
            async with anyio.create_task_group() as group:
                group.start_soon(log.mail.fetch, "c", 0, 10, 3600.0)
                await anyio.lowlevel.checkpoint()
                log.wake()
        assert log.mail.listening == 0


async def test_mail_whose_sender_goes_away_wakes_who_waits_all_the_same(
    database: Database,
) -> None:
    # Readers were woken by the sender's call: cancelled in its commit, it left them waiting.
    async with opened(database, "c") as log:

        async def send_and_go(n: int) -> None:
            while not log.mail.listening:
                await anyio.lowlevel.checkpoint()
            sending = asyncio.create_task(log.mail.send(a_letter(str(n))))
            await anyio.lowlevel.checkpoint()  # it has begun
            sending.cancel()

        with anyio.fail_after(PATIENCE_S):
            for n in range(20):
                async with anyio.create_task_group() as group:
                    group.start_soon(send_and_go, n)
                    assert seqs(await log.mail.fetch("c", n, 10, wait_s=3600)) == [n + 1]


async def test_mail_from_another_process_wakes_who_waits_here(postgres_url: str) -> None:
    database = Database("postgres", postgres_url)
    async with opened(database, "c") as here, opened(database) as there:
        with anyio.fail_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                group.start_soon(there.mail.send, a_letter("one"))
                assert texts(await here.mail.fetch("c", 0, 10, wait_s=3600)) == ["one"]


# -- databases made before there was mail ----------------------------------------------------------


async def test_a_database_from_before_mail_is_upgraded_and_takes_it(database: Database) -> None:
    def first(connection: sa.Connection) -> None:
        command.upgrade(alembic_config(connection), "0001")

    async with database.opened() as engine:
        await engine.set_up(first)
        await engine.write(
            lambda c: c.execute(
                sa.text(
                    "insert into sessions (id, principal, agent, backend, created_at, updated_at)"
                    " values ('c', 'p', 'a', 'a', 1, 1)"
                )
            ).close()
        )
    async with opened(database) as log:
        assert (await log.mail.send(a_letter("one"))).seq == 1
    async with database.opened() as engine:
        assert await engine.read(lambda c: c.scalar(sa.select(revision.c.version_num))) == HEAD
