"""Fills a database with many runs, fast, and times what readers ask of it.

The rows are those of a gateway some months old: a few folders hold most runs, most runs completed
after a few events and some went on for thousands. They go in by bulk inserts past the log's writer.
"""

import random
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

import sqlalchemy as sa

from gateway.core import json, messages
from gateway.core.extension import CodingRequest, Parent
from gateway.core.messages import user_text
from gateway.core.status import RunStatus
from gateway.core.store import schema
from gateway.core.store.agents import AgentQuery
from gateway.core.store.dialect import insert
from gateway.core.store.engine import Engine
from gateway.core.store.listing import RunQuery
from gateway.core.store.log import RunLog
from gateway.core.store.open import open_log
from gateway.core.store.postgres import PostgresEngine
from gateway.core.store.rows import SHOWN
from gateway.core.store.sqlite import SqliteEngine

PRINCIPAL: Final = "local"
ACTIVE_MOST: Final = 200
BATCH: Final = 10_000  # rows of one bulk insert and commit
START: Final = 1_790_000_000_000_000  # created_at of the oldest run, in unix microseconds
BETWEEN: Final = 20_000_000  # us from one run to the next
FOLDERS: Final = 300
READS: Final = 200  # of each kind, for a median
_AGENTS: Final = {("codex", "codex"): 55, ("claude_code", "claude_code"): 35, ("far", "url"): 10}
_ENDS: Final = {"completed": 88, "failed": 7, "cancelled": 4, "rejected": 1}
_GOING: Final = ("running", "running", "running", "input_required", "queued")
_ROLES: Final = (None, None, "worker", "worker", "reviewer", "planner")
_FIRST: Final = "run_started"
_LAST: Final = {
    "completed": "run_completed",
    "failed": "run_failed",
    "cancelled": "status_changed",
    "rejected": "rejected",
}
_BETWEEN_TYPES: Final = ("agent_message", "command_started", "command_finished", "reasoning")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """One run: its rows, and the number of its events."""

    run: Row
    session: Row
    input: Row
    labels: list[Row]
    key: Row | None


