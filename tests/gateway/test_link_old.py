"""A2A 0.3 from the calling side: both its forms are read and written as the SDK's own conversions
do, and what those refuse is handed on."""

from typing import Any, Final

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2, conversions, proto_utils, types
from a2a.types import SendMessageRequest, StreamResponse
from google.protobuf.json_format import MessageToDict, ParseDict

from gateway.core import json
from gateway.core.face.v03 import Old
from gateway.link.v03 import new_item, new_task, old_params

RAW: Final = {"raw": "aGVsbG8=", "mediaType": "text/plain"}
PARTS: Final[list[dict[str, Any]]] = [
    {"text": "hello", "metadata": {"a": "b"}},
    {"url": "https://example.com/a.png", "mediaType": "image/png", "filename": "a.png"},
    RAW,
    {"data": {"answer": "yes", "deep": {"list": [True, None]}}},
    {"data": ["no", "object"]},
]
MESSAGE: Final[dict[str, Any]] = {
    "messageId": "m-1",
    "contextId": "c-1",
    "taskId": "t-1",
    "role": "ROLE_AGENT",
    "parts": PARTS,
    "metadata": {"k": "v"},
    "extensions": ["urn:x"],
}
STATUS: Final = {
    "state": "TASK_STATE_INPUT_REQUIRED",
    "timestamp": "2026-11-22T10:00:00Z",
    "message": MESSAGE,
}
ARTIFACT: Final = {"artifactId": "a-1", "name": "out", "parts": PARTS}
TASK: Final[dict[str, Any]] = {
    "id": "t-1",
    "contextId": "c-1",
    "status": STATUS,
    "history": [MESSAGE],
    "artifacts": [ARTIFACT],
    "metadata": {"k": "v"},
}
IDS: Final = {"taskId": "t-1", "contextId": "c-1"}
ITEMS: Final[list[dict[str, Any]]] = [
    {"task": TASK},
    {"message": MESSAGE},
    {"statusUpdate": {**IDS, "status": STATUS, "metadata": {"k": "v"}}},
    {"statusUpdate": {**IDS, "status": {"state": "TASK_STATE_CANCELED"}}},
    {"artifactUpdate": {**IDS, "artifact": ARTIFACT, "append": True, "lastChunk": True}},
]


def in_0_3(item: dict[str, Any]) -> types.SendStreamingMessageSuccessResponse:
    return conversions.to_compat_stream_response(ParseDict(item, StreamResponse()), request_id=1)


@pytest.mark.parametrize("item", ITEMS)
def test_what_the_sdk_writes_as_0_3_is_read_as_it_was(item: dict[str, Any]) -> None:
    result = in_0_3(item).model_dump(by_alias=True, exclude_none=True, mode="json")["result"]
    assert new_item(result) == item


def without_raw(item: dict[str, Any]) -> dict[str, Any]:
    """The SDK's 0.3 over HTTP encodes raw bytes in base64 twice, which nobody can tell from once."""
    return json.decode_object(json.encode(item).replace(json.encode(RAW) + ",", ""))


@pytest.mark.parametrize("item", ITEMS)
def test_what_the_sdk_writes_over_http_is_read_as_it_was(item: dict[str, Any]) -> None:
    plain = without_raw(item)
    proto = proto_utils.ToProto.stream_response(in_0_3(plain).result)
    assert new_item(MessageToDict(proto)) == plain


def test_a_task_is_read_alone_too() -> None:
    result = conversions.to_compat_task(ParseDict({"task": TASK}, StreamResponse()).task)
    assert new_task(result.model_dump(by_alias=True, exclude_none=True, mode="json")) == TASK


PARAMS: Final[dict[str, Any]] = {
    "message": {**MESSAGE, "role": "ROLE_USER"},
    "configuration": {"acceptedOutputModes": ["text/plain"], "returnImmediately": True},
}


def test_a_message_is_written_as_the_sdk_writes_it() -> None:
    request = conversions.to_compat_send_message_request(
        ParseDict(PARAMS, SendMessageRequest()), request_id=1
    )
    sdk = request.params.model_dump(by_alias=True, exclude_none=True, mode="json")
    assert old_params(PARAMS, proto=False) == sdk


def test_a_message_over_http_is_what_the_sdk_reads() -> None:
    plain = without_raw(PARAMS)
    read = ParseDict(old_params(plain, proto=True), a2a_v0_3_pb2.SendMessageRequest())
    again = types.SendMessageRequest(id=1, params=proto_utils.FromProto.message_send_params(read))
    assert MessageToDict(conversions.to_core_send_message_request(again)) == plain


@pytest.mark.parametrize("proto", [False, True])
@pytest.mark.parametrize("item", ITEMS)
def test_what_our_own_face_says_in_0_3_is_read_as_it_was(item: dict[str, Any], proto: bool) -> None:
    text = json.dump(item).replace(b',"metadata":{"a":"b"}', b"")  # our parts have none
    said = Old(proto=proto).item(text)
    assert new_item(json.decode_object(said)) == json.decode_object(text)


def test_no_limit_is_asked_for_as_0_3_does() -> None:
    assert old_params({"id": "t-1", "historyLength": 0}, proto=False) == {"id": "t-1"}
    sent = old_params({**PARAMS, "configuration": {"historyLength": 0}}, proto=False)
    assert sent["configuration"] == {"blocking": True}


def test_what_is_not_known_is_handed_on() -> None:
    odd = {"kind": "weather", "sky": "blue"}
    assert new_item(odd) == odd
    update = {"kind": "status-update", **IDS, "status": {"state": "dancing"}, "more": 1}
    read = {"statusUpdate": {**IDS, "status": {"state": "TASK_STATE_DANCING"}, "more": 1}}
    assert new_item(update) == read
    assert new_item({"kind": "task", "id": 7, "status": "no"})["task"]["id"] == 7


def test_items_without_a_kind_are_told_by_their_members() -> None:
    assert list(new_item({"messageId": "m", "parts": []})) == ["message"]
    assert list(new_item({"taskId": "t", "status": {}})) == ["statusUpdate"]
    assert list(new_item({"taskId": "t", "artifact": {}})) == ["artifactUpdate"]
    assert list(new_item({"id": "t", "status": {}})) == ["task"]
