"""Splitting an event's data, and putting it back."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import json
from gateway.core.redact import (
    REFS,
    TRUNCATED,
    Limits,
    character_range,
    cut,
    join,
    refs_of,
    relpath,
    split,
)

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
    data = {"command": "x" * 3000, "status": "y" * 1200}
    assert split(data, Limits()).data == data


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
