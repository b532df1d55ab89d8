"""Webhooks of a log and their cursors: one suite, both engines."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.core.errors import InvalidInputError, RunNotFoundError
from gateway.core.store.log import RunLog
from gateway.core.store.outbox import CONFIGS_MAX, PushConfig
from tests.contract.engines import KINDS, Database, Kind, empty_database
from tests.contract.runs import a_run, a_session

START = ("", "")
HOOK = PushConfig(
    run_id="r",
    id="hook",
    url="https://receiver.example/",
    token="t",
    scheme="Bearer",
    credentials="c",
    created_at=1,
    next_at=5,
)


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


@pytest.fixture
async def log(database: Database) -> AsyncIterator[RunLog]:
    made = await database.log()
    await made.claim_active("me")
    await made.create(a_run("r"), a_session("r"), None)
    yield made
    await made.close()


async def test_what_was_stored_is_what_is_read(log: RunLog) -> None:
    assert await log.outbox.put(HOOK) == HOOK
    assert await log.outbox.get("r", "hook") == HOOK
    assert await log.outbox.due("me", START, 10) == [HOOK]


async def test_a_config_that_replaces_another_keeps_its_cursor_and_forgets_its_failures(
    log: RunLog,
) -> None:
    await log.outbox.put(HOOK)
    await log.outbox.sent(HOOK, 3)
    await log.outbox.failed(HOOK, 2, None, "it answered 500")
    assert await log.outbox.due("me", START, 10) == []
    new = replace(HOOK, url="https://other.example/", token=None, created_at=2)
    assert await log.outbox.put(new) == replace(new, sent_seq=3)


async def test_a_late_word_about_a_replaced_config_changes_nothing(log: RunLog) -> None:
    await log.outbox.put(HOOK)
    new = await log.outbox.put(replace(HOOK, created_at=2))
    assert not await log.outbox.sent(HOOK, 9)
    assert not await log.outbox.failed(HOOK, 9, None, "late")
    await log.outbox.done(HOOK, 9)
    await log.outbox.remove(HOOK)
    assert await log.outbox.get("r", "hook") == new


async def test_a_cursor_never_goes_back(log: RunLog) -> None:
    await log.outbox.put(HOOK)
    assert await log.outbox.sent(HOOK, 9)
    assert not await log.outbox.sent(HOOK, 4)
    found = await log.outbox.get("r", "hook")
    assert found is not None
    assert found.sent_seq == 9


async def test_configs_come_in_pages_and_their_number_is_bounded(log: RunLog) -> None:
    ids = [f"{number:02}" for number in range(CONFIGS_MAX)]
    for id_ in reversed(ids):
        await log.outbox.put(replace(HOOK, id=id_))
    assert [config.id for config in await log.outbox.page("r", "", 3)] == ids[:3]
    assert [config.id for config in await log.outbox.page("r", ids[2], 99)] == ids[3:]
    page = await log.outbox.due("me", START, 4)
    rest = await log.outbox.due("me", ("r", page[-1].id), 99)
    assert [config.id for config in page + rest] == ids
    with pytest.raises(InvalidInputError):
        await log.outbox.put(replace(HOOK, id="one more"))
    await log.outbox.put(replace(HOOK, id="00"))
    await log.outbox.drop("r", "00")
    await log.outbox.put(replace(HOOK, id="one more"))


async def test_a_config_needs_its_run(log: RunLog) -> None:
    with pytest.raises(RunNotFoundError):
        await log.outbox.put(replace(HOOK, run_id="nobody"))


async def test_who_delivers_hears_of_every_change(log: RunLog) -> None:
    heard: list[tuple[str, str, PushConfig | None]] = []

    def hear(run_id: str, config_id: str, config: PushConfig | None) -> None:
        heard.append((run_id, config_id, config))

    log.outbox.on_change(hear)
    await log.outbox.put(HOOK)
    await log.outbox.drop("r", "hook")
    assert heard == [("r", "hook", HOOK), ("r", "hook", None)]


async def test_what_a_living_process_delivers_nobody_else_does(
    postgres_url: str,
) -> None:
    database = Database("postgres", postgres_url)
    ours, theirs = await database.log(), await database.log()
    await ours.claim_active("we")
    await theirs.claim_active("they")
    await ours.create(a_run("r"), a_session("r"), None)
    await theirs.outbox.put(HOOK)
    assert await theirs.outbox.due("they", START, 10) == []
    assert await theirs.outbox.due_now("they", "r", "hook") is None
    assert await ours.outbox.due_now("we", "r", "hook") == HOOK
    await ours.close()
    with anyio.fail_after(5):
        assert await theirs.outbox.due("they", START, 10) == [HOOK]
    await theirs.close()
