"""The coding-run extension: what a caller may ask of a coding agent, and how agents ask back.

Pure: the URI, the wire names, and the four shapes (request, event, pending, answer). The examples
below are parsed by a test, so they are true.

Request, in `message.metadata[URI]` of a first message:

```json request
{"cwd": "/abs/project", "role": "worker", "nickname": "ada", "permission_mode": "ask",
 "sandbox": "workspace-write", "model": "gpt-5.5", "effort": "high", "env_policy": "core",
 "profile": {"source": "reviewer.md", "text": "You review."}, "output_schema": {"type": "object"},
 "limits": {"deadline_s": 600, "max_turns": 20, "max_cost_usd": 1.5}, "isolation": "none",
 "labels": {"ticket": "ABC-1"}, "request_key": "k-1", "run_id": "r-1", "session_id": "s-1"}
```

Event, in `metadata[URI]` of a status or artifact update (the SSE item carries `id: <seq>`):

```json event
{"seq": 4, "ts": "2026-11-22T10:00:00.000000Z", "type": "command_finished",
 "data": {"command": "ls", "output": "a.txt\\n", "status": "completed", "exit_code": 0}}
```

Replay: with the extension active, `Last-Event-ID: <seq>` on SubscribeToTask yields every later event
exactly once, on ended tasks too, and goes live; on SendStreamingMessage the same after the task.

Pending request, in `data.pending` of an `input_required` event and in the data part
`{"pending": [...]}` of an INPUT_REQUIRED status message:

```json pending
{"request_id": "q-1", "kind": "permission", "title": "Run a command", "text": "Run rm -r build?",
 "tool": "Bash", "input": {"command": "rm -r build"},
 "options": [{"id": "allow", "label": "Allow once"}, {"id": "deny", "label": "Deny"}]}
```

Answer, a data part of a follow-up message on the task (several: `{"answers": [...]}` as a list of
these under the key `responses`):

```json answer
{"request_id": "q-1", "option": "allow"}
```

Poll page, as the `poll_events` tool hands events on:

```json poll
{"run_id": "r-1", "status": "running", "next_after_seq": 4, "has_more": false,
 "events": [{"seq": 4, "ts": "2026-11-22T10:00:00.000000Z", "run_id": "r-1", "session_id": "s-1",
             "backend": "codex", "type": "agent_message", "data": {"text": "hello"}}]}
```
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.core.json import JsonObject, as_object

URI: Final = "urn:a2a-gateway:coding-run:1"
EXTENSIONS_HEADER: Final = "A2A-Extensions"
VERSION_HEADER: Final = "A2A-Version"
LAST_EVENT_ID_HEADER: Final = "Last-Event-ID"
# What agents of the predecessor read; sent and accepted beside ours.
PREDECESSOR_KEY: Final = "nanobot_orchestrator"
# In GetTask's `task.metadata`: facts of the log that a replaying client needs. Of an active run also
# last_event_at, phase, stalled (`liveness`) and, queued, queue_place and blocked_by (`slots`).
LOG_ID_KEY: Final = "log_id"
LAST_SEQ_KEY: Final = "last_seq"

PermissionMode: TypeAlias = Literal["auto", "ask", "plan"]
Sandbox: TypeAlias = Literal[
    "read-only", "workspace-write", "workspace-write+git", "danger-full-access"
]
Effort: TypeAlias = Literal["minimal", "low", "medium", "high", "xhigh"]
EnvPolicy: TypeAlias = Literal["core", "none", "all"]
Role: TypeAlias = Literal["planner", "worker", "reviewer"]
Kind: TypeAlias = Literal["permission", "question", "plan", "form", "url"]

# The ids of a permission's or plan's options, the same for every agent.
ALLOW: Final = "allow"
ALLOW_SESSION: Final = "allow_session"
DENY: Final = "deny"
ABORT: Final = "abort"

LABELS_MAX: Final = 16  # labels of one run
LABEL_KEY_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,63}$"
# No control characters: values are printed in terminals, and PostgreSQL stores no NUL.
LABEL_VALUE_PATTERN: Final = r"^[^\x00-\x1f\x7f]*$"
# Names are said by people and models and printed in terminals: letters of any script, no controls.
NAME_PATTERN: Final = r"^[^\W_][\w .-]{0,63}$"


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> JsonObject:
        """JSON without the members that are not set or stand at their default."""
        return self.model_dump(mode="json", exclude_none=True, exclude_defaults=True)


LabelKey: TypeAlias = Annotated[str, Field(pattern=LABEL_KEY_PATTERN)]
LabelValue: TypeAlias = Annotated[str, Field(max_length=256, pattern=LABEL_VALUE_PATTERN)]


class Profile(_Wire):
    """A job description: `source` names where it came from, `text` is its content."""

    source: str
    text: Annotated[str, Field(min_length=1, max_length=256 * 1024)]


class Limits(_Wire):
    """Ceilings of one run, seconds: `deadline_s` of time in `running`, `answer_s` for each answer."""

    deadline_s: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] | None = None
    answer_s: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] | None = None
    max_turns: Annotated[int, Field(ge=1, le=10_000)] | None = None
    max_cost_usd: Annotated[float, Field(gt=0)] | None = None


CWD_MAX: Final = 1024  # characters; it stands in indexes, whose rows PostgreSQL bounds at 2.7 KB


class Parent(_Wire):
    """The run within which this one is asked for; `depth` is its own, 0 where no run asked for it."""

    run_id: Annotated[str, Field(max_length=64)]
    depth: Annotated[int, Field(ge=0)] = 0


class CodingRequest(_Wire):
    """What a caller asks of a coding agent beside the prompt. All fields are optional here.

    `permission_mode`: auto runs within the sandbox without asking, ask turns every request for
    permission into `input_required`, plan has the plan approved first. `env_policy`: what of the
    wrapper's environment commands see. `labels` are the caller's own words to find its runs by (16 at
    most; a key of letters, digits, `.`, `_`, `/`, `-`; a value of 256 characters). `agent`: the one
    that is meant, at a server of several. `run_id`, `session_id` are the caller's, for correlation.
    """

    agent: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    cwd: Annotated[str, Field(max_length=CWD_MAX)] | None = None
    role: Annotated[str, Field(max_length=64)] | None = None
    nickname: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    profile: Profile | None = None
    output_schema: dict[str, Any] | None = None
    permission_mode: PermissionMode | None = None
    sandbox: Sandbox | None = None
    model: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    effort: Effort | None = None
    env_policy: EnvPolicy | None = None
    limits: Limits | None = None
    isolation: Literal["none", "worktree"] | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=LABELS_MAX)] | None = None
    request_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    parent: Parent | None = None
    run_id: Annotated[str, Field(max_length=128)] | None = None
    session_id: Annotated[str, Field(max_length=128)] | None = None
    trace: dict[str, str] | None = None


class Option(_Wire):
    id: str
    label: str


class QuestionOption(_Wire):
    label: str
    description: str | None = None


class Question(_Wire):
    """One question of a request. `id` is the key of its answer."""

    id: str
    question: str
    header: str | None = None
    options: tuple[QuestionOption, ...] = ()
    multi_select: bool = False


class PendingRequest(_Wire):
    """Something the agent, or its sub-agent `agent`, waits for; answered by its `request_id`.

    `default` is the option (or answer) taken when `expires_at` (ISO time) passes unanswered.
    For kind form `input.schema` is the JSON Schema of the answer's `answers`; for url `input.url`.
    """

    request_id: str
    kind: Kind
    title: str | None = None
    text: str
    tool: str | None = None
    agent: str | None = None
    input: dict[str, Any] | None = None
    questions: tuple[Question, ...] = ()
    options: tuple[Option, ...] = ()
    default: str | None = None
    expires_at: str | None = None


class Answer(_Wire):
    """The answer to one pending request.

    For permissions, plans and links `option` (or its older name `decision`) is an option's id; for
    questions `answers` maps a question's id to a label, a list of labels or free text, for forms a
    member to its value; option deny declines both. `message` is the reason of a denial, or free text
    for a single question. `updated_input` replaces the tool's input where the agent can.
    """

    request_id: str
    option: str | None = None
    decision: str | None = None
    answers: dict[str, Any] | None = None
    updated_input: dict[str, Any] | None = None
    message: str | None = None

    @property
    def choice(self) -> str | None:
        """The option's id, by either of its names."""
        return self.option or self.decision


