"""Which of a card's interfaces is called, and where; where the card itself lies."""

from pathlib import Path
from typing import Any, Final

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.agents.card import Card, read_card, split_card_url
from gateway.core import json
from gateway.core.extension import URI
from gateway.core.status import RunStatus
from gateway.errors import AgentCardError
from gateway.link.endpoint import Interface
from tests.gateway.foreigners import card_of, listening, stream_of
from tests.gateway.house import house

BASE: Final = "http://127.0.0.1:8000"
TASK: Final = {"id": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_COMPLETED"}}


def read(base_url: str = BASE, /, **card: Any) -> Card:
    return read_card("it", base_url, json.encode({"name": "it", **card}).encode())


def one(binding: str, version: str | None, url: str = BASE + "/x", **more: str) -> dict[str, str]:
    made = {"url": url, "protocolBinding": binding, **more}
    return made if version is None else {**made, "protocolVersion": version}


def spoken(card: Card) -> tuple[str, str]:
    return card.interface.binding, card.interface.version


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([one("HTTP+JSON", "1.0"), one("JSONRPC", "1.0")], ("JSONRPC", "1.0")),
        ([one("JSONRPC", "0.3"), one("HTTP+JSON", "1.1")], ("HTTP+JSON", "1.0")),
        ([one("HTTP+JSON", "0.3.0"), one("JSONRPC", "0.3.0")], ("JSONRPC", "0.3")),
        ([one("GRPC", "1.0"), one("HTTP+JSON", "0.3")], ("HTTP+JSON", "0.3")),
        ([one("JSONRPC", None)], ("JSONRPC", "1.0")),
        ([one("JSONRPC", "2.0"), one("HTTP+JSON", "1.0")], ("HTTP+JSON", "1.0")),
    ],
)
def test_the_preferred_interface_is_chosen_whatever_the_order(
    offered: list[dict[str, str]], chosen: tuple[str, str]
) -> None:
    assert spoken(read(supportedInterfaces=offered)) == chosen


def test_a_card_of_0_3_offers_its_url_and_its_additional_interfaces() -> None:
    both: dict[str, Any] = {
        "protocolVersion": "0.3.0",
        "url": f"{BASE}/rest",
        "preferredTransport": "HTTP+JSON",
        "additionalInterfaces": [{"url": f"{BASE}/rpc", "transport": "JSONRPC"}],
    }
    assert read(**both).interface == Interface(binding="JSONRPC", version="0.3", url=f"{BASE}/rpc")
    assert spoken(read(**{**both, "additionalInterfaces": []})) == ("HTTP+JSON", "0.3")
    assert spoken(read(url=BASE)) == ("JSONRPC", "0.3")


def test_a_card_of_both_versions_is_spoken_with_in_1_0() -> None:
    card = read(
        url=f"{BASE}/old", protocolVersion="0.3.0", supportedInterfaces=[one("JSONRPC", "1.0")]
    )
    assert (spoken(card), card.interface.url) == (("JSONRPC", "1.0"), f"{BASE}/x")


def test_an_interface_of_another_origin_is_passed_over_for_one_of_its_own() -> None:
    away = one("JSONRPC", "1.0", "https://elsewhere.example/rpc")
    assert spoken(read(supportedInterfaces=[away, one("HTTP+JSON", "1.0")])) == ("HTTP+JSON", "1.0")
    with pytest.raises(AgentCardError, match=r"https://elsewhere\.example\)"):
        read(supportedInterfaces=[away])


@pytest.mark.parametrize(
    ("base_url", "url", "called"),
    [
        (BASE, "/rpc", f"{BASE}/rpc"),
        (BASE, "rpc", f"{BASE}/rpc"),
        (f"{BASE}/agents/ada", "rpc", f"{BASE}/agents/ada/rpc"),
        (f"{BASE}/agents/ada", "/rpc?a=b", f"{BASE}/rpc?a=b"),
        ("http://localhost:8000", "http://127.0.0.1:8000/rpc", "http://localhost:8000/rpc"),
    ],
)
def test_a_relative_url_is_under_the_agents_own(base_url: str, url: str, called: str) -> None:
    assert read(base_url, supportedInterfaces=[one("JSONRPC", "1.0", url)]).interface.url == called


def test_the_coding_run_extension_counts_on_json_rpc_of_1_0_alone() -> None:
    able = {"extensions": [{"uri": "urn:other"}, {"uri": URI}]}
    fast = read(supportedInterfaces=[one("JSONRPC", "1.0")], capabilities=able)
    slow = read(supportedInterfaces=[one("HTTP+JSON", "1.0")], capabilities=able)
    assert (fast.extension, slow.extension) == (True, False)
    assert fast.extensions == ("urn:other", URI)


def test_a_tenant_is_kept() -> None:
    card = read(supportedInterfaces=[one("JSONRPC", "1.0", tenant="acme")])
    assert card.interface.tenant == "acme"


@pytest.mark.parametrize(
    ("url", "agent", "path"),
    [
        (f"{BASE}/a/.well-known/agent-card.json", f"{BASE}/a", "/.well-known/agent-card.json"),
        (f"{BASE}/.well-known/agent.json", BASE, "/.well-known/agent.json"),
        (f"{BASE}/cards/ada.json", f"{BASE}/cards", "/ada.json"),
        (f"{BASE}/agents/ada", f"{BASE}/agents/ada", None),
        ("http://ada.json", "http://ada.json", None),
    ],
)
def test_the_url_of_a_card_names_its_agent(url: str, agent: str, path: str | None) -> None:
    assert split_card_url(url) == (agent, path)


@pytest.mark.parametrize(
    ("lies", "given"),
    [
        ("/.well-known/agent-card.json", ""),
        ("/.well-known/agent.json", ""),
        ("/.well-known/agent-card.json", "/.well-known/agent-card.json"),
        ("/agents/ada/.well-known/agent-card.json", "/agents/ada"),
        ("/cards/ada.json", "/cards/ada.json"),
        ("/.well-known/agent-card.json", "/rpc"),
    ],
)
async def test_a_card_is_found_where_it_lies(tmp_path: Path, lies: str, given: str) -> None:
    async with (
        listening(
            lambda listener: [
                Route(lies, _shown(card_of(listener.base_url))),
                Route("/rpc", stream_of({"task": TASK}), methods=["POST"]),
            ]
        ) as agent,
        house(tmp_path) as gateway,
    ):
        run = await gateway.spawn(await gateway.agent(agent.base_url + given))
        ended = await gateway.ended(run)
    assert (ended.status, ended.error) == (RunStatus.COMPLETED, None)


def _shown(card: dict[str, Any]) -> Any:
    async def show(_request: Request) -> Response:
        return Response(json.encode(card), media_type="application/json")

    return show
