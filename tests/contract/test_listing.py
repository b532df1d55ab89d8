"""Pages of runs, on both engines: what they hold, that they are stable, and what they cost."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import sqlalchemy as sa

from gateway.core.errors import InvalidInputError
from gateway.core.events import RunFailed, RunStarted
from gateway.core.extension import CodingRequest
from gateway.core.life.writer import RunWriter
from gateway.core.messages import user_text
from gateway.core.record import Run, Session
from gateway.core.redact import Limits
from gateway.core.status import ACTIVE, RunStatus
from gateway.core.store.listing import COUNT_MAX, RunQuery, decode_cursor, encode_cursor, walk
from gateway.core.store.log import RunLog
from gateway.core.store.rows import MOVING
from gateway.core.store.schema import ACTIVE_STATUSES, ENDED_STATUSES, runs
from tests.bench.bigstore import BETWEEN, PRINCIPAL, START, fill
from tests.contract.engines import KINDS, Database, Kind, empty_database

RUNS: Final = 400
MIDDLE: Final = START + RUNS // 2 * BETWEEN
FAILED, COMPLETED, RUNNING = RunStatus.FAILED, RunStatus.COMPLETED, RunStatus.RUNNING
QUEUED, REJECTED = RunStatus.QUEUED, RunStatus.REJECTED
FOLDER: Final = "/home/user/projects/project-1"

RUN: Final = Run(
    id="r",
    context_id="c",
    principal=PRINCIPAL,
    agent="a",
    backend="a",
    status=QUEUED,
    message=user_text("m", "go"),
    request=CodingRequest(),
    created_at=5,
    updated_at=5,
    status_at=6,
)
Test = Callable[[Run], bool]


def _has(run: Run, key: str, value: str) -> bool:
    return (run.request.labels or {}).get(key) == value


# Each query, and what it means for a run.
NEWEST: Final[dict[str, tuple[RunQuery, Test]]] = {
    "all": (RunQuery(), lambda _: True),
    "agent": (RunQuery(agent="far"), lambda r: r.agent == "far"),
    "backend": (RunQuery(backend="codex"), lambda r: r.backend == "codex"),
    "cwd": (RunQuery(cwd=FOLDER), lambda r: r.request.cwd == FOLDER),
    "role": (RunQuery(role="worker"), lambda r: r.request.role == "worker"),
    "nickname": (RunQuery(nickname="agent2"), lambda r: r.nickname == "agent2"),
    "parent": (
        RunQuery(parent_id="parent-2"),
        lambda r: r.request.parent is not None and r.request.parent.run_id == "parent-2",
    ),
    "status": (RunQuery(statuses=(FAILED,)), lambda r: r.status is FAILED),
    "statuses": (
        RunQuery(statuses=(FAILED, QUEUED, RUNNING)),
        lambda r: r.status in (FAILED, QUEUED, RUNNING),
    ),
    "label": (RunQuery(labels=(("team", "web"),)), lambda r: _has(r, "team", "web")),
    "two labels": (
        RunQuery(labels=(("team", "web"), ("ticket", "T-1"))),
        lambda r: _has(r, "team", "web") and _has(r, "ticket", "T-1"),
    ),
    "label of active": (
        RunQuery(labels=(("team", "web"),), statuses=(RUNNING,)),
        lambda r: _has(r, "team", "web") and r.status is RUNNING,
    ),
    "label and time": (
        RunQuery(labels=(("team", "core"),), created_before=MIDDLE),
        lambda r: _has(r, "team", "core") and r.created_at < MIDDLE,
    ),
    "created after": (RunQuery(created_after=MIDDLE), lambda r: r.created_at >= MIDDLE),
    "created before": (RunQuery(created_before=MIDDLE), lambda r: r.created_at < MIDDLE),
    "active in a folder": (
        RunQuery(cwd=FOLDER, statuses=(RUNNING,)),
        lambda r: r.request.cwd == FOLDER and r.status is RUNNING,
    ),
    "ended in a folder": (
        RunQuery(cwd=FOLDER, statuses=(COMPLETED, REJECTED), role="worker"),
        lambda r: (
            r.request.cwd == FOLDER
            and r.status in (COMPLETED, REJECTED)
            and r.request.role == "worker"
        ),
    ),
}
CHANGED: Final[dict[str, tuple[RunQuery, Test]]] = {
    "agent": (RunQuery(agent="codex"), lambda r: r.agent == "codex"),
    "agent and status": (
        RunQuery(agent="codex", statuses=(FAILED,)),
        lambda r: r.agent == "codex" and r.status is FAILED,
    ),
    "changed after": (
        RunQuery(agent="codex", updated_after=MIDDLE),
        lambda r: r.agent == "codex" and r.status_at >= MIDDLE,
    ),
    "changed before": (
        RunQuery(agent="codex", updated_before=MIDDLE, statuses=(FAILED, COMPLETED)),
        lambda r: r.agent == "codex" and r.status_at < MIDDLE and r.status in (FAILED, COMPLETED),
    ),
}
QUERIES: Final = [
    *(pytest.param(query, test, id=name) for name, (query, test) in NEWEST.items()),
    *(
        pytest.param(replace(query, order="status"), test, id=f"{name}, by change")
        for name, (query, test) in CHANGED.items()
    ),
]
OF_SESSION: Final = [RunQuery(context_id="x"), RunQuery(context_id="x", order="status")]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    kind: Kind = request.param
    return empty_database(kind, tmp_path, request)


@pytest.fixture(scope="module", params=KINDS)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One store that tests only read; what fills it is theirs to await."""
    kind: Kind = request.param
    if kind == "sqlite":
        return Database(kind, tmp_path_factory.mktemp("filled") / "runs.db")
    return Database(kind, request.getfixturevalue("postgres_server").create())


