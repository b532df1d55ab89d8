"""What callers send is read as protobuf reads it."""

import base64
from typing import Any

import pytest
from a2a.types import ListTasksRequest, SendMessageRequest
from a2a.types import Message as ProtoMessage
from a2a.utils.error_handlers import build_error_details
from a2a.utils.errors import InvalidParamsError
from a2a.utils.proto_utils import validate_proto_required_fields
from google.protobuf.json_format import MessageToDict, ParseDict
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json, messages
from gateway.core.bounds import DATA_MAX, TEXT_MAX
from gateway.core.face.params import read_list, read_send, read_task
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, FilePart, Message, Part, TextPart
from gateway.core.status import STATUS_OF_STATE

# -- the same as through protobuf --------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES: st.SearchStrategy[Any] = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RAW = st.binary(max_size=20).map(lambda content: base64.b64encode(content).decode())
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(TextPart, text=TEXTS),
    st.builds(DataPart, data=VALUES),
    st.builds(FilePart, url=NAMES, media_type=st.none() | NAMES, name=st.none() | NAMES),
    st.builds(FilePart, raw=RAW, media_type=st.none() | NAMES, name=st.none() | NAMES),
)
MESSAGES = st.builds(
    Message,
    message_id=NAMES,
    role=st.sampled_from(["user", "agent"]),
    parts=st.lists(PARTS, min_size=1, max_size=4).map(tuple),
    metadata=st.dictionaries(TEXTS, VALUES, max_size=3),
)


@given(MESSAGES, st.booleans())
def test_a_message_that_the_sdk_sends_is_read_as_it_was(message: Message, snake: bool) -> None:
    proto = ParseDict(messages.to_wire(message, task_id="t", context_id="c"), ProtoMessage())
    sent = MessageToDict(SendMessageRequest(message=proto), preserving_proto_field_name=snake)
    asked = read_send(json.decode(json.encode(sent)))
    assert messages.whole_numbers(messages.to_wire(asked.message)) == messages.whole_numbers(
        messages.to_wire(message)
    )
    assert (asked.task_id, asked.context_id) == ("t", "c")


@given(MESSAGES)
def test_a_message_that_we_print_is_read_by_the_sdk_as_it_was(message: Message) -> None:
    printed = json.decode(json.encode(messages.to_wire(message, task_id="t")))
    theirs = MessageToDict(ParseDict(printed, ProtoMessage()))
    assert messages.from_wire(messages.whole_numbers(theirs)) == messages.from_wire(
        messages.whole_numbers(printed)
    )


def message(**more: Any) -> JsonObject:
    return {"messageId": "m", "role": "ROLE_USER", "parts": [{"text": "hi"}], **more}


LACKING: list[JsonObject] = [
    {},
    {"message": {}},
    {"message": message(messageId="")},
    {"message": message(role="ROLE_UNSPECIFIED")},
    {"message": message(role="ROLE_BOSS")},
    {"message": message(parts=[])},
    {"message": {"messageId": "m"}},
    {"message": message(), "configuration": {"taskPushNotificationConfig": {"id": "x"}}},
]


@pytest.mark.parametrize("given_", LACKING)
def test_what_is_required_is_missed_in_the_sdks_words(given_: JsonObject) -> None:
    with pytest.raises(InvalidParamsError) as theirs:
        validate_proto_required_fields(
            ParseDict(given_, SendMessageRequest(), ignore_unknown_fields=True)
        )
    with pytest.raises(InvalidParamsError) as ours:
        read_send(given_)
    assert ours.value.message == theirs.value.message
    assert build_error_details(ours.value) == build_error_details(theirs.value)


READ: list[tuple[JsonObject, str, object]] = [
    ({"configuration": {"historyLength": "7"}}, "history", 7),
    ({"configuration": {"historyLength": 7.0}}, "history", 7),
    ({"configuration": {"history_length": 0}}, "history", 0),
    ({"configuration": {"historyLength": None}}, "history", None),
    ({"configuration": {"return_immediately": True}}, "return_immediately", True),
    ({"configuration": None}, "return_immediately", False),
    ({"unknown": 1, "metadata": {"n": 1.0}}, "metadata", {"n": 1}),
]


@pytest.mark.parametrize(("more", "name", "value"), READ)
def test_values_are_taken_in_every_form_that_proto_json_allows(
    more: JsonObject, name: str, value: object
) -> None:
    given_ = {"message": message(), **more}
    ParseDict(given_, SendMessageRequest(), ignore_unknown_fields=True)
    assert getattr(read_send(given_), name) == value


@pytest.mark.parametrize("role", ["ROLE_AGENT", 2, "2"])
def test_a_role_may_be_a_number(role: object) -> None:
    assert read_send({"message": message(role=role)}).message.role == "agent"


