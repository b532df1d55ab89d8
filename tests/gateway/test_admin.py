"""The registry over HTTP, at a gateway as a process."""

import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.core import json
from gateway.core.json import JsonObject
from tests.gateway.cable import cable
from tests.gateway.foreigners import Answer, Executor, card_of, liar, sdk_agent, stream_of
from tests.gateway.process import Gateway, started
from tests.gateway.test_process import message

SECRET = "very-secret-token-of-an-agent"
SKILL = {"id": "paint", "name": "Paint", "description": "Paints it.", "tags": ["art"]}


@asynccontextmanager
async def gateway_at(environment: dict[str, str]) -> AsyncGenerator[Gateway]:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    async with started(environment) as gateway:
        yield gateway
        assert await gateway.stop() == 0


def described(base_url: str) -> dict[str, Any]:
    capabilities = {"streaming": True, "extensions": [{"uri": "https://x.example/ext/1"}]}
    return card_of(base_url, description="Paints.", skills=[SKILL], capabilities=capabilities)


async def added(gateway: Gateway, **asked: Any) -> JsonObject:
    answer = await gateway.http.post("/registry", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_an_agent_is_added_listed_changed_checked_and_removed(
    environment: dict[str, str],
) -> None:
    nothing: Answer = stream_of()
    async with gateway_at(environment) as gateway, liar(nothing, described) as agent:
        made = await added(
            gateway,
            name="painter",
            agent_url=agent.base_url,
            auth_token=SECRET,
            labels={"team": "art"},
            pool="artists",
            history_length=5,
            # Refused as "no valid array" once the card's URL was looked for before the fields.
            accepted_output_modes=["text/plain"],
        )
        assert made["card"] == {
            "name": "Liar",
            "description": "Paints.",
            "version": "",
            "protocol": "1.0",
            "binding": "JSONRPC",
            "streaming": True,
            "coding_run": False,
            "skills": [{"id": "paint", "name": "Paint", "description": "Paints it."}],
            "extensions": ["https://x.example/ext/1"],
        }
        health = made["health"]
        assert (health["state"], health["error"], health["retry_at"]) == ("healthy", None, None)
        assert health["latency_ms"] > 0
        assert (made["kind"], made["enabled"], made["active_runs"]) == ("registered", True, 0)
        assert (made["credentials"], made["labels"]) == ("stored", {"team": "art"})
        listed = (await gateway.http.get("/registry")).json()
        assert [one["name"] for one in listed["agents"]] == ["painter", "scripted"]
        assert listed["agents"][1]["kind"] == "local"
        assert listed["problems"] == []
        asked: JsonObject = {"enabled": False, "labels": {}, "pool": None}
        changed = await gateway.http.patch("/registry/painter", json=asked)
        assert changed.json()["health"]["state"] == "disabled"
        assert (changed.json()["pool"], changed.json()["labels"]) == (None, {})
        checked = await gateway.http.post("/registry/painter/check")
        assert checked.json()["card"]["name"] == "Liar"
        assert SECRET not in listed["agents"].__repr__() + changed.text + checked.text
        stored = gateway.home.registry
        assert stat.S_IMODE(stored.stat().st_mode) == 0o600
        assert (await gateway.http.delete("/registry/painter")).status_code == 204
        assert (await gateway.http.get("/registry/painter")).status_code == 404
        assert SECRET not in stored.read_text("utf-8")


async def test_credentials_by_reference_are_shown_as_they_were_given_and_read_when_used(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with gateway_at(environment) as gateway, liar(stream_of(), described) as agent:
        file = tmp_path / "token"
        file.write_text(SECRET, encoding="ascii")
        made = await added(
            gateway, name="painter", agent_url=agent.base_url, auth_token=f"file:{file}"
        )
        assert made["credentials"] == f"file:{file}"
        assert SECRET not in gateway.home.registry.read_text("utf-8")
        file.unlink()
        checked = (await gateway.http.post("/registry/painter/check")).json()
        assert checked["health"]["state"] == "failing"
        assert "cannot be read" in checked["health"]["error"]
        header = await gateway.http.patch(
            "/registry/painter", json={"auth_token": None, "headers": {"X-Key": SECRET}}
        )
        assert header.json()["credentials"] == "stored"
        assert SECRET not in header.text


async def test_an_agent_that_cannot_be_used_is_not_stored_unless_forced(
    environment: dict[str, str],
) -> None:
    async with gateway_at(environment) as gateway, cable(1) as link:
        link.unplug()
        refused = await gateway.http.post("/registry", json={"name": "a", "agent_url": link.url})
        assert refused.status_code == 424
        assert refused.json()["error"]["code"] == "agent_unreachable"
        assert (await gateway.http.get("/registry/a")).status_code == 404
        made = await added(gateway, name="a", agent_url=link.url, force=True)
        assert (made["card"], made["health"]["state"]) == (None, "failing")
        async with liar(stream_of(), lambda _url: {"name": "no interface"}) as bad:
            refused = await gateway.http.post("/registry", json={"agent_url": bad.base_url})
            assert refused.status_code == 424
            assert refused.json()["error"]["code"] == "agent_card"


async def test_an_agent_is_used_by_its_name_and_not_removed_under_a_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with gateway_at(environment) as gateway, sdk_agent(Executor()) as agent:
        await added(gateway, name="painter", agent_url=agent.base_url)
        sent = await gateway.rpc("painter", "SendMessage", message("ask", tmp_path))
        assert sent["result"]["task"]["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        assert (await gateway.http.get("/registry/painter")).json()["active_runs"] == 1
        refused = await gateway.http.delete("/registry/painter")
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "agent_in_use"
        assert (await gateway.http.delete("/registry/painter?force=true")).status_code == 204


async def test_a_disabled_agent_takes_no_new_run_and_says_what_there_is(
    environment: dict[str, str], tmp_path: Path
) -> None:
    async with gateway_at(environment) as gateway, sdk_agent(Executor()) as agent:
        await added(gateway, name="painter", agent_url=agent.base_url)
        await gateway.http.patch("/registry/painter", json={"enabled": False})
        sent = await gateway.rpc("painter", "SendMessage", message("go", tmp_path))
        text = json.encode(sent)
        assert "agent 'painter' is disabled" in text
        assert "scripted" in text
        local = await gateway.http.patch("/registry/scripted", json={"enabled": False})
        assert local.json()["health"]["state"] == "disabled"


async def test_what_was_said_of_agents_is_there_after_a_restart(
    environment: dict[str, str],
) -> None:
    async with liar(stream_of(), described) as agent:
        async with gateway_at(environment) as gateway:
            await added(gateway, name="painter", agent_url=agent.base_url, labels={"a": "b"})
            await gateway.http.patch("/registry/scripted", json={"enabled": False})
        async with gateway_at(environment) as gateway:
            painter = (await gateway.http.get("/registry/painter")).json()
            assert (painter["labels"], painter["kind"]) == ({"a": "b"}, "registered")
            assert painter["health"]["state"] == "unknown"
            assert not (await gateway.http.get("/registry/scripted")).json()["enabled"]


URL = "http://127.0.0.1:9"
WRONG: list[tuple[str, JsonObject, str]] = [
    ("no URL", {"name": "a"}, "agent_url"),
    ("a number as URL", {"agent_url": 7}, "agent_url"),
    ("a list as URL", {"agent_url": [URL]}, "agent_url"),
    ("another scheme", {"agent_url": "file:///etc/passwd"}, "agent_url"),
    ("a port that is none", {"agent_url": "http://127.0.0.1:0"}, "agent_url"),
    ("an endless URL", {"agent_url": URL + "/" + "a" * 3000}, "agent_url"),
    ("a metadata address", {"agent_url": "http://169.254.169.254/latest"}, "agent_url"),
    ("a name with a slash", {"agent_url": URL, "name": "a/b"}, "name"),
    ("an empty name", {"agent_url": URL, "name": ""}, "name"),
    ("a long name", {"agent_url": URL, "name": "a" * 65}, "name"),
    ("a number as name", {"agent_url": URL, "name": 1}, "name"),
    ("a card elsewhere", {"agent_url": URL, "agent_card_path": "http://evil/c"}, "agent_card_path"),
    ("a number as path", {"agent_url": URL, "agent_card_path": 1}, "agent_card_path"),
    ("headers as a list", {"agent_url": URL, "headers": ["X: y"]}, "headers"),
    ("a header of two lines", {"agent_url": URL, "headers": {"X": "a\r\nB: c"}}, "headers"),
    ("a number as header", {"agent_url": URL, "headers": {"X": 1}}, "headers.X"),
    ("many headers", {"agent_url": URL, "headers": {f"X{n}": "" for n in range(99)}}, "headers"),
    ("an empty token", {"agent_url": URL, "auth_token": ""}, "auth_token"),
    ("a number as token", {"agent_url": URL, "auth_token": 12}, "auth_token"),
    ("a long token", {"agent_url": URL, "auth_token": "x" * 20000}, "auth_token"),
    ("a token that is not set", {"agent_url": URL, "auth_token": "env:NO_SUCH_ONE"}, "auth_token"),
    (
        "two ways to log in",
        {"agent_url": URL, "auth_token": "x", "headers": {"Authorization": "Bearer y"}},
        "auth_token",
    ),
    ("labels as a list", {"agent_url": URL, "labels": ["a"]}, "labels"),
    ("a label that is a number", {"agent_url": URL, "labels": {"a": 1}}, "labels.a"),
    ("many labels", {"agent_url": URL, "labels": {f"l{n}": "" for n in range(99)}}, "labels"),
    ("a pool with a slash", {"agent_url": URL, "pool": "a/b"}, "pool"),
    ("a pool that is an agent", {"agent_url": URL, "pool": "scripted"}, "pool"),
    ("a pool of its own name", {"agent_url": URL, "name": "a", "pool": "a"}, "pool"),
    ("a negative history", {"agent_url": URL, "history_length": -1}, "history_length"),
    ("history in words", {"agent_url": URL, "history_length": "1"}, "history_length"),
    ("an endless history", {"agent_url": URL, "history_length": 2**40}, "history_length"),
    ("modes as a text", {"agent_url": URL, "accepted_output_modes": "text"}, "accepted_output"),
    ("a mode that is a number", {"agent_url": URL, "accepted_output_modes": [1]}, "accepted_outpu"),
    ("enabled in words", {"agent_url": URL, "enabled": "yes"}, "enabled"),
    ("force as a number", {"agent_url": URL, "force": 1}, "force"),
    ("a key that nobody knows", {"agent_url": URL, "colour": "red"}, "colour"),
]
NO_CHANGE: list[tuple[str, JsonObject, str]] = [
    ("enabled as null", {"enabled": None}, "enabled"),
    ("enabled as text", {"enabled": "true"}, "enabled"),
    ("labels as null", {"labels": None}, "labels"),
    ("a label with a control character", {"labels": {"a": "\u0007"}}, "labels.a"),
    ("a pool that is a number", {"pool": 1}, "pool"),
    ("another URL", {"agent_url": URL}, "agent_url"),
    ("the Host header", {"headers": {"Host": "x"}}, "headers"),
    ("a token of a local agent", {"auth_token": "x"}, "auth_token"),
]


async def test_bad_input_is_refused_with_the_field_and_stores_nothing(
    environment: dict[str, str],
) -> None:
    async with gateway_at(environment) as gateway:
        for what, body, field in WRONG:
            refused = await gateway.http.post("/registry", json=body)
            check_refusal(refused, 400, field, what)
        for what, body, field in NO_CHANGE:
            refused = await gateway.http.patch("/registry/scripted", json=body)
            check_refusal(refused, 400, field, what)
        for text in ("", "[]", "7", "nonsense", '"a"', "null"):
            refused = await gateway.http.post(
                "/registry", content=text, headers={"Content-Type": "application/json"}
            )
            assert refused.status_code == 400, text
        assert [one["name"] for one in (await gateway.http.get("/registry")).json()["agents"]] == [
            "scripted"
        ]


def check_refusal(refused: httpx.Response, status: int, field: str, what: str) -> None:
    assert refused.status_code == status, (what, refused.text)
    error = refused.json()["error"]
    assert error["code"] == "invalid_input", what
    assert error["field"].startswith(field), (what, error)
    assert "Traceback" not in refused.text
    assert "xxxxxxxx" not in refused.text


async def test_names_are_taken_once_and_what_is_not_there_is_said(
    environment: dict[str, str],
) -> None:
    async with gateway_at(environment) as gateway, liar(stream_of(), described) as agent:
        await added(gateway, name="a", agent_url=agent.base_url, pool="both")
        for name in ("a", "scripted", "both", "remote_a2a"):
            body = {"name": name, "agent_url": agent.base_url}
            refused = await gateway.http.post("/registry", json=body)
            assert refused.status_code == 409, name
            assert refused.json()["error"]["code"] == "name_taken"
        for method, path, status in (
            ("GET", "/registry/nobody", 404),
            ("PATCH", "/registry/nobody", 404),
            ("DELETE", "/registry/nobody", 404),
            ("POST", "/registry/nobody/check", 404),
            ("GET", "/registry/a/b/c", 404),
            ("PUT", "/registry/a", 405),
            ("DELETE", "/registry", 405),
            ("GET", "/registry/a/check", 405),
            ("DELETE", "/registry/scripted", 409),
        ):
            answer = await gateway.http.request(method, path, json={})
            assert answer.status_code == status, (method, path, answer.text)
            assert answer.json()["error"]["message"]
        unknown = (await gateway.http.get("/registry/nobody")).json()["error"]
        assert unknown["code"] == "unknown_agent"
        assert "a, both, scripted" in unknown["message"]


async def test_the_registry_takes_the_gateways_own_token(environment: dict[str, str]) -> None:
    async with gateway_at(environment) as gateway:
        register = gateway.home.register_token_file.read_text("ascii").strip()
        for token in (None, "w" * 43, register):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with httpx.AsyncClient(base_url=gateway.url, headers=headers) as stranger:
                for method, path in (
                    ("GET", "/registry"),
                    ("POST", "/registry"),
                    ("PATCH", "/registry/scripted"),
                    ("DELETE", "/registry/scripted"),
                ):
                    assert (await stranger.request(method, path, json={})).status_code == 401


@pytest.mark.parametrize("text", ["line = \n\n[a]", "[agents.x]\nagent_url = 7\n"])
async def test_a_wrong_file_of_fixed_agents_is_named_and_costs_no_other_agent(
    environment: dict[str, str], text: str
) -> None:
    async with gateway_at(environment) as gateway:
        gateway.home.agents_file.write_text(text, encoding="utf-8")
        listed = (await gateway.http.get("/registry")).json()
        assert [one["name"] for one in listed["agents"]] == ["scripted"]
        [problem] = listed["problems"]
        assert "agents.toml" in problem
        assert "line" in problem
