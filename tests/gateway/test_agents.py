from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.agents.registration import Registration, name_for
from gateway.core import json
from gateway.core.errors import CoreError, InvalidInputError
from gateway.errors import AgentDisabledError, UnknownAgentError
from gateway.home import Home
from tests.gateway.foreigners import liar
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


async def said(gateway: House, name: str, **change: Any) -> None:
    entry = gateway.registry.directory.entry(name)
    gateway.registry.directory.change(entry, entry.standing.model_copy(update=change))


async def test_a_pool_is_named_like_an_agent(gateway: House) -> None:
    name = await resolve(gateway, agent_url=URL)
    await said(gateway, name, pool="coders")
    await said(gateway, "codex", pool="coders")
    assert await resolve(gateway, agent="coders") == "coders"
    assert gateway.registry.members("coders") == (name, "codex")


@pytest.mark.parametrize("backend", ["remote_a2a", "codex"])
async def test_a_disabled_agent_is_refused_with_what_there_is(gateway: House, backend: str) -> None:
    await said(gateway, "codex", enabled=False)
    config = {"agent": "codex"} if backend == "remote_a2a" else {}
    with pytest.raises(AgentDisabledError, match=r"is disabled; .*: claude_code$"):
        await resolve(gateway, backend, **config)


async def test_what_its_owner_said_of_an_agent_outlasts_a_run_that_names_its_url(
    gateway: House,
) -> None:
    name = await resolve(gateway, agent_url=URL)
    await said(gateway, name, labels={"team": "art"}, pool="artists")
    assert await resolve(gateway, agent_url=URL, auth_token="env:TOK") == name
    stored = gateway.registry.registration(name)
    assert stored is not None
    assert (stored.labels, stored.pool) == ({"team": "art"}, "artists")
    await said(gateway, name, enabled=False)
    with pytest.raises(AgentDisabledError):
        await resolve(gateway, agent_url=URL)


async def test_the_url_of_a_named_agent_means_it_unless_other_credentials_come_along(
    gateway: House,
) -> None:
    named = Registration(agent_url=URL, auth_token="its-own", kind="registered")
    await gateway.registry.add("painter", named, force=True)
    assert await resolve(gateway, agent_url=URL) == "painter"
    other = await resolve(gateway, agent_url=URL, auth_token="somebody-elses")
    assert other != "painter"
    stored = gateway.registry.registration("painter")
    assert stored is not None
    assert stored.auth_token == "its-own"


async def test_headers_are_given_by_reference_too(gateway: House, tmp_path: Path) -> None:
    heard: list[str | None] = []

    async def rpc(request: Request) -> Response:
        heard.append(key := request.headers.get("x-who"))
        error = {"code": -32603, "message": f"your key is {key}"}
        number = json.decode_object(await request.body())["id"]
        return JSONResponse({"jsonrpc": "2.0", "id": number, "error": error})

    (tmp_path / "key").write_text("from-a-file\n", encoding="ascii")
    async with liar(rpc) as agent:
        reference = f"file:{tmp_path}/key"
        name = await resolve(gateway, agent_url=agent.base_url, headers={"X-Who": reference})
        run = await gateway.ended(await gateway.spawn(name))
        assert run.error is not None
        assert "your key is" in run.error.message
        assert "from-a-file" not in run.error.message, "whatever the header is called"
    assert heard == ["from-a-file"]
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
