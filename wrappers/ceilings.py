"""What the owner of a wrapper lets callers ask for at most. Pure."""

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


def check_ceilings(request: CodingRequest, settings: WrapperSettings) -> None:
    """Raises: InvalidInputError, naming the field and what is allowed here."""
    if request.isolation == "worktree":
        raise InvalidInputError(
            "isolation 'worktree' is not offered here; leave it out", "isolation"
        )
    modes = settings.permission_modes
    if (request.permission_mode or "auto") not in modes:
        raise InvalidInputError(
            f"permission_mode {request.permission_mode or 'auto'!r} is not allowed here; "
            f"allowed: {', '.join(modes)}",
            "permission_mode",
        )
    sandboxes = SANDBOXES[: SANDBOXES.index(settings.max_sandbox) + 1]
    if request.sandbox is not None and request.sandbox not in sandboxes:
        raise InvalidInputError(
            f"sandbox {request.sandbox!r} is not allowed here; allowed: {', '.join(sandboxes)}",
            "sandbox",
        )
    policies = ENV_POLICIES[: ENV_POLICIES.index(settings.max_env_policy) + 1]
    if request.env_policy is not None and request.env_policy not in policies:
        raise InvalidInputError(
            f"env_policy {request.env_policy!r} is not allowed here; allowed: {', '.join(policies)}",
            "env_policy",
        )
