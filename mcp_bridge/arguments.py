"""The arguments of the seven tools: names, limits and defaults of the published contract.

Knows no run. Descriptions say limits and defaults in words and are as short as they can be.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from gateway.core.extension import Answer, Effort, EnvPolicy, Limits, PermissionMode, Role, Sandbox
from gateway.core.status import RunStatus
from mcp_bridge.schemas import AnyObject, Arguments, FromText

POLL_LIMIT: Final = 100
POLL_WAIT_MS: Final = 20_000
# The tightest client default seen is a call limit of 60 s.
POLL_WAIT_MAX_MS: Final = 30_000
RESULT_BYTES: Final = 8192  # clients cut or hide what is longer than about 12 000 characters
RESULT_BYTES_MIN: Final = 1024
RESULT_BYTES_MAX: Final = 262_144
SLICE_BYTES: Final = 65_536
LIST_LIMIT: Final = 20

Backend = Literal["codex", "claude_code", "remote_a2a"]
REMOTE: Final = "remote_a2a"

Text = Annotated[str, Field(min_length=1)]
MaxBytes = Annotated[
    int,
    Field(
        ge=RESULT_BYTES_MIN,
        le=RESULT_BYTES_MAX,
        description="Most bytes of the answer; 1024-262144, default 8192.",
    ),
]
RequestKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        description="An id of your own: the same call repeated under it is done once.",
    ),
]


class Part(Arguments):
    """A part of a message; which members it takes follows from its type."""

    type: Literal["text", "data", "file"]
    text: str | None = None
    data: dict[str, Any] | None = None
    uri: str | None = None
    bytes_base64: str | None = None
    mime_type: str | None = None
    name: str | None = None


class AgentMessage(Arguments):
    """A message in the contract's form."""

    role: Literal["user", "agent", "system"] = "user"
    parts: Annotated[list[Part], Field(min_length=1)]
    metadata: dict[str, Any] | None = None


class RunReference(Arguments):
    """A run by its id, or the current run of an agent by its name."""

    run_id: str | None = None
    agent_name: Annotated[str, Field(description="Instead of run_id.")] | None = None
    cwd: Annotated[str, Field(description="Only with agent_name.")] | None = None

    @field_validator("run_id", "agent_name")
    @classmethod
    def _trimmed(cls, value: str | None) -> str | None:
        return (value or "").strip() or None

    @model_validator(mode="after")
    def _one_of_both(self) -> "RunReference":
        if self.run_id is None and self.agent_name is None:
            raise ValueError("Provide run_id or agent_name; list_runs shows both")
        return self


class BackendConfig(Arguments):
    """Settings of a run, and for remote_a2a the agent."""

    agent_url: Annotated[Text, Field(description="remote_a2a: base URL of the agent.")] | None = (
        None
    )
    agent: Annotated[Text, Field(description="remote_a2a: a registered agent.")] | None = None
    agent_card_path: Text | None = None
    headers: dict[str, str] | None = None
    auth_token: (
        Annotated[Text, Field(description="Bearer token, env:NAME or file:/path.")] | None
    ) = None
    history_length: Annotated[int, Field(ge=0)] | None = None
    blocking: bool | None = None
    accepted_output_modes: list[str] | None = None
    permission_mode: (
        Annotated[
            PermissionMode,
            Field(
                description="auto (default): works inside its sandbox without asking. "
                "ask: every permission becomes input_required. plan: its plan does."
            ),
        ]
        | None
    ) = None
    sandbox: Sandbox | None = None
    model: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    effort: Effort | None = None
    limits: Limits | None = None
    isolation: Literal["none", "worktree"] | None = None
    env_policy: EnvPolicy | None = None


class SpawnRun(Arguments):
    backend: Backend
    role: Role
    cwd: Annotated[Text, Field(description="Absolute path of the folder to work in.")]
    session_mode: Annotated[
        Literal["new", "resume"], Field(description="resume: go on in session_id's conversation.")
    ]
    session_id: Annotated[Text, Field(description="For resume.")] | None = None
    prompt: Annotated[str, Field(description="The task. Or use input_message.")] | None = None
    input_message: (
        Annotated[AgentMessage, FromText, Field(description="The task in parts.")] | None
    ) = None
    nickname: (
        Annotated[
            str,
            Field(min_length=1, max_length=64, description="Its agent_name; default agent1, …"),
        ]
        | None
    ) = None
    profile: (
        Annotated[
            Text,
            Field(
                description="Job description: a shipped name or the path of a .md/.txt file, "
                "at most 256 KB."
            ),
        ]
        | None
    ) = None
    output_schema: (
        Annotated[AnyObject, Field(description="JSON Schema of the final answer.")] | None
    ) = None
    metadata: Annotated[AnyObject, Field(description="Yours; get_run returns it.")] | None = None
    backend_config: Annotated[BackendConfig, FromText] | None = None
    request_key: RequestKey | None = None

    @model_validator(mode="after")
    def _cross(self) -> "SpawnRun":
        if self.session_mode == "resume" and self.session_id is None:
            raise ValueError("session_id is required when session_mode is resume")
        if not (self.prompt or "").strip() and self.input_message is None:
            raise ValueError("Either prompt or input_message is required")
        return self


class GetRun(RunReference):
    max_bytes: MaxBytes = RESULT_BYTES


class PollEvents(RunReference):
    after_seq: Annotated[
        int, Field(ge=0, description="0 at first, then next_after_seq of the last answer.")
    ]
    limit: Annotated[int, Field(ge=1, le=1000, description="Most events; 1-1000, default 100.")] = (
        POLL_LIMIT
    )
    wait_ms: Annotated[
        int,
        Field(ge=0, le=POLL_WAIT_MAX_MS, description="Longest wait; 0-30000, default 20000."),
    ] = POLL_WAIT_MS
    max_bytes: MaxBytes = RESULT_BYTES


class CancelRun(RunReference):
    pass


class ContinueRun(RunReference):
    text: Annotated[str, Field(description="What to say.")] | None = None
    answer: (
        Annotated[
            Answer,
            FromText,
            Field(
                description="Answers one pending request: an option's id, or answers by "
                "question id, or a message."
            ),
        ]
        | None
    ) = None
    input_message: (
        Annotated[
            AgentMessage,
            FromText,
            # Said in full by spawn_run: it would stand in the caller's context twice.
            WithJsonSchema(
                {
                    "type": "object",
                    "description": "As spawn_run's; a data part may be an answer.",
                }
            ),
        ]
        | None
    ) = None
    request_key: RequestKey | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "ContinueRun":
        if not (self.text or "").strip() and self.answer is None and self.input_message is None:
            raise ValueError("Provide text, answer or input_message")
        return self


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


class GetEventArtifact(RunReference):
    seq: Annotated[int, Field(ge=1, description="The event.")]
    field_path: Annotated[
        str, Field(min_length=1, description="A key of its artifact_refs, such as /output.")
    ]
    offset: Annotated[int, Field(ge=0, description="Bytes to skip; default 0.")] = 0
    limit: Annotated[
        int, Field(ge=1, le=262_144, description="Most bytes; 1-262144, default 65536.")
    ] = SLICE_BYTES
