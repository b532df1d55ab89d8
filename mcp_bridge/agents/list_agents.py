"""list_agents: who there is to write to, page by page."""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.core.clock import iso
from gateway.core.peers import name_of
from gateway.core.status import RunStatus
from gateway.core.store.agents import Agent, AgentQuery, cursor_behind
from mcp_bridge import pages
from mcp_bridge.agents.results import AgentsPage, AgentView
from mcp_bridge.arguments import Backend, Folder, MaxBytes, Text
from mcp_bridge.schemas import RESULT_BYTES, Arguments
from mcp_bridge.tool import LONG, Call, Tool, reads

LIST_LIMIT: Final = 50
IDLE: Final = "idle"
Listed = Literal[
    "idle",
    "queued",
    "running",
    "input_required",
    "auth_required",
    "completed",
    "failed",
    "cancelled",
    "rejected",
]
_ENVELOPE: Final = 512  # bytes of a page beside its agents


class ListAgents(Arguments):
    cwd: Annotated[Folder, Field(description="Exactly this folder.")] | None = None
    backend: Backend | None = None
    status: (
        Annotated[
            Listed, Field(description="Of its current run; idle: no run is under way or waits.")
        ]
        | None
    ) = None
    limit: Annotated[int, Field(ge=1, le=200, description="Default 50.")] = LIST_LIMIT
    cursor: Text | None = None
    max_bytes: MaxBytes = RESULT_BYTES


async def list_agents(call: Call, arguments: ListAgents) -> AgentsPage:
    status = arguments.status
    query = AgentQuery(
        cwd=arguments.cwd,
        backend=arguments.backend,
        status=None if status in (None, IDLE) else RunStatus(status),
        idle=status == IDLE,
        limit=arguments.limit,
        cursor=arguments.cursor,
    )
    page = await call.tasks.peers.page(call.principal, query)
    you = await call.tasks.peers.within(call.principal, call.within)
    budget = arguments.max_bytes - _ENVELOPE
    shown = [_view(agent) for agent in page.agents]
    count, cursor = pages.count_that_fits(shown, budget), page.next_cursor
    if count < len(shown):
        count = max(1, count)
        shown = [pages.clip(view, budget) for view in shown[:count]]
        cursor = cursor_behind(query, page.agents[count - 1])
    answer: AgentsPage = {"agents": shown}
    if you is not None:
        answer = {"you": name_of(you), **answer}
    return answer if cursor is None else {"next_cursor": cursor, **answer}


def _view(agent: Agent) -> AgentView:
    return {
        "agent_name": agent.name,
        "role": agent.role,
        "session_id": agent.session_id,
        "status": agent.status.value,
        "cwd": agent.cwd,
        "last_run_id": agent.last_run_id,
        "updated_at": iso(agent.updated_at),
    }


LIST_AGENTS: Final = Tool(
    name="list_agents",
    description="Agents, latest first, with name, folder and status of their current run. you: your "
    "own name, within a run. More: pass next_cursor as cursor.",
    arguments=ListAgents,
    result=AgentsPage,
    run=list_agents,
    annotations=reads(open_world=False),
    meta=LONG,
)
