"""What is published of the seven tools, against the contract."""

from typing import Any

import pytest
from mcp.types import Tool

from gateway.core import json
from mcp_bridge.catalog import INSTRUCTIONS, TOOLS
from tests.mcp_bridge.house import House

REFERENCE = {"run_id", "agent_name", "cwd"}
# Names, arguments and result keys that callers of the predecessor rely on.
CONTRACT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "spawn_run": (
        {"backend", "role", "cwd", "session_mode"},
        {"nickname", "prompt", "input_message", "session_id", "profile", "output_schema"}
        | {"metadata", "backend_config"},
        {"run_id", "backend", "role", "session_id", "agent_name", "status"},
    ),
    "get_run": (
        set(),
        REFERENCE,
        {"run_id", "backend", "role", "session_id", "agent_name", "status", "started_at"}
        | {"updated_at", "summary", "last_seq", "cwd", "metadata", "remote_ref"},
    ),
    "poll_events": (
        set(),  # after_seq is asked of one run; of several each has its own
        REFERENCE | {"after_seq", "limit", "wait_ms"},
        {"events"},  # and of one run its state, which several have each under `runs`
    ),
    "cancel_run": (set(), REFERENCE, {"run_id", "status", "cancelled_at"}),
    "continue_run": (set(), REFERENCE | {"input_message"}, {"run_id", "status"}),
    "list_runs": (set(), {"status", "backend", "cwd"}, {"runs"}),
    "get_event_artifact": (
        {"seq", "field_path"},
        REFERENCE | {"offset", "limit"},
        {"run_id", "seq", "field_path", "mime", "encoding", "relpath", "total_bytes", "offset"}
        | {"returned_bytes", "has_more", "content"},
    ),
}


def _published() -> dict[str, Tool]:
    return {tool.name: tool.published() for tool in TOOLS}


def test_names_arguments_and_results_are_those_of_the_contract() -> None:
    published = _published()
    assert list(published) == list(CONTRACT)
    for name, (required, optional, result) in CONTRACT.items():
        taken = published[name].input_schema
        assert set(taken.get("required", [])) == required, name
        assert set(taken["properties"]) >= required | optional, name
        given: dict[str, Any] = published[name].output_schema or {}
        assert set(given["required"]) >= result, name


def test_limits_and_defaults_are_those_of_the_contract() -> None:
    published = _published()
    poll = published["poll_events"].input_schema["properties"]
    assert [poll["limit"][key] for key in ("minimum", "maximum")] == [1, 1000]
    assert [poll["wait_ms"][key] for key in ("minimum", "maximum")] == [0, 30_000]
    piece = published["get_event_artifact"].input_schema["properties"]
    assert [piece["limit"][key] for key in ("minimum", "maximum")] == [1, 262_144]
    fields = {tool.name: tool.arguments.model_fields for tool in TOOLS}
    assert fields["poll_events"]["limit"].default == 100
    assert fields["poll_events"]["wait_ms"].default == 20_000
    assert fields["get_event_artifact"]["offset"].default == 0
    assert fields["get_event_artifact"]["limit"].default == 65_536


@pytest.mark.promise("catalog.size")
def test_the_tools_leave_room_in_the_callers_context() -> None:
    published = [
        {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
        for tool in _published().values()
    ]
    assert len(json.encode(published).encode()) < 8192
    assert len(INSTRUCTIONS) < 1500


def test_schemas_are_closed_and_hold_no_noise() -> None:
    for tool in _published().values():
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        text = json.encode([tool.input_schema, tool.output_schema])
        assert [word for word in ("$ref", "$defs", '"title"', '"default"') if word in text] == []


@pytest.mark.promise("catalog.true")
def test_annotations_are_true() -> None:
    hints = {
        name: (
            tool.annotations.read_only_hint,
            tool.annotations.destructive_hint,
            tool.annotations.idempotent_hint,
            tool.annotations.open_world_hint,
        )
        for name, tool in _published().items()
        if tool.annotations is not None
    }
    assert hints == {
        "spawn_run": (False, False, False, True),
        "get_run": (True, None, True, False),
        "poll_events": (True, None, True, True),
        "cancel_run": (False, True, True, False),
        "continue_run": (False, False, False, True),
        "list_runs": (True, None, True, False),
        "get_event_artifact": (True, None, True, True),
    }


@pytest.mark.promise("catalog.seven")
async def test_a_client_sees_the_catalog_and_nothing_else(caller: House) -> None:
    listed = (await caller.client.list_tools()).tools
    assert [tool.name for tool in listed] == list(CONTRACT)
    assert listed[0].meta == {"anthropic/alwaysLoad": True}
    assert caller.client.instructions == INSTRUCTIONS
    offered = caller.client.server_capabilities
    assert offered.tools is not None
    assert not offered.tools.list_changed
    assert (offered.prompts, offered.logging, offered.completions) == (None, None, None)
