"""The settings of one wrapper process, read once at its start; the only reader of the environment.

Knows no agent: what the values mean is said where they are used.
"""

import os
import pwd
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from platformdirs import user_state_dir
from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from gateway.core.addresses import Network, is_loopback_host
from gateway.core.extension import EnvPolicy, PermissionMode, Sandbox
from gateway.core.keep import KeepBytes, KeepFinished
from gateway.core.life.liveness import STALL_AFTER_S


def default_home() -> Path:
    return Path(user_state_dir("a2a-gateway"))


class WrapperSettings(BaseSettings):
    """Environment variables `A2A_AGENT_<NAME>`; flags of start-a2a-agent go before them."""

    model_config = SettingsConfigDict(
        env_prefix="A2A_AGENT_", frozen=True, extra="ignore", populate_by_name=True
    )

    home: Path = Field(
        default_factory=default_home,
        validation_alias="A2A_GATEWAY_HOME",
        description="Folder of all state, shared with the gateway (A2A_GATEWAY_HOME).",
    )
    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="Name of this wrapper, its agent's by default; each name has its own state.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=0, ge=0, le=65535, description="Port to listen on; 0 takes any.")
    public_url: str | None = Field(
        default=None,
        description="The URL under which others reach this wrapper, where that is not its address "
        "(a proxy, a container's port); it stands in the card and the ready line.",
    )
    roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Folders that runs may work in, separated like PATH; none means any. With a "
        "single one, runs that name no folder work there.",
    )
    token_file: Path | None = Field(
        default=None, description="File of the bearer token; made in the wrapper's state if unset."
    )
    register_at: str | None = Field(
        default=None,
        description="URL of a gateway to register at, https or loopback: runs reach this wrapper "
        "there by its name.",
    )
    register_token_file: Path | None = Field(
        default=None,
        description="File of that gateway's register token (`a2a-gateway register-token`); the "
        "one in the home if unset.",
    )
    idle_exit_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="End after so many seconds without a request and without an active run.",
    )
    launched: bool = Field(
        default=False,
        description="Started by a gateway of this home, which ends it when it ends itself.",
    )
    max_runs: int | None = Field(
        default=None, ge=1, description="Runs at once; unset: by cores and memory."
    )
    allow_root: bool = Field(
        default=False,
        description="Let Claude Code skip permissions as root; for containers only.",
    )
    run_as: str | None = Field(
        default=None, description="User to become before anything is served (needs root)."
    )
    codex_bin: Path | None = Field(default=None, description="The codex program; else PATH.")
    claude_bin: Path | None = Field(
        default=None, description="The claude program; else the one inside claude-agent-sdk."
    )
    spare: bool | None = Field(
        default=None,
        description="Keep one connected Claude Code (about 150 MB) for the next new context, whose "
        "first turn then starts three times as fast; unset: with 8 GB of memory or more.",
    )
    durability: Literal["normal", "full"] = Field(
        default="normal",
        description="`normal` survives a kill of the wrapper at any moment; `full` a loss of power "
        "too.",
    )
    stall_after_s: Annotated[float, Field(gt=0)] = Field(
        default=STALL_AFTER_S,
        description="Seconds of silence after which a running run is shown as stalled.",
    )
    answer_within_s: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Seconds that a request of the agent waits for an answer at most; then the "
        "default that it declares is taken. Unset: as long as the run's own limit says, or for ever.",
    )
    keep_finished: KeepFinished = Field(
        default=timedelta(days=7),
        description="How long a run is kept after its end: P7D (ISO 8601), seconds, or `off`: for "
        "ever.",
    )
    keep_bytes: KeepBytes = Field(
        default=None,
        description="What the database may take (2GB), or `off`. Beyond it the runs that ended "
        "longest ago lose first their events, then their records.",
    )
    no_auth: bool = Field(
        default=False, description="Ask for no token; on loopback only, for conformance suites."
    )
    insecure_bind: bool = Field(
        default=False,
        description="Serve an address that is not loopback, in clear text; takes roots and a token.",
    )
    max_sandbox: Sandbox = Field(
        default="danger-full-access", description="The widest sandbox a caller may ask for."
    )
    permission_modes: Annotated[tuple[PermissionMode, ...], NoDecode] = Field(
        default=("auto", "ask", "plan"),
        description="The permission modes a caller may ask for, separated by commas.",
    )
    pass_env: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Further variables that the agent's program gets, separated by commas; a model "
        "provider's key for one.",
    )
    push_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Private networks that webhooks may lie in besides public addresses (and this "
        "machine, when it serves only that), separated by commas.",
    )
    max_env_policy: EnvPolicy = Field(
        default="all", description="The most of this environment a caller may ask for."
    )

    @field_validator("public_url", "register_at")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        """Scheme, host and a path; no slash behind."""
        return None if value is None else _checked_url(value)

    @field_validator("register_at")
    @classmethod
    def _private_way(cls, value: str | None) -> str | None:
        """A token is handed over there."""
        if value and not value.startswith("https://") and not is_loopback_url(value):
            raise ValueError("must be an https URL, or http on loopback: a token goes there")
        return value

    @field_validator("roots", mode="before")
    @classmethod
    def _split_paths(cls, value: Any) -> Any:
        return (
            [item for item in value.split(os.pathsep) if item] if isinstance(value, str) else value
        )

    require: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="URIs of A2A extensions that every caller must activate, separated by commas.",
    )

    @field_validator("permission_modes", "pass_env", "push_networks", "require", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        return (
            [item.strip() for item in value.split(",") if item.strip()]
            if isinstance(value, str)
            else value
        )


def is_loopback_url(url: str) -> bool:
    return is_loopback_host(urlsplit(url).hostname or "")


def _checked_url(value: str) -> str:
    """Raises: ValueError."""
    try:
        url = urlsplit(value)
        bad = url.scheme not in ("http", "https") or not url.hostname or url.port == 0
    except ValueError as exc:
        raise ValueError(f"is not a URL ({exc})") from exc
    if bad or any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("must be an http or https URL with a host, such as https://agents.example")
    if url.username is not None or url.query or url.fragment:
        raise ValueError("must hold no credentials, query or fragment")
    return value.rstrip("/")


def process_environment() -> dict[str, str]:
    """The environment of this process, for `environment.child_environment` to choose from."""
    return dict(os.environ)


class RunAsError(Exception):
    """The user to become cannot run a wrapper; the text says why and what to do."""


def become(user: str) -> None:
    """Become `user` for good, with that user's home; one without a home lives in A2A_GATEWAY_HOME.

    Raises: KeyError, PermissionError, RunAsError.
    """
    entry = pwd.getpwnam(user)
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    # What is imported or started from now on, that user reads.
    if not (os.access(sys.executable, os.R_OK | os.X_OK) and os.access(__file__, os.R_OK)):
        raise RunAsError(
            f"user {user!r} may not read {sys.prefix}, where this program is installed; install it "
            "for all users, outside of root's home"
        )
    homes = (entry.pw_dir, os.environ.get("A2A_GATEWAY_HOME", ""))
    home = next((it for it in homes if os.access(it, os.R_OK | os.W_OK | os.X_OK)), None)
    if home is None:
        raise RunAsError(
            f"user {user!r} has no home to work in ({entry.pw_dir}); make one, or set "
            "A2A_GATEWAY_HOME to a folder that belongs to that user"
        )
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]  # folders of the user that we were
    os.environ.update(HOME=home, USER=entry.pw_name, LOGNAME=entry.pw_name)
