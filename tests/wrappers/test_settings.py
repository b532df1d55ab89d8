"""Where a wrapper's settings come from, and which are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from wrappers.agent import Making
from wrappers.settings import WrapperSettings


def test_the_environment_sets_what_no_flag_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "A2A_GATEWAY_HOME": "/state",
        "A2A_AGENT_ROOTS": "/work:/home/ada",
        "A2A_AGENT_PERMISSION_MODES": "ask, plan",
        "A2A_AGENT_PORT": "8123",
    }.items():
        monkeypatch.setenv(name, value)
    settings = WrapperSettings(port=0)
    assert settings.home == Path("/state")
    assert settings.roots == (Path("/work"), Path("/home/ada"))
    assert settings.permission_modes == ("ask", "plan")
    assert settings.port == 0


@pytest.mark.parametrize("name", ["", "..", "a/b", "-x", "x" * 65])
def test_a_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="name"):
        WrapperSettings(name=name)


def test_home_is_the_platforms_state_folder_unless_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A2A_GATEWAY_HOME", raising=False)
    assert WrapperSettings().home.name == "a2a-gateway"
    assert WrapperSettings(home=Path("/elsewhere")).home == Path("/elsewhere")


def test_the_users_home_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    # An alias `home` beside A2A_GATEWAY_HOME matched HOME, whatever its case.
    monkeypatch.delenv("A2A_GATEWAY_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert WrapperSettings().home != Path("/home/ada")


def test_variables_that_the_owner_names_reach_the_agent_too(tmp_path: Path) -> None:
    settings = WrapperSettings(home=tmp_path, pass_env=("MY_KEY", "NOT_SET", "A2A_AGENT_NAME"))
    source = {"PATH": "/bin", "MY_KEY": "k", "OTHER": "x", "A2A_AGENT_NAME": "ada"}
    making = Making(settings=settings, source=source, mark={"MARK": "m"}, folder=tmp_path)
    assert making.environment() == {"PATH": "/bin", "MY_KEY": "k", "MARK": "m"}