@pytest.mark.parametrize("raw", ["_-8=", "_-8", "/+8=", "/+8"])
def test_bytes_may_come_in_the_alphabet_of_urls_and_without_padding(raw: str) -> None:
    part = {"raw": raw, "media_type": "x/y"}
    proto = ParseDict(message(parts=[part]), ProtoMessage())
    (read,) = read_send({"message": message(parts=[part])}).message.parts
    assert messages.part_to_wire(read) == MessageToDict(proto.parts[0])


WRONG: list[tuple[object, str]] = [
    ([], "params must be an object"),
    ("x", "params must be an object"),
    ({"message": "x"}, "message must be an object"),
    ({"message": message(messageId=7)}, "messageId must be a string"),
    ({"message": message(parts="x")}, "parts must be a list"),
    ({"message": message(parts=["x"])}, "a part must be an object"),
    ({"message": message(parts=[{"text": 7}])}, "text must be a string"),
    ({"message": message(parts=[{"text": "x", "url": "y"}])}, "holds one of"),
    ({"message": message(parts=[{"filename": "x"}])}, "holds one of"),
    ({"message": message(parts=[{"raw": "#"}])}, "raw must be base64"),
    ({"message": message(parts=[{"url": "x", "mediaType": 7}])}, "mediaType must be a string"),
    ({"message": message(metadata=[])}, "metadata must be an object"),
    ({"message": message(taskId=7)}, "taskId must be a string"),
    ({"message": message(contextId={})}, "contextId must be a string"),
    ({"message": message(), "configuration": []}, "configuration must be an object"),
    ({"message": message(), "configuration": {"historyLength": "x"}}, "a whole number"),
    ({"message": message(), "configuration": {"historyLength": True}}, "a whole number"),
    ({"message": message(), "configuration": {"historyLength": 1.5}}, "a whole number"),
    ({"message": message(), "configuration": {"historyLength": 2**31}}, "32 bits"),
    ({"message": message(), "configuration": {"historyLength": -1}}, "non-negative"),
    ({"message": message(), "configuration": {"returnImmediately": "yes"}}, "true or false"),
    ({"message": message(parts=[{"text": "x" * (TEXT_MAX + 1)}])}, "into a file in cwd"),
    ({"message": message(parts=[{"data": "x" * DATA_MAX}])}, "as text or as a file"),
    ({"message": message(metadata={"x": "x" * DATA_MAX})}, "as text or as a file"),
    ({"message": message(parts=[{"text": "x"}] * 257)}, "at most 256 parts"),
]


@pytest.mark.parametrize(("given_", "said"), WRONG)
def test_what_cannot_be_read_is_refused_by_naming_the_field(given_: object, said: str) -> None:
    with pytest.raises(InvalidParamsError, match=said) as refused:
        read_send(given_)
    assert build_error_details(refused.value)[0]["metadata"]["code"] == "invalid_input"


def test_a_text_as_long_as_may_be_is_taken() -> None:
    parts = [{"text": "x" * TEXT_MAX}, {"text": "ü" * (TEXT_MAX // 2)}] * 2
    assert len(read_send({"message": message(parts=parts)}).message.parts) == 4
    over = [{"text": "ü" * (TEXT_MAX // 2) + "x"}]
    with pytest.raises(InvalidParamsError, match=rf"parts\[0\].text has {TEXT_MAX + 1} bytes"):
        read_send({"message": message(parts=over)})


@pytest.mark.parametrize("given_", [{}, {"id": ""}, {"id": None}])
def test_a_task_is_named(given_: JsonObject) -> None:
    with pytest.raises(InvalidParamsError, match="Validation failed"):
        read_task(given_)


def test_a_list_is_read_like_protobufs() -> None:
    given_: JsonObject = {
        "contextId": "c",
        "status": "TASK_STATE_WORKING",
        "pageSize": "7",
        "pageToken": "p",
        "historyLength": 3,
        "statusTimestampAfter": "2026-11-22T11:00:00.5+01:00",
        "includeArtifacts": True,
    }
    proto = ParseDict(given_, ListTasksRequest())
    asked = read_list(given_)
    assert asked.status is STATUS_OF_STATE["TASK_STATE_WORKING"]
    assert asked.changed_after == proto.status_timestamp_after.ToMicroseconds()
    assert (asked.page_size, asked.page_token, asked.history) == (7, "p", 3)
    assert (asked.artifacts, asked.context_id) == (True, "c")
    assert read_list({"status": 2}).status is asked.status
    assert read_list({"status": "TASK_STATE_UNSPECIFIED"}).status is None
    assert read_list({}).page_size == 50


@pytest.mark.parametrize(
    "given_",
    [
        {"pageSize": 0},
        {"pageSize": 101},
        {"status": "TASK_STATE_NO_SUCH"},
        {"status": 99},
        {"status": []},
        {"historyLength": -1},
        {"statusTimestampAfter": "yesterday"},
        {"statusTimestampAfter": "2026-11-22"},
        {"includeArtifacts": "true"},
    ],
)
def test_a_filter_that_means_nothing_is_refused(given_: JsonObject) -> None:
    with pytest.raises(InvalidParamsError):
        read_list(given_)
