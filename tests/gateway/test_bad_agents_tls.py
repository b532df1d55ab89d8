"""TLS to agents: a trusted certificate is enough, and whatever else is shown ends the run with why."""

from pathlib import Path
from typing import Final

import pytest

from gateway.core.status import RunStatus
from tests.gateway.certificates import Authority, Shown
from tests.gateway.foreigners import Executor, sdk_agent
from tests.gateway.house import house
from tests.gateway.raw import TASK, Call, raw, with_card

DONE: Final = {**TASK, "status": {"state": "TASK_STATE_COMPLETED"}}


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """One that the gateway trusts, as its user would make it."""
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.file))
    return made


async def _done(call: Call) -> None:
    await call.stream({"task": DONE})


async def test_an_agent_with_a_trusted_certificate_is_spoken_with(
    tmp_path: Path, authority: Authority
) -> None:
    async with raw(with_card(_done), authority.server()) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url, auth_token="secret-token")
        run = await gateway.ended(await gateway.spawn(name))
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)


SHOWN: Final[dict[str, tuple[Shown, str]]] = {
    "its own": (lambda authority: authority.server(own=True), "self-signed certificate"),
    "expired": (lambda authority: authority.server(days=-1), "certificate has expired"),
    "another host's": (lambda authority: authority.server(host="127.0.0.2"), "127.0.0.1"),
}


@pytest.mark.parametrize("kind", list(SHOWN))
async def test_a_certificate_that_is_not_to_be_trusted_ends_the_run_before_anything_is_sent(
    tmp_path: Path, authority: Authority, kind: str
) -> None:
    shown, why = SHOWN[kind]
    async with raw(with_card(_done), shown(authority)) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url, auth_token="secret-token")
        run = await gateway.ended(await gateway.spawn(name))
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert run.error.reason == "agent_unreachable"
    assert why in run.error.message
    assert agent.calls == []


async def test_an_agent_without_tls_at_an_https_url_is_said_to_have_none(tmp_path: Path) -> None:
    async with sdk_agent(Executor()) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url.replace("http:", "https:"))
        run = await gateway.ended(await gateway.spawn(name))
    assert run.error is not None
    assert run.error.reason == "agent_unreachable"
    assert "is it http://" in run.error.message


async def test_an_agent_with_tls_at_an_http_url_ends_the_run(
    tmp_path: Path, authority: Authority
) -> None:
    async with raw(with_card(_done), authority.server()) as agent, house(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url.replace("https:", "http:"))
        run = await gateway.ended(await gateway.spawn(name))
    assert run.error is not None
    assert run.error.reason == "agent_unreachable"
