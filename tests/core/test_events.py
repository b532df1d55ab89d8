"""Event values and their JSON: a round trip for every type."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from gateway.core.events import (
    EVENT_TYPES,
    AgentMessage,
    RunStarted,
    UnknownEventTypeError,
    decode,
    encode,
)

CONTRACT_TYPES = [
    "run_started",
    "status_changed",
    "agent_message",
    "message_added",
    "reasoning",
    "command_started",
    "command_updated",
    "command_finished",
    "file_changed",
    "tool_started",
    "tool_finished",
    "artifact_added",
    "todo_updated",
    "input_required",
    "auth_required",
    "rejected",
    "run_completed",
    "run_failed",
]

_SAMPLES: dict[str, Any] = {
    "str": "text",
    "str | None": "text",
    "int | None": 3,
    "JsonObject | None": {"a": 1},
    "list[JsonObject]": [{"a": 1}],
    "Any": {"b": [1, 2]},
    "HOW_RESOLVED | None": "answered",
}


def _sample(type_: str) -> dict[str, Any]:
    cls = EVENT_TYPES[type_]
    return {f.name: _sample_of(f.type) for f in fields(cls) if f.name != "extra"}


def _sample_of(annotation: Any) -> Any:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    for known, value in _SAMPLES.items():
        if name == known or str(annotation).replace("typing.", "") == known:
            return value
    if "dict" in str(annotation) and "list" in str(annotation):
        return [{"a": 1}]
    if "dict" in str(annotation):
        return {"a": 1}
    if "Literal" in str(annotation):
        return "answered"
    return 3 if "int" in str(annotation) else "text"


def test_the_types_are_the_contracts_eighteen() -> None:
    assert list(EVENT_TYPES) == CONTRACT_TYPES


@pytest.mark.parametrize("type_", CONTRACT_TYPES)
def test_what_is_encoded_is_decoded_again(type_: str) -> None:
    event = EVENT_TYPES[type_](**_sample(type_), extra={"vendor_key": [1, None], "n": 2**53 + 1})
    assert decode(type_, encode(event)) == event


def test_fields_that_are_none_are_absent_and_extra_keys_stay() -> None:
    assert encode(RunStarted(extra={"thread_id": None})) == {"thread_id": None}
    assert encode(AgentMessage(text="hi")) == {"text": "hi"}


def test_an_unknown_type_is_named() -> None:
    with pytest.raises(UnknownEventTypeError, match="'run_exploded'"):
        decode("run_exploded", {})


def test_a_missing_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="text"):
        decode("agent_message", {})


def test_events_are_values() -> None:
    event = AgentMessage(text="hi")
    with pytest.raises(FrozenInstanceError):
        event.text = "other"  # type: ignore[misc]