PERMISSION_OPTIONS: Final = (
    Option(id=ALLOW, label="Allow once"),
    Option(id=ALLOW_SESSION, label="Allow for this session"),
    Option(id=DENY, label="Deny"),
    Option(id=ABORT, label="Deny and stop"),
)


class InvalidRequestError(ValueError):
    """The extension's metadata cannot be honoured; the text names the field and what it takes."""


_TAKES: Final = {
    NAME_PATTERN: "takes letters, digits, spaces, '.', '_', '-'; at most 64 characters",
    LABEL_KEY_PATTERN: "a key takes letters, digits, '.', '_', '/', '-'; at most 64 characters",
    LABEL_VALUE_PATTERN: "a value takes no control characters",
}


def describe(error: ValidationError) -> str:
    """One line of a pydantic error: the first field and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    loc = first["loc"][:-2] if first["loc"][-1:] == ("[key]",) else first["loc"]
    where = ".".join(str(part) for part in loc) or "value"
    if first["type"] == "extra_forbidden":
        return f"unknown field {where!r}"
    if first["type"] == "string_pattern_mismatch":
        pattern = str(first.get("ctx", {}).get("pattern"))
        return f"{where}: {_TAKES.get(pattern, _TAKES[NAME_PATTERN])}"
    return f"{where}: {first['msg']}"


_NOTHING_ASKED: Final = CodingRequest()


def read_request(metadata: JsonObject) -> CodingRequest:
    """The request in a message's metadata; the predecessor's key serves where ours is absent.

    Raises: InvalidRequestError.
    """
    if not metadata:
        return _NOTHING_ASKED
    raw = metadata.get(URI)
    if raw is None:
        old = as_object(metadata.get(PREDECESSOR_KEY))
        raw = {key: old[key] for key in ("cwd", "run_id", "session_id") if old.get(key)}
    try:
        return CodingRequest.model_validate(raw)
    except ValidationError as exc:
        raise InvalidRequestError(f"coding-run request: {describe(exc)}") from exc


def write_request(request: CodingRequest) -> JsonObject:
    """The metadata that carries a request, for our agents and for the predecessor's."""
    old = {
        key: value
        for key in ("cwd", "run_id", "session_id")
        if (value := getattr(request, key)) is not None
    }
    return {URI: request.to_json(), PREDECESSOR_KEY: old}


def json_schema() -> JsonObject:
    """The JSON Schema of the extension's four shapes, as the card's `params` serve it."""
    return {
        "request": CodingRequest.model_json_schema(),
        "pending": PendingRequest.model_json_schema(),
        "answer": Answer.model_json_schema(),
        "event": {
            "type": "object",
            "properties": {
                "seq": {"type": "integer", "minimum": 1},
                "ts": {"type": "string", "format": "date-time"},
                "type": {"type": "string"},
                "data": {"type": "object"},
            },
            "required": ["seq", "ts", "type", "data"],
        },
    }
