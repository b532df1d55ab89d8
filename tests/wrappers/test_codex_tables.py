"""Our tables of Codex's names against the schema that the binary itself prints."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gateway.core.extension import CodingRequest
from tests.conftest import built_environment
from tests.models.codex_program import codex_program
from wrappers.codex import client, events, items, notices, outcome, requests, terms


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schema")
    subprocess.run(
        [codex_program(), "app-server", "generate-json-schema", "--experimental", "--out", folder],
        env=built_environment(folder / "home"),
        check=True,
        capture_output=True,
    )
    return folder


def read(folder: Path, name: str) -> dict[str, Any]:
    return json.loads((folder / name).read_text("utf-8"))


def methods(folder: Path, name: str) -> set[str]:
    return {case["properties"]["method"]["enum"][0] for case in read(folder, name)["oneOf"]}


def test_every_notification_is_handled_or_known_to_mean_nothing(schema: Path) -> None:
    known = events.HANDLED | set(notices.HANDLED) | notices.IGNORED
    there = methods(schema, "ServerNotification.json")
    unknown = {
        method for method in there - known if not method.startswith(notices.IGNORED_PREFIXES)
    }
    assert not unknown
    assert known <= there
    assert set(client.QUIET) <= there


def test_every_request_is_answered_or_refused_on_purpose(schema: Path) -> None:
    assert methods(schema, "ServerRequest.json") == set(requests.METHODS) | requests.REFUSED


def test_every_item_has_its_event(schema: Path) -> None:
    definitions = read(schema, "ServerNotification.json")["definitions"]
    there = {case["properties"]["type"]["enum"][0] for case in definitions["ThreadItem"]["oneOf"]}
    assert there == items.ITEM_TYPES


def test_every_error_kind_has_its_reason(schema: Path) -> None:
    info = read(schema, "ServerNotification.json")["definitions"]["CodexErrorInfo"]
    there: set[str] = set()
    for case in info["anyOf"]:
        there |= set(case.get("enum", ())) | set(case.get("required", ()))
    assert there <= set(outcome.REASONS)


def test_every_status_has_our_name(schema: Path) -> None:
    definitions = read(schema, "ServerNotification.json")["definitions"]
    for name in ("CommandExecutionStatus", "PatchApplyStatus", "McpToolCallStatus"):
        assert set(definitions[name]["enum"]) <= set(items.STATUSES)
    for name in ("DynamicToolCallStatus", "CollabAgentToolCallStatus"):
        assert set(definitions[name]["enum"]) <= set(items.STATUSES)
    assert set(definitions["TurnPlanStepStatus"]["enum"]) == set(notices.STEP_STATUSES)
    assert set(definitions["TokenUsageBreakdown"]["properties"]) == set(outcome.USAGE)


def test_every_value_of_a_request_has_its_counterpart() -> None:
    fields = CodingRequest.model_json_schema()["properties"]
    modes = {"permission_mode": terms.APPROVALS, "sandbox": terms.SANDBOXES}
    for name, table in {**modes, "env_policy": terms.INHERIT}.items():
        assert set(fields[name]["anyOf"][0]["enum"]) == set(table)
