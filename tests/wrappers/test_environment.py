"""Which variables an agent's CLI gets, and which it never does."""

import pytest

from gateway.core.extension import EnvPolicy
from wrappers.processes.environment import child_environment

SOURCE = {
    "PATH": "/bin",
    "HOME": "/home/ada",
    "LC_ALL": "C.UTF-8",
    "ANTHROPIC_API_KEY": "sk-a",
    "https_proxy": "http://proxy",
    "USER": "ada",
    "TERM": "xterm",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "PYTHONPATH": "/elsewhere",
    "A2A_AGENT_TOKEN": "canary",
    "A2A_GATEWAY_HOME": "/state",
}
NEEDED = {"PATH", "HOME", "LC_ALL", "ANTHROPIC_API_KEY", "https_proxy"}


@pytest.mark.parametrize(
    ("policy", "names"),
    [
        ("none", NEEDED),
        ("core", NEEDED | {"USER", "TERM"}),
        ("all", NEEDED | {"USER", "TERM", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"}),
    ],
)
def test_a_policy_lets_its_names_through(policy: EnvPolicy, names: set[str]) -> None:
    assert set(child_environment(SOURCE, policy, {})) == names


def test_what_is_added_goes_before_what_is_inherited() -> None:
    assert child_environment(SOURCE, "none", {"PATH": "/usr/bin"})["PATH"] == "/usr/bin"


def test_our_own_settings_never_reach_an_agent() -> None:
    extra = {"A2A_AGENT_TOKEN": "canary", "IS_SANDBOX": "1"}
    names = set(child_environment(SOURCE, "all", extra))
    assert "IS_SANDBOX" in names
    assert not [name for name in names if name.startswith("A2A_")]
