"""What is as large as it may be is taken, a byte more is refused with the limit and what to do."""

import base64

import pytest

from gateway.core import json
from gateway.core.bounds import DATA_MAX, TEXT_MAX
from gateway.core.events import RunCompleted
from gateway.core.json import JsonObject
from gateway.core.store.live import ENDED_CHARS
from mcp_bridge.values import DEPTH_MAX, VALUES_MAX
from tests.core.puppet import ME
from tests.mcp_bridge.house import House


@pytest.mark.promise("spawn.large")
async def test_a_prompt_may_have_8_mib_and_not_a_byte_more(one: House) -> None:
    for text in ("x" * TEXT_MAX, "ü" * (TEXT_MAX // 2)):
        _, puppet = await one.begin(prompt=text)
        assert puppet.run.message.text == text
        said = await one.refused("spawn_run", **one.task(prompt=text + "y"))
        assert f"prompt has {TEXT_MAX + 1} bytes, a text has at most {TEXT_MAX}" in said
        assert "put it into a file in cwd and say its path" in said
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": text + "y"}]
        task = one.task(prompt=None, input_message={"parts": parts})
        assert f"parts[1].text has {TEXT_MAX + 1} bytes" in await one.refused("spawn_run", **task)


async def test_what_is_said_to_a_run_has_the_same_bound(one: House) -> None:
    run_id, puppet = await one.begin()
    await one.call("continue_run", run_id=run_id, text="x" * TEXT_MAX)
    said = await one.refused("continue_run", run_id=run_id, text="x" * (TEXT_MAX + 1))
    assert f"text has {TEXT_MAX + 1} bytes" in said
    assert [len(text) for _, text in puppet.heard] == [TEXT_MAX]
    await puppet.ask("q")
    answer = {"request_id": "q", "message": "x" * DATA_MAX}
    assert f"it may have {DATA_MAX}" in await one.refused(
        "continue_run", run_id=run_id, answer=answer
    )


async def test_files_may_be_larger_than_texts(one: House) -> None:
    raw = base64.b64encode(b"x" * TEXT_MAX).decode()
    part = {"type": "file", "bytes_base64": raw, "name": "a.bin"}
    _, puppet = await one.begin(prompt="see the file", input_message={"parts": [part]})
    assert puppet.run.message.length == len(raw) + len("see the file")


async def test_metadata_data_and_their_shape_are_bounded(one: House) -> None:
    room = DATA_MAX - len(json.encode({"a": ""}))
    await one.call("spawn_run", **one.task(metadata={"a": "x" * room}))
    for name, value, says in (
        ("metadata", {"a": "x" * (room + 1)}, f"metadata has {DATA_MAX + 1} characters as JSON"),
        ("metadata", {"a": [0] * VALUES_MAX}, f"more than {VALUES_MAX} values"),
        ("output_schema", _nested(DEPTH_MAX + 1), f"nested deeper than {DEPTH_MAX} levels"),
        ("input_message", _data({"a": "x" * DATA_MAX}), f"they may have {DATA_MAX}"),
        ("input_message", {"parts": [_TEXT] * 257}, "at most 256 parts, got 257"),
        ("input_message", {"parts": [_TEXT] * 10_000}, "more than 20000 values"),
    ):
        said = await one.refused("spawn_run", **one.task(**{name: value}))
        assert says in said
        assert name in said
    await one.call("spawn_run", **one.task(output_schema=_nested(DEPTH_MAX)))
    await one.call("spawn_run", **one.task(input_message={"parts": [_TEXT] * 256}))


_TEXT: JsonObject = {"type": "text", "text": "x"}


def _data(value: JsonObject) -> JsonObject:
    return {"parts": [{"type": "data", "data": value}]}


def _nested(levels: int) -> JsonObject:
    value: JsonObject = {}
    for _ in range(levels):
        value = {"a": value}
    return value


async def test_lists_and_memory_do_not_grow_with_what_runs_were_told(one: House) -> None:
    """Twenty runs of 5 MB made a page of the list read 100 MB, and all of them stayed in memory."""
    log = one.puppets.tasks.log
    runs: list[str] = []
    for _ in range(6):
        run_id, puppet = await one.begin(prompt="x" * TEXT_MAX)
        await puppet.end(RunCompleted(final_response="done"))
        await one.ended(run_id)
        runs.append(run_id)
    kept = [run for run_id in runs if (run := log.known(run_id)) is not None]
    assert 0 < sum(run.message.length for run in kept) <= ENDED_CHARS
    listed = await one.call("list_runs")
    assert [run["run_id"] for run in listed["runs"]] == runs[::-1]
    assert len(json.encode(listed)) < 8192
    oldest = await one.puppets.tasks.get(ME, runs[0])  # from the database
    assert oldest.message.length == TEXT_MAX
    assert (await one.call("get_run", run_id=runs[0]))["result"]["final_response"] == "done"


@pytest.mark.promise("answer.size")
async def test_no_metadata_makes_an_answer_larger_than_asked_for(one: House) -> None:
    """A run with ten thousand members in its metadata made every answer about it 300 KB."""
    for metadata in (
        {f"key{n}": "v" for n in range(10_000)},
        {"k" * 5000 + str(n): n for n in range(20)},
        {f"key{n}": {"a": "x" * 90} for n in range(1000)},
        {"list": [{"a": "x" * 500}] * 800},
    ):
        run_id = (await one.call("spawn_run", **one.task(metadata=metadata)))["run_id"]
        await one.puppet(run_id)
        shown = await one.call("get_run", run_id=run_id)
        assert shown["run_id"] == run_id
        assert len(json.encode(shown).encode()) <= 8192
        listed = await one.call("list_runs")
        assert len(json.encode(listed).encode()) <= 8192
        assert listed["runs"][0]["run_id"] == run_id
