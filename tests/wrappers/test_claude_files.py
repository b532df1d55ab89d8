"""What Claude Code's tools and commands did to files, as changes with diffs."""

from typing import Any

import pytest

from gateway.core.events import FileChanged
from gateway.core.json import JsonObject
from wrappers.claude.files import COMPARED_MAX, changed_by_command, changed_by_tool

BY = {"tool_use_id": "t-1", "parent_tool_use_id": "t-0"}


def change_of(tool: str, given: JsonObject, text: str = "", **details: Any) -> JsonObject:
    (event,) = changed_by_tool(tool, given, text, details, BY)
    assert isinstance(event, FileChanged)
    assert event.extra == BY
    (change,) = event.changes
    return change


def written(content: str) -> JsonObject:
    return change_of("Write", {}, type="create", filePath="/w/a", content=content)


@pytest.mark.parametrize(
    ("content", "diff"),
    [
        ("one\ntwo\n", "@@ -0,0 +1,2 @@\n+one\n+two\n"),
        ("one", "@@ -0,0 +1 @@\n+one\n\\ No newline at end of file\n"),
        ("-- a\n++ b\n", "@@ -0,0 +1,2 @@\n+-- a\n+++ b\n"),
        # A form feed and a line separator are characters of a line, no ends of one.
        ("a\x0cb\u2028c\n", "@@ -0,0 +1 @@\n+a\x0cb\u2028c\n"),
    ],
)
def test_a_new_file_is_all_added_lines(content: str, diff: str) -> None:
    assert written(content) == {"path": "/w/a", "kind": "add", "diff": diff}


def test_an_empty_new_file_has_no_diff() -> None:
    assert written("") == {"path": "/w/a", "kind": "add"}


def test_an_edits_hunks_are_its_diff() -> None:
    hunk = {"oldStart": 4, "oldLines": 2, "newStart": 4, "newLines": 1, "lines": [" a", "-b"]}
    change = change_of("Edit", {}, filePath="/w/a", structuredPatch=[hunk])

    assert change == {"path": "/w/a", "kind": "update", "diff": "@@ -4,2 +4,1 @@\n a\n-b\n"}


def test_a_notebooks_diff_is_that_of_its_file() -> None:
    change = change_of(
        "NotebookEdit",
        {},
        notebook_path="/w/n",
        original_file='{\n"a": 1\n}',
        updated_file='{\n"a": 2\n}',
    )

    assert change["kind"] == "update"
    assert '-"a": 1\n+"a": 2\n' in change["diff"]


def test_what_is_too_much_to_compare_is_named_without_a_diff() -> None:
    change = change_of(
        "NotebookEdit", {}, notebook_path="/w/n", original_file="", updated_file="x" * COMPARED_MAX
    )
    assert "diff" in change
    change = change_of(
        "NotebookEdit", {}, notebook_path="/w/n", original_file="y", updated_file="x" * COMPARED_MAX
    )
    assert change == {"path": "/w/n", "kind": "update"}


# The result of a sub-agent's tool says nothing but its text.
@pytest.mark.parametrize(
    ("tool", "given", "text", "change"),
    [
        (
            "Write",
            {"content": "a\n"},
            "File created successfully at: /w/a",
            {"kind": "add", "diff": "@@ -0,0 +1 @@\n+a\n"},
        ),
        ("Write", {"content": "a\n"}, "The file /w/a has been updated", {"kind": "update"}),
        (
            "Edit",
            {"old_string": "one", "new_string": "1\n2"},
            "updated",
            {"kind": "update", "diff": "@@ -1 +1,2 @@\n-one\n+1\n+2\n"},
        ),
        (
            "Edit",
            {"old_string": "", "new_string": "1"},
            "updated",
            {"kind": "update", "diff": "@@ -0,0 +1 @@\n+1\n"},
        ),
    ],
)
def test_a_sub_agents_change_is_known_by_its_input(
    tool: str, given: JsonObject, text: str, change: JsonObject
) -> None:
    assert change_of(tool, {"file_path": "/w/a", **given}, text) == {"path": "/w/a", **change}


def test_a_sub_agents_notebook_is_named() -> None:
    assert change_of("NotebookEdit", {"notebook_path": "/w/n"}) == {
        "path": "/w/n",
        "kind": "update",
    }


def test_a_change_without_a_path_is_none() -> None:
    assert changed_by_tool("Write", {}, "", {}, {}) == []


def test_a_command_adds_updates_and_deletes_and_names_what_is_too_much_to_show() -> None:
    hunk = {"oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-a", "+b"]}
    files: list[JsonObject] = [
        {"filePath": "/w/new", "created": True, "hunks": []},
        {"filePath": "/w/old", "hunks": [hunk]},
        {"filePath": "/w/gone", "deleted": True, "hunks": []},
    ]
    seen: JsonObject = {"files": files, "moreFiles": 1, "changedFiles": ["/w/old", "/w/sixth"]}
    (event,) = changed_by_command({"bashEditDiff": seen}, BY)

    assert isinstance(event, FileChanged)
    assert event.extra == BY
    assert event.changes == [
        {"path": "/w/new", "kind": "add"},
        {"path": "/w/old", "kind": "update", "diff": "@@ -1,1 +1,1 @@\n-a\n+b\n"},
        {"path": "/w/gone", "kind": "delete"},
        {"path": "/w/sixth", "kind": "update"},
    ]


@pytest.mark.parametrize("details", [{}, {"bashEditDiff": {"files": [], "unavailable": True}}])
def test_a_command_that_changed_nothing_is_no_event(details: JsonObject) -> None:
    assert changed_by_command(details, BY) == []