async def _full(database: Database) -> RunLog:
    log = await database.log()
    if not (await log.list_runs(PRINCIPAL, RunQuery(limit=1))).runs:
        await log.close()
        await fill(database.place, runs=RUNS, events=4 * RUNS, active=20)
        log = await database.log()
    return log


async def _pages(log: RunLog, query: RunQuery) -> list[Run]:
    found: list[Run] = []
    while True:
        page = await log.list_runs(PRINCIPAL, query)
        found += page.runs
        if page.next_cursor is None:
            return found
        query = replace(query, cursor=page.next_cursor)


@pytest.mark.parametrize(("query", "test"), QUERIES)
async def test_the_pages_of_a_query_hold_what_matches_in_its_order(
    filled: Database, query: RunQuery, test: Test
) -> None:
    log = await _full(filled)
    try:
        everything = await _pages(log, RunQuery(limit=200))
        assert len(everything) == RUNS

        def place(run: Run) -> tuple[int, str]:
            return (run.status_at if query.order == "status" else run.created_at), run.id

        wanted = sorted((run for run in everything if test(run)), key=place, reverse=True)
        assert [run.id for run in await _pages(log, replace(query, limit=7))] == [
            run.id for run in wanted
        ]
        counted = await log.list_runs(PRINCIPAL, replace(query, limit=1, with_total=True))
        assert counted.total == len(wanted)
        assert not (await log.list_runs("somebody", query)).runs
    finally:
        await log.close()


# -- what it costs -------------------------------------------------------------------------------


def _plan(connection: sa.Connection, query: RunQuery, since: tuple[int, str] | None) -> str:
    statement = walk(connection, PRINCIPAL, query, since, most=51)
    options = {"literal_binds": True, "render_postcompile": True}
    text = str(statement.compile(connection, compile_kwargs=options))
    if connection.dialect.name == "sqlite":
        return "\n".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
    # So few rows are read faster without an index: what is asked is whether one could serve.
    for setting in ("seqscan", "sort", "incremental_sort", "bitmapscan", "hashjoin"):
        connection.exec_driver_sql(f"SET LOCAL enable_{setting} = off")
    return "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {text}"))


SORTED: Final = {  # which index each sort of a plan reads
    "sqlite": r"INDEX (\w+) [^\n]*\nUSE TEMP B-TREE",
    "postgres": r"Sort  .*\n(?: *Disabled: true\n)? *Sort Key: .*\n *->  Index Scan(?: Backward)? using (\w+)",
}
FEW: Final = {"ix_runs_active", "ix_runs_context"}  # whatever is stored


