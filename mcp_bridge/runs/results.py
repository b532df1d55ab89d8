"""The results of the seven tools, key by key. Their schemas are published with the tools.

Knows no run. Published keys are always there; the others only when they say something.
"""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import WithJsonSchema
from typing_extensions import TypedDict  # pydantic reads NotRequired from this one before 3.12

from gateway.core.continuing import Did
from gateway.core.json import JsonObject

# Any JSON value, kind by kind: strict clients warn of a schema that says nothing.
_KINDS = ("object", "array", "string", "number", "boolean", "null")
AnyJson = Annotated[Any, WithJsonSchema({"anyOf": [{"type": kind} for kind in _KINDS]})]


class SpawnedRun(TypedDict):
    """`blocked_by`: the run of its session that has the turn."""

    run_id: str
    status: str
    session_id: str
    agent_name: str
    backend: str
    role: str | None
    blocked_by: NotRequired[str]


class RunError(TypedDict):
    message: str
    reason: NotRequired[str]


class RunResult(TypedDict):
    """`truncated` lists what is cut here: {field_path: {seq, total_bytes}}, for
    get_event_artifact."""

    final_response: NotRequired[str]
    structured_output: NotRequired[AnyJson]
    artifacts: NotRequired[list[JsonObject]]
    truncated: NotRequired[JsonObject]


class RunView(TypedDict):
    """A run as list_runs shows it. `parent_run_id`: the run from within which it was asked for.
    `asks`: the ids of its pending requests."""

    run_id: str
    status: str
    session_id: str
    agent_name: str
    backend: str
    role: str | None
    summary: str
    last_seq: int
    started_at: str
    updated_at: str
    completed_at: NotRequired[str]
    parent_run_id: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    asks: NotRequired[list[str]]
    cwd: str | None
    metadata: JsonObject
    remote_ref: JsonObject | None


class WholeRun(RunView):
    """A run as get_run shows it. Queued: its place, 1 is next, and the run of its session that has
    the turn. `liveness`: {last_event_at, phase, stalled}."""

    pending: list[JsonObject]
    result: NotRequired[RunResult]
    error: NotRequired[RunError]
    usage: NotRequired[JsonObject]
    liveness: JsonObject
    cancel_requested_at: NotRequired[str]
    queue_place: NotRequired[int]
    blocked_by: NotRequired[str]


class RunEvent(TypedDict):
    """`clipped`: parts of data were left out to keep the answer small; poll again with the
    after_seq before it and a larger max_bytes for all of it."""

    seq: int
    ts: str
    run_id: str
    session_id: str
    backend: str
    type: str
    data: JsonObject
    clipped: NotRequired[bool]


class RunState(TypedDict):
    """A run and how far it was read. `pending` when it asks something, `summary` when somebody has
    to log in (where and how), `error` when it failed, `blocked_by` when another run of its session
    has the turn."""

    run_id: str
    status: str
    next_after_seq: int
    has_more: bool
    summary: NotRequired[str]
    error: NotRequired[RunError]
    blocked_by: NotRequired[str]
    pending: NotRequired[list[JsonObject]]


class EventsPage(TypedDict):
    """Of one run: `run_id`, `status`, `next_after_seq`, `pending`. Of several (`run_ids`): `runs`.

    `person`: what became of requests that were put to the client's person meanwhile, each
    {run_id, request_id, did, text}; did is answered, decline, cancel, unusable or an error's code.
    """

    run_id: NotRequired[str]
    status: NotRequired[str]
    next_after_seq: NotRequired[int]
    has_more: bool
    summary: NotRequired[str]
    error: NotRequired[RunError]
    blocked_by: NotRequired[str]
    pending: NotRequired[list[JsonObject]]
    runs: NotRequired[list[RunState]]
    events: list[RunEvent]
    person: NotRequired[list[JsonObject]]


class CancelledRun(TypedDict):
    """`cancelled_at` is null until the agent has confirmed."""

    run_id: str
    status: str
    cancelled_at: str | None
    cancel_requested_at: NotRequired[str]


class ContinuedRun(TypedDict):
    """`answered`: what the words were taken for, {request_id, option, answers, message}. `did`: answered, steered or resumed; attached means that this request_key did it before."""

    run_id: str
    status: str
    session_id: str
    agent_name: str
    mode: Literal["live", "resume"]
    did: Did
    resumed_from_run_id: NotRequired[str]
    blocked_by: NotRequired[str]
    answered: NotRequired[list[JsonObject]]


class RunsPage(TypedDict):
    """`note`: why there are none, when filters were given."""

    next_cursor: NotRequired[str]
    note: NotRequired[str]
    runs: list[RunView]


class ArtifactSlice(TypedDict):
    run_id: str
    seq: int
    field_path: str
    mime: str
    encoding: str
    relpath: str
    total_bytes: int
    offset: int
    returned_bytes: int
    has_more: bool
    next_offset: NotRequired[int]
    returned_lines: NotRequired[int]
    content: str
