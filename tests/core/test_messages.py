"""Messages in their three forms."""

from typing import Any

import pytest
from a2a.types import Message as ProtoMessage
from google.protobuf.json_format import MessageToDict, ParseDict

from gateway.core.messages import (
    MAX_PARTS,
    DataPart,
    FilePart,
    InvalidMessageError,
    Message,
    TextPart,
    from_contract,
    from_wire,
    to_contract,
    to_wire,
    whole_numbers,
)

FULL = Message(
    message_id="m-1",
    role="user",
    parts=(
        TextPart(text="look"),
        DataPart(data={"n": 42, "nested": [1, 2.5, None]}),
        FilePart(url="https://example.com/a.png", media_type="image/png", name="a.png"),
        FilePart(raw="aGVsbG8=", media_type="text/plain"),
    ),
    metadata={"k": "v"},
)


def test_a_message_survives_the_wire_and_protobuf() -> None:
    wire = to_wire(FULL, task_id="t", context_id="c")
    assert from_wire(wire) == FULL
    assert from_wire(whole_numbers(MessageToDict(ParseDict(wire, ProtoMessage())))) == FULL


def test_a_message_survives_the_contracts_form() -> None:
    assert from_contract(to_contract(FULL), "m-1") == FULL


def test_protobufs_floats_become_whole_numbers_again() -> None:
    assert whole_numbers({"a": 42.0, "b": [1.5, -3.0], "c": 2.0**60}) == {
        "a": 42,
        "b": [1.5, -3],
        "c": 2.0**60,
    }


BAD: list[tuple[dict[str, Any], str]] = [
    ({"role": "boss", "parts": [{"type": "text", "text": "x"}]}, "role must be"),
    ({"role": "user", "parts": []}, "at least one part"),
    ({"role": "user", "parts": "x"}, "at least one part"),
    ({"role": "user", "parts": [7]}, r"parts\[0\] must be an object"),
    ({"role": "user", "parts": [{"type": "text", "text": ""}]}, r"parts\[0\].text"),
    ({"role": "user", "parts": [{"type": "data", "data": []}]}, r"parts\[0\].data"),
    ({"role": "user", "parts": [{"type": "film"}]}, "'film'"),
    ({"role": "user", "parts": [{"type": "file"}]}, "without uri or bytes_base64"),
    ({"role": "user", "parts": [{"type": "file", "uri": 7}]}, "uri must be a string"),
    ({"role": "user", "parts": [{"type": "file", "bytes_base64": "#"}]}, "not base64"),
    ({"parts": [{"type": "text", "text": "x"}], "metadata": 7}, "metadata"),
    ({"parts": [{"type": "text", "text": "x"}] * (MAX_PARTS + 1)}, "at most"),
]


@pytest.mark.parametrize(("value", "said"), BAD)
def test_a_bad_message_is_refused_by_naming_the_field(value: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidMessageError, match=said):
        from_contract(value, "m")


def test_a_part_that_holds_nothing_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="filename"):
        from_wire({"messageId": "m", "role": "ROLE_USER", "parts": [{"filename": "x"}]})
