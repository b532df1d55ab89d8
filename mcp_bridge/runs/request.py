"""What spawn_run is asked: the task, its folder, its session, its settings.

Knows no run; descriptions are as short as they can be.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, WithJsonSchema, model_validator

from gateway.core.extension import Effort, EnvPolicy, Limits, PermissionMode, Role, Sandbox
from mcp_bridge.arguments import Backend, Labels, RequestKey, Said, Text
from mcp_bridge.schemas import AnyObject, Arguments, FromText

# The bounds are the extension's; here they would only take room.
_LIMITS: Final = WithJsonSchema(
    {
        "type": "object",
        "properties": {
            "deadline_s": {"type": "number"},
            "answer_s": {"type": "number"},
            "max_turns": {"type": "integer"},
            "max_cost_usd": {"type": "number"},
        },
    }
)


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
    limits: Annotated[Limits, _LIMITS] | None = None
    isolation: Literal["none", "worktree"] | None = None
    env_policy: EnvPolicy | None = None


class SpawnRun(Arguments):
    backend: Backend
    role: Role
    cwd: Annotated[Text, Field(description="Absolute path of the folder to work in.")]
    session_mode: Annotated[
        Literal["new", "resume"], Field(description="resume: go on in session_id's conversation.")
    ]
    session_id: Text | None = None
    prompt: Annotated[str, Field(description="The task.")] | None = None
    input_message: Said | None = None
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
            Field(description="Job description: a shipped name or a .md/.txt file."),
        ]
        | None
    ) = None
    output_schema: (
        Annotated[AnyObject, Field(description="JSON Schema of the final answer.")] | None
    ) = None
    metadata: Annotated[AnyObject, Field(description="Yours; get_run returns it.")] | None = None
    labels: Annotated[Labels, Field(description="Texts to find it by in list_runs.")] | None = None
    backend_config: Annotated[BackendConfig, FromText] | None = None
    request_key: RequestKey | None = None

    @model_validator(mode="after")
    def _cross(self) -> "SpawnRun":
        if self.session_mode == "resume" and self.session_id is None:
            raise ValueError("session_id is required when session_mode is resume")
        if not (self.prompt or "").strip() and self.input_message is None:
            raise ValueError("Either prompt or input_message is required")
        return self
