"""What a wrapper's owner lets callers ask for, and the words of a refusal."""

import pytest

from gateway.core.errors import InvalidInputError
from gateway.core.extension import CodingRequest
from wrappers.serving.ceilings import check_ceilings
from wrappers.settings import WrapperSettings

STRICT = WrapperSettings(
    max_sandbox="workspace-write", permission_modes=("ask", "plan"), max_env_policy="core"
)


@pytest.mark.parametrize(
    ("request_", "field", "allowed"),
    [
        (CodingRequest(), "permission_mode", "ask, plan"),  # auto is what a caller gets by default
        (CodingRequest(permission_mode="auto"), "permission_mode", "ask, plan"),
        (
            CodingRequest(permission_mode="ask", sandbox="danger-full-access"),
            "sandbox",
            "read-only, workspace-write",
        ),
        (
            CodingRequest(permission_mode="ask", sandbox="workspace-write+git"),
            "sandbox",
            "read-only, workspace-write",
        ),
        (CodingRequest(permission_mode="plan", env_policy="all"), "env_policy", "none, core"),
        (CodingRequest(permission_mode="ask", isolation="worktree"), "isolation", "leave it out"),
    ],
)
def test_what_lies_above_a_ceiling_is_refused_by_its_field(
    request_: CodingRequest, field: str, allowed: str
) -> None:
    with pytest.raises(InvalidInputError, match=allowed) as caught:
        check_ceilings(request_, STRICT, "workspace-write")
    assert caught.value.field == field


@pytest.mark.parametrize(
    "request_",
    [
        CodingRequest(permission_mode="ask", sandbox="workspace-write", env_policy="core"),
        CodingRequest(permission_mode="plan", sandbox="read-only", env_policy="none"),
    ],
)
def test_what_lies_below_is_taken(request_: CodingRequest) -> None:
    check_ceilings(request_, STRICT, "workspace-write")


def test_without_ceilings_everything_is_taken() -> None:
    widest = CodingRequest(sandbox="danger-full-access", permission_mode="auto", env_policy="all")
    check_ceilings(widest, WrapperSettings(), "workspace-write")


def test_an_agent_without_a_sandbox_stays_below_no_ceiling_for_sandboxes() -> None:
    silent = CodingRequest(permission_mode="ask")
    with pytest.raises(InvalidInputError, match="'danger-full-access', the default, is not"):
        check_ceilings(silent, STRICT, "danger-full-access")


def test_a_ceiling_for_sandboxes_takes_the_mode_whose_permissions_leave_them() -> None:
    # Codex runs a command again outside its sandbox, once it was allowed and failed inside.
    asking = CodingRequest(permission_mode="ask")
    check_ceilings(asking, WrapperSettings(), "workspace-write", asks_beyond_sandbox=True)
    with pytest.raises(InvalidInputError, match="allowed: plan;") as caught:
        check_ceilings(asking, STRICT, "workspace-write", asks_beyond_sandbox=True)
    assert caught.value.field == "permission_mode"
