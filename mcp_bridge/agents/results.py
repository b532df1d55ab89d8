"""The results of the tools of agents, key by key. Their schemas are published with the tools.

Knows no agent. Published keys are always there; the others only when they say something.
"""

from typing import NotRequired

from typing_extensions import TypedDict  # pydantic reads NotRequired from this one before 3.12

from gateway.core.json import JsonObject


class AgentView(TypedDict):
    """An agent, with the status of its current run."""

    agent_name: str
    role: str | None
    session_id: str
    status: str
    cwd: str | None
    last_run_id: str | None
    updated_at: str


class AgentsPage(TypedDict):
    """`you`: the caller's own agent_name, within a run."""

    next_cursor: NotRequired[str]
    you: NotRequired[str]
    agents: list[AgentView]


class SentMessage(TypedDict):
    """`from_agent_name`: the agent it was sent as."""

    message_id: str
    to_agent_name: str
    to_session_id: str
    seq: int
    created_at: str
    from_agent_name: NotRequired[str]


class ReceivedMessage(TypedDict):
    """`clipped`: parts of body or metadata were left out to keep the answer small; fetch again with
    the after_seq before it and a larger max_bytes for all of it."""

    seq: int
    message_id: str
    created_at: str
    from_agent_name: str | None
    from_session_id: str | None
    to_agent_name: str
    to_session_id: str
    body: JsonObject
    metadata: JsonObject
    clipped: NotRequired[bool]


class MessagesPage(TypedDict):
    """`missed`: how many messages behind after_seq are no longer kept."""

    agent_name: str
    session_id: str
    next_after_seq: int
    has_more: bool
    missed: NotRequired[int]
    messages: list[ReceivedMessage]
