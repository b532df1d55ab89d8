"""The card, as it is made and as it is served."""

from pathlib import Path

from a2a.types import AgentCard
from google.protobuf.json_format import ParseDict

from gateway.core import extension, json
from gateway.core.face.cards import Skill, build_card, card_page
from tests.core.faces import served


def _card(*, token_required: bool = True) -> AgentCard:
    return build_card(
        name="Ada",
        description="Writes code.",
        base_url="http://127.0.0.1:1/agents/ada",
        version="0.1.0",
        skills=[Skill(id="code", name="Code", description="Writes code.", tags=("code",))],
        token_required=token_required,
    )


def test_the_card_names_both_bindings_and_the_extension_with_its_schema() -> None:
    card = _card()
    assert [(i.url, i.protocol_binding, i.protocol_version) for i in card.supported_interfaces] == [
        ("http://127.0.0.1:1/agents/ada/a2a/jsonrpc", "JSONRPC", "1.0"),
        ("http://127.0.0.1:1/agents/ada/a2a/rest", "HTTP+JSON", "1.0"),
        ("http://127.0.0.1:1/agents/ada/a2a/jsonrpc", "JSONRPC", "0.3"),
        ("http://127.0.0.1:1/agents/ada/a2a/rest", "HTTP+JSON", "0.3"),
    ]
    declared = card.capabilities.extensions[0]
    assert declared.uri == extension.URI
    assert not declared.required
    assert set(declared.params.fields) == {"request", "pending", "answer", "event"}
    assert card.capabilities.streaming
    assert card.capabilities.push_notifications


def test_a_card_without_a_token_says_nothing_of_security() -> None:
    assert not _card(token_required=False).security_schemes
    assert _card().security_schemes["bearer"].http_auth_security_scheme.scheme == "Bearer"


def test_the_printed_card_has_whole_numbers_and_reads_back() -> None:
    page = card_page(_card())
    assert b".0," not in page.body.replace(b'"0.1.0",', b"").replace(b'"1.0",', b"")
    parsed = ParseDict(json.decode_object(page.body), AgentCard())
    assert parsed == _card()
    again = card_page(parsed)
    assert (again.body, again.etag) == (page.body, page.etag)


async def test_the_card_is_served_with_a_tag_and_revalidated(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        url = "/.well-known/agent-card.json"
        first = await on.http.get(url)
        assert first.headers["content-type"] == "application/json"
        assert "max-age=" in first.headers["cache-control"]
        etag = first.headers["etag"]
        for asked in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await on.http.get(url, headers={"If-None-Match": asked})
            assert (again.status_code, again.content) == (304, b"")
        assert (await on.http.head(url)).status_code == 200

        changed = AgentCard()
        changed.CopyFrom(on.face.card)
        changed.description = "Plays it better."
        on.face.card = changed
        fresh = await on.http.get(url, headers={"If-None-Match": etag})
        assert fresh.status_code == 200
        assert fresh.json()["description"] == "Plays it better."
