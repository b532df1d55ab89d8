"""list_runs: the caller's runs, newest first, page by page."""

from typing import Annotated, Final

from pydantic import Field

from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery, encode_cursor
from mcp_bridge import pages
from mcp_bridge.arguments import Backend, MaxBytes, Text
from mcp_bridge.runs import views
from mcp_bridge.runs.results import RunsPage
from mcp_bridge.schemas import RESULT_BYTES, Arguments
from mcp_bridge.tool import LONG, Call, Tool, reads

LIST_LIMIT: Final = 20
_ENVELOPE: Final = 256  # bytes of a page beside its items


class ListRuns(Arguments):
    status: RunStatus | None = None
    backend: Backend | None = None
    cwd: Annotated[str, Field(description="Exactly this folder.")] | None = None
    agent_name: Text | None = None
    session_id: Text | None = None
    parent_run_id: Text | None = None
    limit: Annotated[int, Field(ge=1, le=200, description="Most runs; default 20.")] = LIST_LIMIT
    cursor: Annotated[Text, Field(description="next_cursor of the last answer.")] | None = None
    max_bytes: MaxBytes = RESULT_BYTES


async def list_runs(call: Call, arguments: ListRuns) -> RunsPage:
    query = RunQuery(
        statuses=() if arguments.status is None else (arguments.status,),
        backend=arguments.backend,
        cwd=arguments.cwd,
        nickname=arguments.agent_name,
        context_id=arguments.session_id,
        parent_id=arguments.parent_run_id,
        limit=arguments.limit,
        cursor=arguments.cursor,
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
    return answer if cursor is None else {"next_cursor": cursor, "runs": shown}


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
