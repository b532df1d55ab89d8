"""list_runs: the caller's runs, newest first, page by page."""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from gateway.core.extension import Role
from gateway.core.status import ACTIVE, RunStatus
from gateway.core.store.listing import RunQuery, encode_cursor
from mcp_bridge import pages
from mcp_bridge.arguments import Backend, Folder, Labels, MaxBytes, Text
from mcp_bridge.runs import views
from mcp_bridge.runs.results import RunsPage
from mcp_bridge.schemas import RESULT_BYTES, Arguments
from mcp_bridge.tool import LONG, Call, Tool, reads

LIST_LIMIT: Final = 20
Listed = Literal[
    "active",
    "queued",
    "running",
    "input_required",
    "auth_required",
    "completed",
    "failed",
    "cancelled",
    "rejected",
]
_ENVELOPE: Final = 256  # bytes of a page beside its items


class ListRuns(Arguments):
    status: Annotated[Listed, Field(description="active: every run that has not ended.")] | None = (
        None
    )
    backend: Backend | None = None
    role: Role | None = None
    cwd: Annotated[Folder, Field(description="Exactly this folder.")] | None = None
    agent_name: Text | None = None
    session_id: Text | None = None
    parent_run_id: Text | None = None
    labels: Annotated[Labels, Field(description="All of these.")] | None = None
    since: Annotated[Text, Field(description="Accepted from this ISO time on.")] | None = None
    until: Annotated[Text, Field(description="Accepted before it.")] | None = None
    limit: Annotated[
        int, Field(ge=1, le=200, description="Most runs; default 20. max_bytes ends a page too.")
    ] = LIST_LIMIT
    cursor: Text | None = None
    max_bytes: MaxBytes = RESULT_BYTES

    @field_validator("since", "until")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            _at(value)
        return value


async def list_runs(call: Call, arguments: ListRuns) -> RunsPage:
    nickname, context_id = await _of_agent(call, arguments)
    query = RunQuery(
        statuses=_statuses(arguments.status),
        backend=arguments.backend,
        role=arguments.role,
        cwd=arguments.cwd,
        nickname=nickname,
        context_id=context_id,
        parent_id=arguments.parent_run_id,
        labels=tuple((arguments.labels or {}).items()),
        created_after=None if arguments.since is None else _at(arguments.since),
        created_before=None if arguments.until is None else _at(arguments.until),
        limit=arguments.limit,
        cursor=arguments.cursor,
        brief=True,
    )
    page = await call.tasks.list_runs(call.principal, query)
    budget = arguments.max_bytes - _ENVELOPE
    shown = [views.run_view(run) for run in page.runs]
    count = pages.count_that_fits(shown, budget)
    if count == len(shown):
        cursor = page.next_cursor
    else:
        count = max(1, count)
        shown = [pages.clip(view, budget) for view in shown[:count]]
        cursor = encode_cursor(query, page.runs[count - 1])
    answer: RunsPage = {"runs": shown}
    if not shown and arguments.model_dump(exclude_defaults=True).keys() - {"limit", "max_bytes"}:
        answer = {
            "note": "no run fits all of these; list_runs without them shows what there is",
            **answer,
        }
    return answer if cursor is None else {"next_cursor": cursor, **answer}


async def _of_agent(call: Call, arguments: ListRuns) -> tuple[str | None, str | None]:
    """The nickname and the session that are meant: an agent without a name goes by its session's
    id, as `views.agent_name` shows it."""
    name, session_id = arguments.agent_name, arguments.session_id
    if name is not None and session_id in (None, name):
        session = await call.tasks.session(call.principal, name)
        if session is not None and session.nickname is None:
            return None, name
    return name, session_id


def _statuses(asked: str | None) -> tuple[RunStatus, ...]:
    if asked is None:
        return ()
    return tuple(ACTIVE) if asked == "active" else (RunStatus(asked),)


def _at(text: str) -> int:
    """Unix microseconds of an ISO 8601 time; UTC where it names no offset. Raises: ValueError."""
    try:
        at = datetime.fromisoformat(text)
        return round(at.replace(tzinfo=at.tzinfo or UTC).timestamp() * 1_000_000)
    except (ValueError, OverflowError) as exc:
        raise ValueError("give a time such as 2026-11-22T10:00:00Z") from exc


LIST_RUNS: Final = Tool(
    name="list_runs",
    description="Runs, newest first, with status, summary, agent_name and session_id. More: "
    "pass next_cursor as cursor.",
    arguments=ListRuns,
    result=RunsPage,
    run=list_runs,
    annotations=reads(open_world=False),
    meta=LONG,
)
