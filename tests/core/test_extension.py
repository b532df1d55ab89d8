"""The coding-run extension: its documented examples, requests and answers."""

import re
from typing import Any

import pytest

from gateway.core import extension, json
from gateway.core.events import decode
from gateway.core.extension import (
    URI,
    Answer,
    CodingRequest,
    InvalidRequestError,
    PendingRequest,
    read_request,
    write_request,
)


def _documented() -> dict[str, Any]:
    blocks = re.findall(r"```json (\w+)\n(.*?)```", extension.__doc__ or "", re.DOTALL)
    return {name: json.decode_object(text) for name, text in blocks}


def test_the_documented_examples_are_true() -> None:
    shown = _documented()
    assert set(shown) == {"request", "event", "pending", "answer", "poll"}
    assert CodingRequest.model_validate(shown["request"]).to_json() == shown["request"]
    assert PendingRequest.model_validate(shown["pending"]).to_json() == shown["pending"]
    assert Answer.model_validate(shown["answer"]).choice == "allow"
    decode(shown["event"]["type"], shown["event"]["data"])
    for event in shown["poll"]["events"]:
        decode(event["type"], event["data"])


def test_a_request_survives_metadata_and_reaches_the_predecessors_agents_too() -> None:
    request = CodingRequest(cwd="/w", run_id="r", model="m", request_key="k")
    written = write_request(request)
    assert read_request(written) == request
    assert written["nanobot_orchestrator"] == {"cwd": "/w", "run_id": "r"}


def test_the_predecessors_metadata_is_understood() -> None:
    assert read_request({"nanobot_orchestrator": {"cwd": "/w", "other": 1}}).cwd == "/w"
    assert read_request({}) == CodingRequest()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"sandbox": "none"}, "sandbox"),
        ({"limits": {"deadline_s": -1}}, "limits.deadline_s"),
        ({"request_key": ""}, "request_key"),
        ({"labels": {"a b": "x"}}, "labels: a key takes letters, digits, '.', '_', '/', '-'"),
        ({"labels": {"a\n": "x"}}, "labels: a key takes"),
        ({"labels": {"a": "x\n"}}, "labels.a: a value takes no control characters"),
        ({"labels": {"a": "x" * 257}}, "labels.a: String should have at most 256 characters"),
        ({"labels": {str(n): "" for n in range(17)}}, "labels: Dictionary should have at most 16"),
        ({"nickname": "!"}, "nickname: takes letters, digits, spaces"),
        ([], "coding-run request"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(raw: Any, said: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(said)):
        read_request({URI: raw})
