"""What the owner of a wrapper lets callers ask for at most. Pure."""

from collections.abc import Sequence
from typing import Final

from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest, EnvPolicy, Sandbox
from wrappers.settings import WrapperSettings

# From the tightest to the widest.
SANDBOXES: Final[tuple[Sandbox, ...]] = (
    "read-only",
    "workspace-write",
    "workspace-write+git",
    "danger-full-access",
)
ENV_POLICIES: Final[tuple[EnvPolicy, ...]] = ("none", "core", "all")


def check_ceilings(
    request: CodingRequest,
    settings: WrapperSettings,
    default_sandbox: Sandbox,
    *,
    asks_beyond_sandbox: bool = False,
) -> None:
    """Refuse what lies above, stated or by default (`default_sandbox` is the agent's own).

    `asks_beyond_sandbox`: what is allowed in the mode `ask` may run outside the agent's sandbox, so
    a ceiling below full access holds in the other modes only. Raises: InvalidInputError, naming
    the field and what is allowed here.
    """
    if request.isolation == "worktree":
        raise InvalidInputError(
            "isolation 'worktree' is not offered here; leave it out", "isolation"
        )
    modes = settings.permission_modes
    if asks_beyond_sandbox and settings.max_sandbox != SANDBOXES[-1]:
        modes = tuple(mode for mode in modes if mode != "ask")
    _check("permission_mode", request.permission_mode, "auto", modes)
    sandboxes = SANDBOXES[: SANDBOXES.index(settings.max_sandbox) + 1]
    _check("sandbox", request.sandbox, default_sandbox, sandboxes)
    policies = ENV_POLICIES[: ENV_POLICIES.index(settings.max_env_policy) + 1]
    _check("env_policy", request.env_policy, "core", policies)


def _check(field: str, asked: str | None, default: str, allowed: Sequence[str]) -> None:
    if (asked or default) in allowed:
        return
    raise InvalidInputError(
        f"{field} {asked or default!r}{'' if asked else ', the default,'} is not allowed here; "
        f"allowed: {', '.join(allowed)}; ask for one of these, or the agent's owner for more",
        field,
    )
