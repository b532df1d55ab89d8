"""The gateway's settings, read once from the environment (prefix A2A_GATEWAY_).

The only module of the gateway that sees the process environment.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import platformdirs
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.core.addresses import Network
from gateway.core.keep import KeepBytes, KeepFinished
from gateway.core.life.liveness import STALL_AFTER_S

APPLICATION: Final = "a2a-gateway"
ENV_PREFIX: Final = "A2A_GATEWAY_"
_NOT_PASSED: Final = frozenset(
    {f"A2A_AGENT_{name}" for name in ("HOST", "PUBLIC_URL", "REGISTER_AT", "NO_AUTH")}
    | {"NOTIFY_SOCKET"}  # of the service manager's, who watches this process
)


def _default_home() -> Path:
    return Path(platformdirs.user_state_dir(APPLICATION))


class Settings(BaseSettings):
    """How this gateway runs; every field is `A2A_GATEWAY_<NAME>` in the environment."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore")

    home: Path = Field(
        default_factory=_default_home,
        description="Folder of the database, tokens and logs (0700); one gateway a home.",
    )
    database: SecretStr | None = Field(
        default=None,
        description="postgresql+asyncpg://user:password@host/name; unset: gateway.db in the home.",
    )
    durability: Literal["normal", "full"] = Field(
        default="normal",
        description="`normal` survives a kill of the gateway at any moment; `full` a loss of power "
        "too (SQLite), or of a PostgreSQL primary that has a synchronous standby.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on; loopback only.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=0, description="Port to listen on; 0 takes a free one, found through gateway.json."
    )
    local_agents: tuple[str, ...] = Field(
        default=("codex", "claude_code"),
        description="Agents this gateway starts by itself, on first use (JSON list).",
    )
    agents_file: Path | None = Field(
        default=None,
        description="TOML file of fixed agents, read again when it changes; unset: agents.toml in "
        "the home.",
    )
    launch_timeout_s: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="Seconds a local agent may take to report that it is ready."
    )
    agent_idle_exit_s: Annotated[float, Field(gt=0)] | None = Field(
        default=600.0,
        description="Seconds without a request and without an active run after which a local agent "
        "that this gateway started ends; it is started again on demand.",
    )
    link_patience_s: Annotated[float, Field(ge=0)] = Field(
        default=600.0,
        description="Seconds a broken link to an agent is retried before its run ends agent_lost.",
    )
    stall_after_s: Annotated[float, Field(gt=0)] = Field(
        default=STALL_AFTER_S,
        description="Seconds of silence after which a running run is shown as stalled.",
    )
    keep_finished: KeepFinished = Field(
        default=None,
        description="How long a run is kept after its end: P7D (ISO 8601), seconds, or `off`: for "
        "ever.",
    )
    keep_bytes: KeepBytes = Field(
        default=None,
        description="What the database may take (2GB), or `off`. Beyond it the runs that ended "
        "longest ago lose first their events, then their records.",
    )
    run_folders: bool = Field(
        default=True,
        description="Runs are also written to `.nanobot-orchestrator/` in their working folder, "
        "where their agent works on this machine.",
    )
    push_networks: tuple[Network, ...] = Field(
        default=(),
        description="Private networks that webhooks may lie in besides public addresses and this "
        "machine (JSON list of CIDRs).",
    )
    idle_exit_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="End after so many seconds without a request and without an active run.",
    )


def wrapper_environment(settings: Settings) -> dict[str, str]:
    """The environment of a local wrapper: ours (it builds its agent's own from an allow-list),
    with the home it shares with this gateway, and without what is about a wrapper at another
    address than the one that this gateway calls."""
    passed = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED}
    return {**passed, ENV_PREFIX + "HOME": str(settings.home)}


def read_variable(name: str) -> str | None:
    """The value behind an `env:NAME` reference of a caller's credentials."""
    return os.environ.get(name) or None


def overridden(settings: Settings, **values: Any) -> Settings:
    """`settings` with the command line's values over them; None leaves a field as it is."""
    given = {name: value for name, value in values.items() if value is not None}
    return Settings.model_validate({**settings.model_dump(), **given})
