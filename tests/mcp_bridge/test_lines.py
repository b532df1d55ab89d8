"""Artifacts by lines, from the start and from the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import characters
from gateway.core.events import CommandFinished
from gateway.core.store.entry import PayloadSlice
from mcp_bridge.runs import lines
from mcp_bridge.runs.lines import count_lines, first_lines, line_start
from tests.mcp_bridge.house import House

TEXTS = st.text(st.sampled_from("ab\n€ü"), max_size=60)


def _reader(content: bytes) -> lines.Read:
    """Slices as the store gives them: of whole characters, at least one where there is one."""

    async def read(offset: int, limit: int) -> PayloadSlice:
        start, end = characters.character_range(content, offset, limit)
        return PayloadSlice(
            seq=1,
            pointer="/output",
            mime="text/plain",
            encoding="utf-8",
            total_bytes=len(content),
            offset=start,
            content=content[start:end],
            relpath="",
        )

    return read


@given(text=TEXTS, line=st.integers(-12, 12).filter(bool), look=st.integers(4, 9))
async def test_a_line_begins_where_the_text_is_cut_into_lines(
    text: str, line: int, look: int
) -> None:
    content = text.encode()
    each = content.splitlines(keepends=True)
    before = each[: line - 1] if line > 0 else each[: max(0, len(each) + line)]
    kept, lines.LOOK_BYTES = lines.LOOK_BYTES, look  # so that lines lie across many looks
    try:
        assert await line_start(_reader(content), line) == len(b"".join(before))
    finally:
        lines.LOOK_BYTES = kept


@given(text=TEXTS, most=st.integers(1, 12))
def test_the_first_lines_are_counted_as_lines(text: str, most: int) -> None:
    each = text.encode().splitlines(keepends=True)
    assert first_lines(text.encode(), most) == b"".join(each[:most])
    assert count_lines(text.encode()) == len(each)


@pytest.mark.promise("artifact.lines")
async def test_an_output_is_read_by_lines(caller: House) -> None:
    run_id, puppet = await caller.begin()
    output = "".join(f"line {n} with an ü\n" for n in range(1, 40_001))
    await puppet.say(CommandFinished(command="cat", output=output, exit_code=0))
    of = {"run_id": run_id, "seq": 2, "field_path": "/output"}
    middle = await caller.call("get_event_artifact", **of, from_line=20_000, lines=2)
    assert middle["content"] == "line 20000 with an ü\nline 20001 with an ü\n"
    assert (middle["returned_lines"], middle["has_more"]) == (2, True)
    further = await caller.call(
        "get_event_artifact", **of, offset=middle["offset"] + middle["returned_bytes"], lines=1
    )
    assert further["content"] == "line 20002 with an ü\n"
    last = await caller.call("get_event_artifact", **of, from_line=-2)
    assert last["content"] == "line 39999 with an ü\nline 40000 with an ü\n"
    assert (last["has_more"], last["total_bytes"]) == (False, len(output.encode()))
    past = await caller.call("get_event_artifact", **of, from_line=50_000)
    assert (past["content"], past["returned_lines"], past["has_more"]) == ("", 0, False)
    short = await caller.call("get_event_artifact", **of, from_line=1, lines=9, limit=10)
    assert (short["content"], short["has_more"]) == ("line 1 wit", True)


async def test_lines_and_bytes_are_not_mixed(one: House) -> None:
    of = {"run_id": "r", "seq": 2, "field_path": "/output"}
    assert "not both" in await one.refused("get_event_artifact", **of, from_line=1, offset=3)
    assert "from_line" in await one.refused("get_event_artifact", **of, from_line=0)
    assert "lines" in await one.refused("get_event_artifact", **of, lines=0)


async def test_a_field_that_was_not_cut_is_read_too(one: House) -> None:
    run_id, puppet = await one.begin()
    await puppet.say(CommandFinished(command="ls", output="a\nb\nc\n", exit_code=0))
    of = {"run_id": run_id, "seq": 2}
    whole = await one.call("get_event_artifact", **of, field_path="/output")
    assert (whole["content"], whole["mime"], whole["has_more"]) == (
        "a\nb\nc\n",
        "text/plain",
        False,
    )
    last = await one.call("get_event_artifact", **of, field_path="/output", from_line=-1)
    assert last["content"] == "c\n"
    piece = await one.call("get_event_artifact", **of, field_path="/output", offset=2, limit=2)
    assert (piece["content"], piece["next_offset"]) == ("b\n", 4)
    number = await one.call("get_event_artifact", **of, field_path="/exit_code")
    assert (number["content"], number["mime"]) == ("0", "application/json")
    for path in ("/nope", "output", "/output/0", "/command/x"):
        assert "/output" in await one.refused("get_event_artifact", **of, field_path=path)
    text = await one.refused("get_event_artifact", run_id=run_id, seq=9, field_path="/output")
    assert text == f"run {run_id} has no event 9; its last is 2"
