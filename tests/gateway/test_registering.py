"""A wrapper and a gateway as two processes that know of each other by registration alone."""

import signal
from pathlib import Path

import anyio
import pytest

from gateway.core import json
from gateway.core.face.tokens import read_token
from gateway.core.json import JsonObject
from tests.conftest import built_environment
from tests.gateway.process import START_S, Gateway, command, started
from tests.gateway.test_process import message
from tests.wrappers.launched import Launched, launched, refused


async def registered(wrapper: Launched) -> JsonObject:
    """Its registration, once the gateway took it."""
    with anyio.fail_after(START_S):
        while True:
            status = (await wrapper.client.get(f"{wrapper.ready['base_url']}/status")).json()
            if status["registration"]["registered"]:
                return status["registration"]


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """The environment of another machine: nothing of the gateway's home is there."""
    return built_environment(tmp_path / "elsewhere")


async def register_token(environment: dict[str, str]) -> str:
    code, out, _ = await command(environment, "register-token")
    assert code == 0
    assert read_token(Path(out.strip()))
    return out.strip()


def flags(gateway: Gateway, token_file: str, name: str = "ada") -> tuple[str, ...]:
    return (
        *("scripted", "--name", name, "--register", gateway.url),
        *("--register-token-file", token_file),
    )


async def say(gateway: Gateway, text: str, cwd: Path) -> JsonObject:
    sent = await gateway.rpc("ada", "SendMessage", message(text, cwd))
    return sent["result"]["task"]


async def test_a_registered_wrapper_is_used_by_its_name_and_again_after_its_restart(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    token_file = await register_token(environment)
    async with started(environment) as gateway:
        async with launched(elsewhere, *flags(gateway, token_file)) as wrapper:
            assert (await registered(wrapper))["name"] == "ada"
            task = await say(gateway, "say hello\nask Go on?\nsay done", tmp_path)
            assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
            assert await wrapper.stop(signal.SIGTERM) == 0
        shown = (await gateway.http.get("/registry/ada")).json()
        assert (shown["kind"], shown["health"]["state"]) == ("enrolled", "stopped")
        assert (shown["active_runs"], shown["credentials"]) == (1, "stored")
        # It said goodbye: nothing is sent to a port that may be somebody else's by now.
        gone = await say(gateway, "say lost", tmp_path)
        assert gone["status"]["state"] == "TASK_STATE_FAILED"
        assert "registers again" in json.encode(gone)
        async with launched(elsewhere, *flags(gateway, token_file)) as wrapper:
            await registered(wrapper)
            answer = message("yes", tmp_path)
            answer["message"] |= {"messageId": "m-2", "taskId": task["id"]}
            del answer["message"]["metadata"]
            said = await gateway.rpc("ada", "SendMessage", answer)
            assert said["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED", said
            shown = (await gateway.http.get("/registry/ada")).json()
            assert shown["health"]["state"] == "healthy"
            await wrapper.stop(signal.SIGTERM)
        stored = gateway.home.registry.read_text("utf-8")
        log = (Path(elsewhere["A2A_GATEWAY_HOME"]) / "wrappers/ada/passes.json").read_text("utf-8")
        minted = json.decode_object(stored.encode())["ada"]["auth_token"]
        assert minted not in log  # the wrapper keeps hashes
        assert await gateway.stop() == 0


async def test_a_wrapper_registers_once_its_gateway_is_there(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    token_file = await register_token(environment)
    async with started(environment) as gateway:
        url = gateway.url
        await gateway.stop()
    port = url.rpartition(":")[2]
    async with launched(elsewhere, *flags(gateway, token_file)) as wrapper:
        status = (await wrapper.client.get(f"{wrapper.ready['base_url']}/status")).json()
        assert not status["registration"]["registered"]
        async with started(environment, "--port", port) as again:
            await registered(wrapper)
            assert (await say(again, "say hello", tmp_path))["status"]["state"].endswith(
                "COMPLETED"
            )
            await wrapper.stop(signal.SIGTERM)
            await again.stop()


async def test_a_name_that_is_taken_ends_the_wrapper_with_a_word(
    environment: dict[str, str], elsewhere: dict[str, str]
) -> None:
    token_file = await register_token(environment)
    async with started(environment) as gateway:
        code, errors = await refused(elsewhere, *flags(gateway, token_file, name="codex"))
        assert code == 1
        assert "another agent is registered as 'codex'" in errors
        assert "Traceback" not in errors
        await gateway.stop()


async def test_the_gateways_own_token_is_not_asked_for_and_a_wrong_one_is_named(
    environment: dict[str, str], elsewhere: dict[str, str], tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("w" * 43, encoding="ascii")
    wrong.chmod(0o600)
    async with started(environment) as gateway:
        code, errors = await refused(elsewhere, *flags(gateway, str(wrong)))
        assert code == 1
        assert f"does not know the register token in {wrong}" in errors
        assert "a2a-gateway register-token" in errors
        assert "w" * 43 not in errors
        await gateway.stop()
