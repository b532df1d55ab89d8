"""A caller's parts as what Claude Code is given, and as what the model then gets."""

import base64
from dataclasses import replace

import anyio
import pytest

from gateway.core.events import CommandStarted, Rejected, RunCompleted
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, FilePart, Message, Part, TextPart
from tests.wrappers.claude_case import RUN_MAX_S, Case, end, of, turn_of
from tests.wrappers.recorded.claude.scenes import PIXEL as PNG
from wrappers.adapter import AgentSession, Step, UnsupportedError
from wrappers.claude.prompt import content_of

PDF = base64.b64encode(b"%PDF-1.7 rest of it").decode()
NOTE = base64.b64encode("two\nlines ü".encode()).decode()
BINARY = base64.b64encode(b"\x00\xff\xfe\x80").decode()


def blocks(*parts: Part) -> list[JsonObject]:
    return content_of(Message(message_id="m-1", role="user", parts=parts))


def text(said: str) -> JsonObject:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (TextPart(text="/clear @/etc/passwd"), text("/clear @/etc/passwd")),
        (DataPart(data={"a": [1, None]}), text('{"a":[1,null]}')),
        (DataPart(data=None), text("null")),
        (
            FilePart(raw=PNG, media_type="image/png", name="p.png"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (
            FilePart(raw=PNG),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        (
            FilePart(url="https://example.org/p.png", media_type="image/png"),
            {"type": "image", "source": {"type": "url", "url": "https://example.org/p.png"}},
        ),
        (
            FilePart(raw=PDF, media_type="application/octet-stream", name="d.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "d.pdf",
            },
        ),
        (
            FilePart(url="https://example.org/d.pdf", media_type="application/pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://example.org/d.pdf"}},
        ),
        (FilePart(raw=NOTE, name="n.txt"), text("Attached file n.txt:\ntwo\nlines ü")),
        (FilePart(raw="", media_type="text/plain"), text("Attached file unnamed:\n")),
        (
            FilePart(raw=base64.b64encode(b"<svg/>").decode(), media_type="image/svg+xml"),
            text("Attached file unnamed:\n<svg/>"),
        ),
        (
            FilePart(url="https://example.org/n.txt", name="n.txt", media_type="text/plain"),
            text("Attached file n.txt: https://example.org/n.txt"),
        ),
    ],
)
def test_a_part_is_one_block(part: Part, block: JsonObject) -> None:
    assert blocks(part) == [block]


def test_parts_keep_their_order_and_empty_texts_are_left_out() -> None:
    said = blocks(TextPart(text="a"), TextPart(text=""), DataPart(data=1), TextPart(text="b"))

    assert said == [text("a"), text("1"), text("b")]


def test_a_message_of_nothing_still_has_a_block() -> None:
    assert blocks(TextPart(text="")) == [text("(empty message)")]


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (FilePart(raw=BINARY, name="a.bin"), "'a.bin' into the folder"),
        (FilePart(raw=BINARY, media_type="image/bmp"), "'unnamed' into the folder"),
        (FilePart(raw="no base64!", name="a.txt"), "'a.txt' is not base64"),
    ],
)
def test_what_the_model_cannot_be_given_is_refused_by_name(part: FilePart, reason: str) -> None:
    with pytest.raises(UnsupportedError, match=reason) as refused:
        blocks(TextPart(text="look"), part)
    assert refused.value.field == "message.parts"


# -- with the real Claude Code -----------------------------------------------------------------


async def sent(claude: Case, *parts: Part) -> list[Step]:
    message = Message(message_id="m-1", role="user", parts=parts)
    turn = replace(turn_of(""), message=message)
    session = await claude.session()
    with anyio.fail_after(RUN_MAX_S):
        return [step async for step in session.run(turn)]


def given(claude: Case) -> list[JsonObject]:
    """The content blocks of the user's messages that the model got, without their caching marks."""
    messages: list[JsonObject] = claude.model.requests[-1]["messages"]
    found: list[JsonObject] = []
    for message in messages:
        if message["role"] == "user" and not isinstance(message["content"], str):
            found += message["content"]
    return [{key: block[key] for key in block if key != "cache_control"} for block in found]


async def test_the_model_gets_every_part(claude: Case) -> None:
    steps = await sent(
        claude,
        TextPart(text="@say seen"),
        DataPart(data={"a": 1}),
        FilePart(raw=PNG, media_type="image/png"),
        FilePart(raw=PDF, media_type="application/pdf", name="d.pdf"),
        FilePart(raw=NOTE, name="n.txt"),
        FilePart(url="https://example.org/p.png", media_type="image/png"),
        FilePart(url="https://example.org/d.pdf", media_type="application/pdf"),
    )

    assert end(steps, RunCompleted).final_response == "seen"
    got = given(claude)
    for block in blocks(
        TextPart(text="@say seen"),
        DataPart(data={"a": 1}),
        FilePart(raw=PNG, media_type="image/png"),
        FilePart(raw=PDF, media_type="application/pdf", name="d.pdf"),
        FilePart(raw=NOTE, name="n.txt"),
        FilePart(url="https://example.org/p.png", media_type="image/png"),
        FilePart(url="https://example.org/d.pdf", media_type="application/pdf"),
    ):
        assert block in got


async def test_a_run_whose_message_cannot_be_given_is_rejected_and_starts_nothing(
    claude: Case,
) -> None:
    steps = await sent(claude, TextPart(text="look"), FilePart(raw=BINARY, name="a.bin"))

    rejected = end(steps, Rejected)
    assert rejected.reason == "unsupported"
    assert "'a.bin'" in rejected.message
    assert claude.model.requests == []
    assert claude.adapter.status()["warm"] == 0
    assert not of(await claude.run("@say fine"), Rejected)


async def test_a_message_that_cannot_be_given_steers_nothing(claude: Case) -> None:
    async def steer(step: Step, session: AgentSession) -> None:
        if isinstance(step, CommandStarted):
            parts = (FilePart(raw=BINARY, name="a.bin"),)
            with pytest.raises(UnsupportedError, match=r"'a\.bin'"):
                await session.steer(Message(message_id="m-2", role="user", parts=parts))

    steps = await claude.run("@sh sleep 0.3\n@say straight", on_step=steer)

    assert end(steps, RunCompleted).final_response == "straight"
