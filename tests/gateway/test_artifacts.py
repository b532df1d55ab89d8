"""Artifacts as foreign agents send them: whole, in chunks, again, appended to late, without end."""

from typing import Any

import pytest

from gateway.core.events import ArtifactAdded
from gateway.driving.foreign import artifacts
from gateway.driving.foreign.artifacts import Artifacts, TooManyArtifactsError

Json = dict[str, Any]


def made(text: str, name: str = "a") -> Json:
    return {"artifactId": name, "parts": [{"text": text}]}


def texts(found: list[ArtifactAdded]) -> list[tuple[str, str | None]]:
    return [(event.artifact_id, event.text) for event in found]


def chunk(into: Artifacts, text: str, name: str = "a", **flags: bool) -> list[tuple[str, Any]]:
    return texts(into.take({"artifact": made(text, name), **flags}))


def test_two_artifacts_whose_chunks_alternate_are_two() -> None:
    read = Artifacts()
    told = [
        *chunk(read, "a1", "a"),
        *chunk(read, "b1", "b"),
        *chunk(read, "a2", "a", append=True),
        *chunk(read, "b2", "b", append=True),
        *chunk(read, "a3", "a", append=True, lastChunk=True),
        *texts(read.flush()),
    ]
    assert told[-2:] == [("a", "a1a2a3"), ("b", "b1b2")]
    assert len(told) <= 4, "each is told again at most once"


def test_one_that_is_replaced_is_told_again_and_one_that_is_repeated_is_not() -> None:
    read = Artifacts()
    assert chunk(read, "one", lastChunk=True) == [("a", "one")]
    assert chunk(read, "one", lastChunk=True) == []
    assert chunk(read, "two", lastChunk=True) == [("a", "two")]


def test_one_that_is_appended_to_after_its_end_is_told_whole() -> None:
    read = Artifacts()
    chunk(read, "one", lastChunk=True)
    assert chunk(read, " more", append=True, lastChunk=True) == [("a", "one more")]


def test_one_of_which_the_beginning_is_not_kept_is_told_as_a_piece() -> None:
    # Another process told it before the restart, and the agent goes on appending.
    read = Artifacts({"a": "0" * 16})
    [event] = read.take({"artifact": made(" more"), "append": True, "lastChunk": True})
    assert (event.text, event.extra.get("append")) == (" more", True)


def test_one_without_end_is_told_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "HELD_MAX", 1_000)
    monkeypatch.setattr(artifacts, "KEPT_MAX", 500)
    read = Artifacts()
    told = [pair for _ in range(50) for pair in chunk(read, "x" * 100, append=True)]
    told += texts(read.flush())
    assert "".join(text or "" for _, text in told) == "x" * 5_000


def test_a_servers_chunks_side_by_side_are_the_text_that_was_streamed() -> None:
    # The SDK's server keeps each appended chunk as a part of its own.
    read = Artifacts()
    chunk(read, "one ")
    chunk(read, "two", append=True, lastChunk=True)
    shown = {"artifactId": "a", "parts": [{"text": "one "}, {"text": "two"}]}
    assert read.snapshot([shown], final=True) == []


def test_the_last_artifact_of_a_task_at_work_may_go_on() -> None:
    read = Artifacts()
    shown = [made("done", "a"), made("half", "b")]
    assert texts(read.snapshot(shown, final=False)) == [("a", "done")]
    assert chunk(read, " and half", "b", append=True, lastChunk=True) == [("b", "half and half")]


def test_there_is_an_end_to_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "ARTIFACTS_MAX", 10)
    read = Artifacts({f"a-{n}": "" for n in range(9)})
    chunk(read, "x", "a-10", lastChunk=True)
    with pytest.raises(TooManyArtifactsError):
        chunk(read, "x", "a-11", lastChunk=True)


def test_an_endless_name_is_cut_and_stays_unlike_others() -> None:
    read = Artifacts()
    [(one, _)] = chunk(read, "x", "n" * 5_000, lastChunk=True)
    [(two, _)] = chunk(read, "x", "n" * 5_001, lastChunk=True)
    assert one != two
    assert len(one) == len(two) == artifacts.ID_MAX
