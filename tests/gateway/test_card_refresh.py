"""A card is asked for as rarely as its server allows, and never taken for new when it is not."""

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from gateway.agents.calls import CARD_TTL_MAX_S, CARD_TTL_MIN_S, CARD_TTL_S, ttl_s
from gateway.agents.health import State
from gateway.core import json
from gateway.core.face.serving import Listener
from gateway.errors import AgentCardError
from tests.gateway.foreigners import card_of, listening
from tests.gateway.house import House, house


class Shop:
    """A server of one card; `answers` are the statuses it gave, `asked` the ETags it was shown."""

    def __init__(self) -> None:
        self.card: dict[str, Any] = {}
        self.etag = '"one"'
        self.answers: list[int] = []
        self.asked: list[str | None] = []

    def routes(self, listener: Listener) -> list[BaseRoute]:
        self.card = card_of(listener.base_url, skills=[{"id": "a", "name": "A"}])

        async def show(request: Request) -> Response:
            self.asked.append(request.headers.get("if-none-match"))
            same = self.asked[-1] == self.etag
            answer = Response(
                b"" if same else json.encode(self.card), 304 if same else 200, {"ETag": self.etag}
            )
            self.answers.append(answer.status_code)
            return answer

        return [Route("/.well-known/agent-card.json", show)]


async def looked(gateway: House, name: str) -> list[str]:
    """The ids of its skills after a fresh look."""
    await gateway.registry.look(name)
    card = gateway.registry.card(name)
    assert card is not None
    return [str(skill["id"]) for skill in card.skills]


async def test_a_card_that_is_as_it_was_is_not_sent_again(tmp_path: Path) -> None:
    shop = Shop()
    async with listening(shop.routes) as server, house(tmp_path) as gateway:
        name = await gateway.agent(server.base_url)
        assert await looked(gateway, name) == ["a"]
        assert await looked(gateway, name) == ["a"]
        assert (shop.answers, shop.asked) == ([200, 304], [None, '"one"'])
        await gateway.registry.endpoint(name)
        await gateway.registry.endpoint(name)
        assert len(shop.answers) == 2, "what is fresh is not asked for"
        shop.etag, shop.card["skills"] = '"two"', [{"id": "b", "name": "B"}]
        assert await looked(gateway, name) == ["b"]
        assert shop.answers == [200, 304, 200]


async def test_a_card_that_went_bad_is_said_and_the_last_good_one_stays_shown(
    tmp_path: Path,
) -> None:
    shop = Shop()
    async with listening(shop.routes) as server, house(tmp_path) as gateway:
        name = await gateway.agent(server.base_url)
        await looked(gateway, name)
        shop.etag, shop.card["supportedInterfaces"] = '"two"', []
        with pytest.raises(AgentCardError):
            await gateway.registry.look(name)
        health = gateway.registry.directory.entry(name).watch.health
        assert (health.state, health.down) == (State.FAILING, False)
        assert "card" in str(health.error)
        assert gateway.registry.card(name) is not None


@pytest.mark.parametrize(
    ("header", "lasts_s"),
    [
        ("", CARD_TTL_S),
        ("public, max-age=120", 120.0),
        ("max-age=0", CARD_TTL_MIN_S),
        ("no-store", CARD_TTL_MIN_S),
        ("no-cache, max-age=600", CARD_TTL_MIN_S),
        ("max-age=99999999999999999999", CARD_TTL_MAX_S),
        ("max-age=soon", CARD_TTL_S),
        ('Max-Age="90"', 90.0),
    ],
)
def test_how_long_a_card_lasts_is_its_servers_word_within_bounds(
    header: str, lasts_s: float
) -> None:
    assert ttl_s(header) == lasts_s
