from pathlib import Path
from typing import Any

import pytest

from gateway.agents.registration import Registration, name_for
from gateway.core import json
from gateway.core.errors import CoreError, InvalidInputError
from gateway.errors import UnknownAgentError
from gateway.home import Home
from tests.gateway.house import House, house

URL = "http://127.0.0.1:53552"


@pytest.fixture
async def gateway(tmp_path: Path):
    async with house(tmp_path, local=("codex", "claude_code"), variables={"TOK": "v"}) as made:
        yield made


async def resolve(gateway: House, backend: str = "remote_a2a", **config: Any) -> str:
    return await gateway.registry.resolve(backend, config, "/work")


async def test_a_local_backend_is_its_agent(gateway: House) -> None:
    assert await resolve(gateway, "codex", model="m", sandbox="read-only") == "codex"
    assert await resolve(gateway, "claude_code") == "claude_code"


async def test_a_url_gets_a_name_of_its_host_and_port_and_keeps_it(
    gateway: House, tmp_path: Path
) -> None:
    name = await resolve(gateway, agent_url=URL)
    assert name == "127.0.0.1-53552"
    assert await resolve(gateway, agent_url=URL + "/") == name
    assert await resolve(gateway, agent=name) == name
    assert await resolve(gateway, agent_url="http://127.0.0.1:53553") != name
    card = await resolve(gateway, agent_url=URL, agent_card_path="card.json")
    assert card.startswith(name)
    assert card != name
    assert name in gateway.registry.names()


async def test_registered_agents_are_there_after_a_restart(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway:
        name = await resolve(gateway, agent_url=URL, auth_token="literal-secret")
    async with house(tmp_path) as gateway:
        assert await resolve(gateway, agent=name) == name
        stored = gateway.registry.registration(name)
        assert stored is not None
        assert stored.auth_token == "literal-secret"
    assert Home(tmp_path).registry.stat().st_mode & 0o777 == 0o600


async def test_a_spawn_without_credentials_keeps_those_given_before(gateway: House) -> None:
    name = await resolve(gateway, agent_url=URL, auth_token="env:TOK")
    assert await resolve(gateway, agent_url=URL) == name
    stored = gateway.registry.registration(name)
    assert stored is not None
    assert stored.auth_token == "env:TOK"


async def test_a_reference_is_stored_as_a_reference(gateway: House, tmp_path: Path) -> None:
    (tmp_path / "tok").write_text("from-a-file\n", encoding="ascii")
    await resolve(gateway, agent_url=URL, auth_token=f"file:{tmp_path}/tok")
    assert b"from-a-file" not in gateway.home.registry.read_bytes()


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "an unknown key": ("remote_a2a", {"agent_url": URL, "colour": 1}, "unknown key 'colour'"),
    "nothing": ("remote_a2a", {}, "agent_url"),
    "both": ("remote_a2a", {"agent_url": URL, "agent": "x"}, "not both"),
    "an unknown agent": ("remote_a2a", {"agent": "x"}, "no agent 'x'"),
    "an unknown backend": ("gemini", {}, "unknown backend 'gemini'"),
    "a local backend with a URL": ("codex", {"agent_url": URL}, "agent_url"),
    "no URL": ("remote_a2a", {"agent_url": "codex"}, "http or https"),
    "another scheme": ("remote_a2a", {"agent_url": "file:///etc/passwd"}, "http or https"),
    "credentials in the URL": ("remote_a2a", {"agent_url": "http://u:p@h"}, "no credentials"),
    "a metadata service": ("remote_a2a", {"agent_url": "http://169.254.169.254"}, "link-local"),
    "one behind IPv6": ("remote_a2a", {"agent_url": "http://[::ffff:169.254.1.1]"}, "link-local"),
    "a card elsewhere": (
        "remote_a2a",
        {"agent_url": URL, "agent_card_path": "http://evil/card"},
        "agent's own host",
    ),
    "a header with a line": (
        "remote_a2a",
        {"agent_url": URL, "headers": {"X": "a\r\nHost: evil"}},
        "no header",
    ),
    "the Host header": ("remote_a2a", {"agent_url": URL, "headers": {"host": "x"}}, "not yours"),
    "a missing variable": (
        "remote_a2a",
        {"agent_url": URL, "auth_token": "env:NO_SUCH"},
        "'NO_SUCH' is not set",
    ),
    "a missing file": ("remote_a2a", {"agent_url": URL, "auth_token": "file:/no/such"}, "read"),
    "two ways to log in": (
        "remote_a2a",
        {"agent_url": URL, "auth_token": "x", "headers": {"authorization": "Bearer y"}},
        "not both",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
async def test_what_cannot_be_an_agent_is_refused_in_one_line(gateway: House, case: str) -> None:
    backend, config, said = REFUSED[case]
    with pytest.raises(CoreError) as refused:
        await resolve(gateway, backend, **config)
    assert isinstance(refused.value, InvalidInputError | UnknownAgentError)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert gateway.registry.names() == ["claude_code", "codex"]


def test_names_are_fit_for_paths_and_never_mean_two_agents() -> None:
    def named(url: str, *taken: str) -> str:
        return name_for(Registration(agent_url=url), taken)

    assert named("https://agents.example.com") == "agents.example.com"
    assert named("https://agents.example.com/a/b") == "agents.example.com-a-b"
    assert named("http://[::1]:8000") == "1-8000"
    assert named("http://codex", "codex").startswith("codex-")


async def test_an_unreadable_registry_entry_costs_only_itself(tmp_path: Path) -> None:
    home = Home(tmp_path)
    stored = {"good": {"agent_url": URL}, "bad": {"agent_url": 7}}
    home.registry.write_text(json.encode(stored), encoding="utf-8")
    home.registry.chmod(0o600)
    async with house(tmp_path) as gateway:
        assert gateway.registry.names() == ["good"]