@pytest.mark.parametrize("query", [param.values[0] for param in QUERIES] + OF_SESSION)
@pytest.mark.parametrize("since", [None, (MIDDLE, "r")], ids=["first page", "later page"])
async def test_every_query_walks_along_an_index_and_sorts_but_active_runs_or_one_session(
    filled: Database, query: RunQuery, since: tuple[int, str] | None
) -> None:
    await (await _full(filled)).close()
    async with filled.opened() as engine:
        plan = await engine.read(lambda connection: _plan(connection, query, since))
    assert not re.search(r"SCAN|Seq Scan", plan), plan
    by_sort = re.findall(SORTED[filled.kind], plan)
    assert len(by_sort) == len(re.findall(r"TEMP B-TREE|Sort  ", plan)), plan
    assert set(by_sort) <= FEW, plan
    if query.order == "created":  # active runs stand in this order
        assert "ix_runs_active" not in by_sort, plan
    if filled.kind == "sqlite" and query.context_id is not None:
        assert "context_id=?" in plan
    elif filled.kind == "sqlite" and since is not None:
        assert plan.count("_at,") + plan.count("ix_runs_active (principal=?)") == plan.count(
            "SEARCH runs USING"
        ), plan


@pytest.mark.parametrize("status", RunStatus)
def test_a_run_is_in_the_index_of_active_runs_or_in_those_of_ended_ones(status: RunStatus) -> None:
    with sa.create_engine("sqlite://").connect() as connection:
        there = [
            connection.scalar(
                sa.select(sa.literal(status.value).label("status"))
                .subquery()
                .select()
                .where(condition)
            )
            for condition in (ACTIVE_STATUSES, ENDED_STATUSES)
        ]
    assert there == ([status, None] if status in ACTIVE else [None, status])


def test_no_index_on_runs_holds_what_every_event_moves() -> None:
    for index in runs.indexes:
        where = str(index.dialect_options["sqlite"]["where"])
        named = {column.name for column in index.columns} | set(re.findall(r"\w+", where))
        assert not named & set(MOVING), index.name


async def test_a_total_is_counted_up_to_a_bound(database: Database) -> None:
    await fill(database.place, runs=COUNT_MAX + 5, events=2 * COUNT_MAX + 10, active=0)
    log = await database.log()
    try:
        page = await log.list_runs(PRINCIPAL, RunQuery(limit=1, with_total=True))
        assert page.total == COUNT_MAX
        assert (await log.list_runs(PRINCIPAL, RunQuery(limit=1))).total is None
    finally:
        await log.close()


# -- while runs come and move --------------------------------------------------------------------


async def _begin(log: RunLog, name: str, at: int, **asked: Any) -> RunWriter:
    request = CodingRequest(cwd="/w", **asked)
    run = replace(
        RUN, id=name, context_id=name, request=request, created_at=at, updated_at=at, status_at=at
    )
    session = Session(
        id=name, principal=PRINCIPAL, agent="a", backend="a", cwd="/w", created_at=at, updated_at=at
    )
    stored = await log.create(run, session, None)
    return RunWriter(log, stored, clock=lambda: 1000, limits=Limits())


@pytest.mark.parametrize(
    ("query", "rest"),
    [(RunQuery(limit=3), "edcba"), (RunQuery(limit=3, agent="a", order="status"), "edba")],
    ids=["created", "status"],
)
async def test_no_run_that_did_not_move_is_missed_or_shown_twice(
    database: Database, query: RunQuery, rest: str
) -> None:
    log = await database.log()
    try:
        writers = {name: await _begin(log, name, 100 + n) for n, name in enumerate("abcdefgh")}
        first = await log.list_runs(PRINCIPAL, query)
        assert [run.id for run in first.runs] == list("hgf")
        await writers["g"].emit(RunStarted(), RunFailed(message="no"))  # was shown
        await writers["c"].emit(RunStarted())  # is still to come
        for name in "gc":
            await writers[name].flush()
        await _begin(log, "z", 500)
        later = await _pages(log, replace(query, cursor=first.next_cursor))
        assert [run.id for run in later] == list(rest)
        again = await log.list_runs(PRINCIPAL, query)
        moved = "zhg" if query.order == "created" else "gcz"
        assert [run.id for run in again.runs] == list(moved)
    finally:
        await log.close()


