"""What a task shows is read from the end, in one look at the database or none."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.events import AgentMessage, ArtifactAdded, InputRequired, Reasoning
from gateway.core.store.engine import Engine
from gateway.core.store.entry import Recorded
from gateway.core.store.history import Wanted, choose_shown
from tests.core.faces import Served, served
from tests.core.puppet import ME, Stage, stage

PENDING = {"request_id": "q", "kind": "question", "text": "which?"}


@contextmanager
def reads_of(on: Served | Stage, monkeypatch: pytest.MonkeyPatch) -> Generator[list[object]]:
    """Every look at the database while the block runs."""
    engine: Engine = on.tasks.log._engine  # pyright: ignore[reportPrivateUsage]
    read, counted = engine.read, list[object]()

    def counting(operation: Any) -> Any:
        counted.append(operation)
        return read(operation)

    with monkeypatch.context() as patched:
        patched.setattr(engine, "read", counting)
        yield counted


async def test_a_blocking_send_and_a_look_at_its_task_read_nothing_from_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(tmp_path) as on:
        with reads_of(on, monkeypatch) as counted:
            task = await on.send("say hi; artifact a b; finish ok")
            got = await on.rpc("GetTask", {"id": task["id"]})
    assert got["result"] == task
    assert len(task["history"]) == 2
    assert counted == []


async def test_a_page_of_tasks_takes_one_look_however_many_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each task that waits shows its question, which used to be a read a task."""
    async with served(tmp_path) as on:
        for number in range(4):
            await on.send(f"count 70; ask {number}?")  # more than stays in memory
        await on.send("finish ok")
        with reads_of(on, monkeypatch) as counted:
            page = (await on.rpc("ListTasks", {}))["result"]
        assert len(counted) == 2, "the page, and the questions"
        states = [task["status"]["state"] for task in page["tasks"]]
        assert states == ["TASK_STATE_COMPLETED"] + ["TASK_STATE_INPUT_REQUIRED"] * 4
        asked = [task["status"]["message"]["parts"][0]["text"] for task in page["tasks"][1:]]
        assert asked == ["3?", "2?", "1?", "0?"], "who changed last is first"
        assert not any("history" in task for task in page["tasks"])


WANTED: list[Wanted] = [  # `upto` 0: to the last
    Wanted(run_id="", upto=0, messages=3),
    Wanted(run_id="", upto=0, messages=200),
    Wanted(run_id="", upto=0, asking=True),
    Wanted(run_id="", upto=0, messages=1, asking=True),
    Wanted(run_id="", upto=0, artifacts=(4, 9)),
    Wanted(run_id="", upto=0, messages=2, artifacts=(4,), asking=True),
    Wanted(run_id="", upto=8, messages=5),
]


@pytest.mark.parametrize("want", WANTED)
async def test_the_database_tells_the_same_as_memory(tmp_path: Path, want: Wanted) -> None:
    async with stage(tmp_path) as on:
        run, puppet = await on.begin()
        for number in range(5):
            await puppet.say(
                AgentMessage(text=f"say {number}"),
                Reasoning(text="hm"),
                ArtifactAdded(artifact_id=f"a{number}", parts=[{"text": "x"}]),
            )
        await puppet.say(InputRequired(text="which?", pending=[PENDING]))
        await puppet.say(*(Reasoning(text="and") for _ in range(80)), AgentMessage(text="last"))
        run = await on.get(run)
        wanted = replace(want, run_id=run.id, upto=want.upto or run.last_seq)
        every: list[Recorded] = []
        while len(every) < run.last_seq:
            every += await on.tasks.log.read(run.id, len(every), 50)
        assert len(every) == run.last_seq > 64
        found = (await on.tasks.log.shown([wanted]))[run.id]
        assert found == choose_shown(every, wanted)
        assert found
        await on.tasks.cancel(ME, run.id)


async def test_a_history_too_large_for_one_answer_is_its_newest_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.core.face.spoken.HISTORY_MAX", 100_000)
    async with served(tmp_path) as on:
        task = await on.send("big 60000; big 50000; big 40000; say bye")
    lengths = [len(message["parts"][0]["text"]) for message in task["history"]]
    assert lengths[-3:] == [50_000, 40_000, 3]
    assert len(lengths) == 4, "the first message is kept with the run"
