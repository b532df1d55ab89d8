"""Splitting an event's data, and putting it back."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core import json
from gateway.core.characters import character_range, cut
from gateway.core.events import InputRequired
from gateway.core.extension import PendingRequest
from gateway.core.redact import (
    REFS,
    TRUNCATED,
    Limits,
    join,
    refs_of,
    relpath,
    split,
)
from tests.core.puppet import ME, stage

SMALL = Limits(text=100, output=200, event=600)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=9).filter(lambda key: key != REFS), values))
def test_what_was_split_is_joined_again(data: dict[str, Any]) -> None:
    parts = split(data, SMALL)
    assert join(parts.data, parts.payloads) == data


@given(st.dictionaries(st.text(max_size=9).filter(lambda key: key != REFS), values))
def test_nothing_is_stored_twice(data: dict[str, Any]) -> None:
    pointers = [payload.pointer for payload in split(data, SMALL).payloads]
    assert len(set(pointers)) == len(pointers)
    assert not any(other.startswith(f"{pointer}/") for pointer in pointers for other in pointers)


def test_small_data_stays_as_it_is() -> None:
    data = {"text": "hello", "list": [1, 2]}
    assert split(data, Limits()).data is data


def test_a_long_text_leaves_a_preview_and_the_facts_of_the_whole() -> None:
    parts = split({"text": "ä" * 5000, "n": 1}, Limits())
    assert parts.data["text"] == "ä" * 500 + TRUNCATED
    assert refs_of(parts.data)["/text"] == {
        "field_path": "/text",
        "mime": "text/plain",
        "encoding": "utf-8",
        "total_bytes": 10000,
        "total_chars": 5000,
        "chunk_count": 1,
        "truncated": True,
    }


def test_command_output_has_a_limit_of_its_own() -> None:
    parts = split({"output": "x" * 1500, "text": "y" * 1500}, Limits())
    assert [payload.pointer for payload in parts.payloads] == ["/text"]


def test_a_large_list_is_taken_whole_and_its_preview_holds_no_items() -> None:
    data = {"changes": [{"path": f"f{i}", "diff": "+x" * 40} for i in range(200)]}
    parts = split(data, Limits())
    assert parts.data["changes"] == {
        "artifact_summary": {"original_type": "array", "item_count": 200}
    }
    assert [payload.mime for payload in parts.payloads] == ["application/json"]


def test_a_large_object_names_its_first_keys() -> None:
    data = {"arguments": {f"k{i}": "v" * 90 for i in range(100)}}
    summary = split(data, Limits()).data["arguments"]["artifact_summary"]
    assert summary["key_count"] == 100
    assert summary["preview_keys"] == [f"k{i}" for i in range(8)]


def test_what_callers_branch_on_is_never_cut() -> None:
    data = {"command": "x" * 3000, "status": "y" * 900}
    assert split(data, Limits()).data == data


def test_a_command_larger_than_an_event_is_split_like_any_text() -> None:
    # A program handed over by a here-document made an event of its own size: every page that held
    # the event was as large.
    data = {"command": "cat > x <<EOF\n" + "y" * 1_000_000, "tool_use_id": "t-1"}
    parts = split(data, Limits())
    assert parts.data["command"].startswith("cat > x <<EOF\n")
    assert parts.data["tool_use_id"] == "t-1"
    assert len(json.encode(parts.data)) <= Limits().event
    assert join(parts.data, parts.payloads) == data


def request(number: int, **more: Any) -> dict[str, Any]:
    return {
        "request_id": f"r-{number}",
        "kind": "permission",
        "text": "Write a file?",
        "tool": "Write",
        "options": [{"id": "allow", "label": "Allow"}, {"id": "deny", "label": "Deny"}],
        **more,
    }


def test_a_large_tool_input_leaves_a_request_that_can_be_answered() -> None:
    # A permission to write 1 MB made a 1 MB event, and the next request repeated it.
    given = {"file_path": "/x/y.py", "content": "z" * 1_000_000}
    data = {"text": "Write a file?", "pending": [request(1, input=given), request(2)]}
    parts = split(data, Limits())
    first = parts.data["pending"][0]
    assert PendingRequest.model_validate(first).input
    assert first["input"]["file_path"] == "/x/y.py"
    assert first["options"] == request(1)["options"]
    assert parts.data["pending"][1] == request(2)
    assert list(refs_of(parts.data)) == ["/pending/0/input/content"]
    assert join(parts.data, parts.payloads) == data


def test_an_input_of_many_members_is_taken_whole() -> None:
    given = {f"k{i}": "v" * 90 for i in range(100)}
    data = {"text": "?", "pending": [request(1, input=given), request(2, input=given)]}
    parts = split(data, Limits())
    assert sorted(refs_of(parts.data)) == ["/pending/0/input", "/pending/1/input"]
    for left in parts.data["pending"]:
        assert PendingRequest.model_validate(left).input
        assert left["input"]["artifact_summary"]["key_count"] == 100
    assert len(json.encode(parts.data)) <= Limits().event
    assert join(parts.data, parts.payloads) == data


def test_a_question_keeps_what_it_is_answered_by() -> None:
    choices = [{"label": f"choice {i}", "description": "d" * 3000} for i in range(3)]
    question = {"id": "q", "question": "w" * 3000, "options": choices, "multi_select": True}
    data = {"text": "?", "pending": [request(1, kind="question", questions=[question])]}
    parts = split(data, Limits())
    left = PendingRequest.model_validate(parts.data["pending"][0]).questions[0]
    assert (left.id, left.multi_select) == ("q", True)
    assert [option.label for option in left.options] == ["choice 0", "choice 1", "choice 2"]
    assert sorted(refs_of(parts.data)) == [
        *(f"/pending/0/questions/0/options/{i}/description" for i in range(3)),
        "/pending/0/questions/0/question",
    ]
    assert join(parts.data, parts.payloads) == data


def test_an_event_of_many_middling_fields_comes_under_its_limit() -> None:
    data = {f"k{i}": "v" * 900 for i in range(40)}
    parts = split(data, Limits())
    body = {key: value for key, value in parts.data.items() if key != REFS}
    assert len(json.encode(body)) <= Limits().event
    assert join(parts.data, parts.payloads) == data


def test_keys_with_slashes_and_dots_do_not_collide() -> None:
    data = {"a": {"b": "x" * 2000}, "a/b": "y" * 2000, "a.b": "z" * 2000}
    parts = split(data, Limits())
    assert sorted(p.pointer for p in parts.payloads) == ["/a.b", "/a/b", "/a~1b"]
    assert join(parts.data, parts.payloads) == data


an_input: Any = st.dictionaries(st.text(max_size=9), values)
a_request: Any = st.fixed_dictionaries(
    {"request_id": st.text(max_size=5), "kind": st.just("permission"), "text": st.text()},
    optional={"input": an_input, "title": st.text()},
)


@given(st.lists(a_request, max_size=4), values)
def test_pending_requests_are_joined_again_and_keep_their_ids(pending: Any, more: Any) -> None:
    data = {"pending": pending, "more": more}
    parts = split(data, SMALL)
    assert join(parts.data, parts.payloads) == data
    assert [(r["request_id"], r["kind"]) for r in parts.data["pending"]] == [
        (r["request_id"], r["kind"]) for r in pending
    ]


@given(
    st.dictionaries(
        st.text("ab/~ü", max_size=4),
        st.text(st.characters(exclude_categories=["C"]), max_size=3)
        | st.integers(0, 60_000).map(lambda n: "ü" * n)
        | st.integers(0, 9_000).map(lambda n: [n] * n),
        max_size=8,
    )
)
@example({"": "", "a": [885] * 885, "aaaa": [99] * 99, "aaa/": [886] * 886})  # one byte too many
def test_an_event_of_few_members_is_within_its_limit_whatever_they_are(
    data: dict[str, Any],
) -> None:
    parts = split(data, Limits())
    assert len(json.encode(parts.data).encode()) <= Limits().event
    assert join(parts.data, parts.payloads) == data


def test_an_event_of_very_many_members_is_split_in_one_pass() -> None:
    # Each round measured every member anew: 5,000 of them took a minute.
    data = {f"k{i}": "v" * 400 for i in range(20_000)}
    parts = split(data, Limits())
    assert len(parts.payloads) == 20_000
    assert join(parts.data, parts.payloads) == data


@given(st.text(min_size=1), st.integers(4, 9))
def test_pieces_are_whole_characters_and_nothing_is_lost(text: str, size: int) -> None:
    content = text.encode()
    pieces = list(cut(content, size))
    assert b"".join(piece for _, piece in pieces) == content
    assert all(piece.decode() and len(piece) <= size for _, piece in pieces)
    assert all(content[at:].startswith(piece) for at, piece in pieces)


@pytest.mark.parametrize(
    ("start", "limit", "expected"),
    [(0, 2, (0, 2)), (1, 2, (2, 4)), (0, 1, (0, 2)), (0, 99, (0, 6)), (9, 5, (6, 6))],
)
def test_a_range_holds_whole_characters_and_at_least_one(
    start: int, limit: int, expected: tuple[int, int]
) -> None:
    assert character_range("äöü".encode(), start, limit) == expected


def test_the_manifest_path_is_the_contracts() -> None:
    assert relpath(8, "command_finished") == "artifacts/000008-command_finished/manifest.json"


async def test_the_row_of_a_waiting_run_stays_small(tmp_path: Path) -> None:
    # Every status change wrote a 1 MB tool input into the run's row again.
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        large = request(1, input={"content": "z" * 1_000_000})
        await puppet.say(InputRequired(text="Write a file?", pending=[large]))
        assert (await on.get(run)).pending[0].input == large["input"]
        page = await on.tasks.events(ME, run.id)
        assert len(page.events[-1].data) <= Limits().event
        assert (await on.tasks.whole(run, page.events[-1]))["pending"] == [large]
        with closing(sqlite3.connect(tmp_path / "runs.db")) as database:
            (stored,) = database.execute("SELECT pending FROM runs").fetchone()
        assert len(stored) <= Limits().event
        assert PendingRequest.model_validate(json.decode(stored)[0]).request_id == "r-1"