async def test_a_session_whose_run_has_ended_has_no_active_one(database: Database) -> None:
    log = await database.log()
    try:
        writer = await _begin(log, "a", 1)
        active = RunQuery(context_id="a", statuses=tuple(ACTIVE))
        assert [run.id for run in (await log.list_runs(PRINCIPAL, active)).runs] == ["a"]
        await writer.emit(RunFailed(message="no"))
        await writer.flush()
        for order in ("created", "status"):
            assert not (await log.list_runs(PRINCIPAL, replace(active, order=order))).runs
    finally:
        await log.close()


# -- labels --------------------------------------------------------------------------------------


async def test_labels_are_stored_with_their_run_and_find_it(database: Database) -> None:
    log = await database.log()
    try:
        await _begin(log, "a", 1, labels={"ticket": "A-1", "note": "größer"})
        await _begin(log, "b", 2, labels={"ticket": "A-1"})
        await _begin(log, "c", 3)
        found = await log.list_runs(PRINCIPAL, RunQuery(labels=(("ticket", "A-1"),)))
        assert [run.id for run in found.runs] == ["b", "a"]
        assert found.runs[1].request.labels == {"ticket": "A-1", "note": "größer"}
        both = RunQuery(labels=(("ticket", "A-1"), ("note", "größer")))
        assert [run.id for run in (await log.list_runs(PRINCIPAL, both)).runs] == ["a"]
    finally:
        await log.close()


# -- what is refused -----------------------------------------------------------------------------


MINE: Final = RunQuery(agent="a")


def test_a_cursor_leads_back_to_its_run_whatever_the_size_of_the_pages() -> None:
    assert decode_cursor(replace(MINE, limit=9), encode_cursor(MINE, RUN)) == (5, "r")
    changed = replace(MINE, order="status")
    assert decode_cursor(changed, encode_cursor(changed, RUN)) == (6, "r")


@pytest.mark.parametrize(
    "cursor",
    [
        *("%%", "x", "aGVsbG8", "\ud800", "é", "a.b.c", " "),
        encode_cursor(MINE, replace(RUN, created_at=2**63)),
        encode_cursor(MINE, replace(RUN, created_at=-1)),
        encode_cursor(MINE, replace(RUN, id="r\0")),
    ],
)
def test_rubbish_for_a_cursor_is_refused_in_one_line(cursor: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^cursor is not one of ours; leave it out") as one:
        decode_cursor(MINE, cursor)
    assert "\n" not in str(one.value)


@pytest.mark.parametrize(
    "other",
    [
        replace(MINE, order="status"),
        replace(MINE, agent="b"),
        replace(MINE, cwd="/w"),
        replace(MINE, statuses=(FAILED,)),
        replace(MINE, labels=(("k", "v"),)),
        replace(MINE, created_after=1),
    ],
)
def test_the_cursor_of_another_list_is_refused(other: RunQuery) -> None:
    with pytest.raises(InvalidInputError, match="another order or with other filters; leave it"):
        decode_cursor(other, encode_cursor(MINE, RUN))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (RunQuery(order="status"), "one agent or session"),
        (RunQuery(updated_after=1), "need order 'status'"),
        (RunQuery(cwd="/w\0"), "cwd holds a NUL"),
        (RunQuery(labels=(("k", "\0"),)), "labels holds a NUL"),
        (RunQuery(cursor="\0"), "cursor holds a NUL"),
    ],
)
async def test_what_no_index_serves_is_refused(
    database: Database, query: RunQuery, said: str
) -> None:
    log = await database.log()
    try:
        with pytest.raises(InvalidInputError, match=said):
            await log.list_runs(PRINCIPAL, query)
    finally:
        await log.close()