async def fill(
    database: Path | str, *, runs: int, events: int, active: int = ACTIVE_MOST, seed: int = 1
) -> None:
    """Store `runs` runs with `events` events in all, at least two for each run that has ended.

    `database` is a file or a PostgreSQL URL, made ready where it is empty. The newest of the runs,
    `active` at most and a fiftieth of all, still go on: a server that opens the database takes
    them up. The same arguments give the same rows.
    """
    await (await open_log(database)).close()
    engine: Engine = (
        SqliteEngine(database)
        if isinstance(database, Path)
        else PostgresEngine(sa.make_url(database))
    )
    try:
        await _fill(
            engine, list(_runs(random.Random(seed), runs, events, min(active, runs // 50))), seed
        )
    finally:
        await engine.close()


async def _fill(engine: Engine, made: list[_Made], seed: int) -> None:
    counters: dict[str, int] = {}
    for one in made:
        cwd, number = one.run["cwd"], int(one.run["nickname"].removeprefix("agent"))
        counters[cwd] = max(number, counters.get(cwd, 0))
    await _store(engine, schema.sessions, (one.session for one in made))
    await _store(engine, schema.runs, (one.run for one in made))
    await _store(engine, schema.run_inputs, (one.input for one in made))
    await _store(engine, schema.run_labels, (label for one in made for label in one.labels))
    await _store(engine, schema.request_keys, (one.key for one in made if one.key is not None))
    await _store(
        engine,
        schema.name_counters,
        ({"principal": PRINCIPAL, "cwd": cwd, "last": last} for cwd, last in counters.items()),
    )
    await _store(engine, schema.events, _events(random.Random(seed), made))
    if isinstance(engine, PostgresEngine):  # which does so by itself, a minute later
        await engine.write(lambda connection: connection.exec_driver_sql("ANALYZE"))


async def _store(engine: Engine, table: sa.Table, rows: Iterable[Row]) -> None:
    source = iter(rows)
    while batch := list(islice(source, BATCH)):
        await engine.write(lambda connection, batch=batch: _insert(connection, table, batch))


def _insert(connection: sa.Connection, table: sa.Table, batch: list[Row]) -> None:
    statement = insert(connection, table)
    if table is schema.name_counters:  # of a store that was filled before
        statement = statement.on_conflict_do_nothing()
    connection.execute(statement, batch)


# -- rows ----------------------------------------------------------------------------------------


def _runs(dice: random.Random, number: int, total: int, active: int) -> Iterator[_Made]:
    counts = _event_counts(dice, number, total)
    names: dict[str, int] = {}
    agents, agent_weights = zip(*_AGENTS.items(), strict=True)
    ends, end_weights = zip(*_ENDS.items(), strict=True)
    for n in range(number):
        folder = f"/home/user/projects/project-{int(dice.paretovariate(0.7)) % FOLDERS}"
        names[folder] = names.get(folder, 0) + 1
        agent, backend = dice.choices(agents, agent_weights)[0]
        going = n >= number - active
        status = _GOING[n % len(_GOING)] if going else dice.choices(ends, end_weights)[0]
        yield _made(
            dice,
            START + n * BETWEEN,
            {
                "agent": agent,
                "backend": backend,
                "status": status,
                "cwd": folder,
                "nickname": f"agent{names[folder]}",
                "parent_id": f"parent-{n // 100}" if n % 10 == 0 else None,
                "last_seq": 0 if status == "queued" else counts[n],
            },
        )


def _event_counts(dice: random.Random, number: int, total: int) -> list[int]:
    """Of each run, at least two: most have few, some have thousands."""
    weights = [dice.lognormvariate(0.0, 1.2) for _ in range(number)]
    spare = max(0, total - 2 * number)
    counts = [2 + int(spare * weight / sum_) for sum_ in (sum(weights),) for weight in weights]
    counts[0] += total - sum(counts)
    return counts


def _made(dice: random.Random, at: int, facts: Row) -> _Made:
    run_id, context_id = _id(dice, at), _id(dice, at)
    status, last_seq = facts["status"], facts["last_seq"]
    ended = status in _ENDS
    moved = at + last_seq * 500_000
    shared = {"principal": PRINCIPAL, "created_at": at, "updated_at": moved}
    run: Row = facts | shared
    run |= {
        "id": run_id,
        "context_id": context_id,
        "role": dice.choice(_ROLES),
        "status_at": moved if ended else at,
        "started_at": at if last_seq else None,
        "completed_at": moved if ended else None,
        "summary": f"Looked at {last_seq} places and changed what had to be changed",
        "pending": json.encode(_PENDING) if status == "input_required" else None,
        "result": json.encode(_RESULT) if status == "completed" else None,
        "error": json.encode(_ERROR) if ended and status != "completed" else None,
    }
    names = ("agent", "backend", "cwd", "nickname")
    labels = _labels(dice)
    parent = Parent(run_id=run["parent_id"]) if run["parent_id"] else None
    request = CodingRequest(cwd=run["cwd"], role=run["role"], labels=labels or None, parent=parent)
    place = {"principal": PRINCIPAL, "created_at": at, "run_id": run_id}
    key = {"scope": f"{PRINCIPAL}\n{run['agent']}", "key": f"key-{at}", "digest": "0" * 64}
    return _Made(
        run=run,
        session=shared | {name: facts[name] for name in names} | {"id": context_id},
        input={
            "run_id": run_id,
            "message": _MESSAGE,
            "request": request.model_dump_json(exclude_none=True),
            "metadata": None,
        },
        labels=[place | {"key": name, "value": value} for name, value in labels.items()],
        key=key | {"run_id": run_id} if dice.random() < 0.5 else None,
    )


def _id(dice: random.Random, at: int) -> str:
    """As `gateway.core.ids` makes them: those of one time lie side by side."""
    text = f"{at // 1000:012x}7{dice.getrandbits(12):03x}{(2 << 62) | dice.getrandbits(62):016x}"
    return str(uuid.UUID(text))


def _labels(dice: random.Random) -> dict[str, str]:
    labels: dict[str, str] = {}
    if dice.random() < 0.3:
        labels["ticket"] = f"T-{dice.randrange(2000)}"
    if dice.random() < 0.1:
        labels["team"] = dice.choice(("core", "web", "ops"))
    return labels


def _events(dice: random.Random, made: Iterable[_Made]) -> Iterator[Row]:
    data = {name: [_data(dice, name) for _ in range(64)] for name in (_FIRST, *_BETWEEN_TYPES)}
    data |= {name: [_data(dice, name)] for name in _LAST.values()}
    for one in made:
        run_id, status, at = one.run["id"], one.run["status"], one.run["created_at"]
        last_seq = one.run["last_seq"]
        for seq in range(1, last_seq + 1):
            last = seq == last_seq and status in _LAST
            name = _LAST[status] if last else _FIRST
            if not last and seq > 1:
                name = _BETWEEN_TYPES[seq % len(_BETWEEN_TYPES)]
            yield {
                "run_id": run_id,
                "seq": seq,
                "ts": at + seq * 500_000,
                "type": name,
                "status": status if last else "running",
                "src_seq": seq,
                "shown": SHOWN.get(name),
                "data": dice.choice(data[name]),
            }


_WORDS: Final = ("the run", "reads", "a file", "finds", "its test", "older", "than", "code", "and")
_MESSAGE: Final = json.encode(messages.to_wire(user_text("m-1", "Mend the failing test. " * 20)))
_PENDING: Final = [{"request_id": "q-1", "kind": "question", "text": "Which one?"}]
_RESULT: Final = {"final_response": "Done. " * 60, "structured_output": None, "usage": None}
_ERROR: Final = {"message": "the agent stopped", "reason": "agent_lost"}


def _data(dice: random.Random, name: str) -> str:
    text = " ".join(dice.choices(_WORDS, k=dice.randrange(20, 90)))
    match name:
        case "agent_message" | "reasoning" | "run_started":
            return json.encode({"text": text} if name != "run_started" else {})
        case "command_started" | "command_finished":
            finished = {"output": text, "status": "completed", "exit_code": 0}
            command = {"command": "pytest -q tests/test_one.py"}
            return json.encode(command | (finished if name == "command_finished" else {}))
        case "run_completed":
            return json.encode({"final_response": "Done. " * 60})
        case "status_changed":
            return json.encode({"status": "cancelled"})
        case _:
            return json.encode({"message": "the agent stopped", "reason": "agent_lost"})


# -- figures -------------------------------------------------------------------------------------


async def measure(log: RunLog, *, reads: int = READS) -> dict[str, float]:
    """Median milliseconds of what readers ask of a filled store, through the log."""
    newest = (await log.list_runs(PRINCIPAL, RunQuery(limit=200))).runs
    some = newest[-1]
    busy = max(newest, key=lambda run: run.last_seq)
    deep = await _deep(log, RunQuery(limit=200), pages=100)
    labels = (("team", "core"),)
    agent = RunQuery(agent="codex", order="status", with_total=True)
    queries = {
        "newest": RunQuery(),
        "status failed": RunQuery(statuses=(RunStatus.FAILED,)),
        "status active": RunQuery(statuses=(RunStatus.RUNNING, RunStatus.QUEUED)),
        "backend": RunQuery(backend="claude_code"),
        "agent": RunQuery(agent="far"),
        "cwd": RunQuery(cwd=some.request.cwd),
        "session": RunQuery(context_id=some.context_id),
        "role": RunQuery(role="reviewer"),
        "nickname": RunQuery(nickname="agent7"),
        "label": RunQuery(labels=labels),
        "created before": RunQuery(created_before=START + 1000 * BETWEEN),
        "deep page": deep,
        "ListTasks": agent,
        "ListTasks, status": replace(agent, statuses=(RunStatus.REJECTED,)),
        "ListTasks, context": replace(agent, context_id=some.context_id),
        "ListTasks, changed since": replace(agent, updated_after=some.status_at),
        "ListTasks, deep": await _deep(log, agent, pages=100),
    }
    figures = {
        f"page of 50, {name}": await _median(reads, lambda q=query: log.list_runs(PRINCIPAL, q))
        for name, query in queries.items()
    }
    for name, asked in (("all", AgentQuery()), ("idle", AgentQuery(idle=True))):
        figures[f"page of 50 agents, {name}"] = await _median(
            reads, lambda q=asked: log.agents.page(PRINCIPAL, q)
        )
    figures["get run"] = await _median(reads, lambda: log.get(some.id))
    figures["100 events"] = await _median(reads, lambda: log.read(busy.id, 1, 100))
    return figures


async def _deep(log: RunLog, query: RunQuery, *, pages: int) -> RunQuery:
    """The query of a page far down."""
    walked = replace(query, limit=200, with_total=False)
    for _ in range(pages):
        page = await log.list_runs(PRINCIPAL, walked)
        if page.next_cursor is None:
            break
        walked = replace(walked, cursor=page.next_cursor)
    return replace(query, limit=50, cursor=walked.cursor)


async def _median(reads: int, ask: Callable[[], Awaitable[object]]) -> float:
    times: list[float] = []
    for _ in range(reads):
        start = time.perf_counter()
        await ask()
        times.append(time.perf_counter() - start)
    return median(times) * 1000
