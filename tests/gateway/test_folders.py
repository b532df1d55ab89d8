"""Run folders: the files of the contract, beside the log and never in its way."""

import errno
import logging
import os
import re
import stat
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core import json
from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    CommandFinished,
    Event,
    RunCompleted,
    RunFailed,
    ToolFinished,
)
from gateway.core.extension import CodingRequest, Profile
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.store.retention import sweep_oldest
from gateway.folders import follower as following
from gateway.folders import gathered, journal, projection, troubles
from gateway.folders.directory import Directory, write_all
from gateway.folders.follower import Follower, run_folders
from gateway.folders.payload_files import file_bases
from mcp_bridge.runs.views import event_view
from tests.core.puppet import ME, Puppet, Stage, stage

PATIENCE_S = 30.0
DONE = RunCompleted(final_response="done", usage={"input_tokens": 3})


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A task server whose runs work in `project`."""

    stage: Stage
    follower: Follower
    project: Path

    @property
    def root(self) -> Path:
        return self.project / ".nanobot-orchestrator"

    def folder(self, run: Run) -> Path:
        return self.root / "runs" / run.id

    async def begin(self, **more: Any) -> tuple[Run, Puppet]:
        request = CodingRequest(cwd=more.pop("cwd", str(self.project)), **more.pop("asked", {}))
        return await self.stage.begin(request=request, backend="codex", **more)

    async def play(self, *events: Event, **more: Any) -> Run:
        """A run of these events, and its folder as it is then."""
        run, puppet = await self.begin(**more)
        await puppet.end(*events, DONE)
        await self.written()
        return await self.stage.get(run)

    async def written(self) -> None:
        with anyio.fail_after(PATIENCE_S):
            await self.follower.settle()

    async def views(self, run: Run) -> list[JsonObject]:
        """Every event as poll_events shows it."""
        page = await self.stage.tasks.events(ME, run.id, limit=100_000)
        return [dict(event_view(page.run, event)) for event in page.events]

    async def agrees(self, run: Run) -> None:
        """The folder says what the log says."""
        assert lines(self.folder(run)) == await self.views(run)
        shown = read(self.folder(run) / "run.json")
        now = await self.stage.get(run)
        assert (shown["lastSeq"], shown["status"]) == (now.last_seq, now.status)


@asynccontextmanager
async def desk(
    tmp_path: Path, here: Callable[[str], bool] = lambda _name: True, **settings: Any
) -> AsyncGenerator[Desk]:
    project = tmp_path / "project"
    project.mkdir(exist_ok=True)
    async with (
        stage(tmp_path, **settings) as running,
        run_folders(running.tasks.log, here=here, note=tmp_path / "folders.json") as follower,
    ):
        yield Desk(stage=running, follower=follower, project=project)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncGenerator[Desk]:
    async with desk(tmp_path) as made:
        yield made


def read(path: Path) -> Any:
    return json.decode(path.read_bytes())


def lines(folder: Path) -> list[JsonObject]:
    text = (folder / "events.jsonl").read_bytes()
    return [json.decode_object(line) for line in text.removesuffix(b"\n").split(b"\n")]


def everything_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# -- the files -------------------------------------------------------------------------------


async def test_a_run_leaves_the_files_and_keys_of_the_contract(here: Desk) -> None:
    asked = {"role": "reviewer", "profile": Profile(source="careful.md", text="Be careful.")}
    run = await here.play(AgentMessage(text="hello"), asked=asked, metadata={"ticket": 7})
    shown = read(here.folder(run) / "run.json")
    assert list(shown) == [
        "runId",
        "backend",
        "role",
        "sessionId",
        "agentName",
        "status",
        "cwd",
        "prompt",
        "profile",
        "metadata",
        "remoteRef",
        "startedAt",
        "updatedAt",
        "completedAt",
        "lastSeq",
        "summary",
        "result",
        "error",
    ]
    assert (shown["runId"], shown["sessionId"]) == (run.id, run.context_id)
    assert (shown["status"], shown["lastSeq"], shown["prompt"]) == ("completed", 3, "go")
    assert (shown["profile"], shown["metadata"]) == ("careful.md", {"ticket": 7})
    result = {"finalResponse": "done", "usage": {"input_tokens": 3}}
    assert shown["result"] == read(here.folder(run) / "result.json") == result
    session = read(here.root / "sessions" / f"{run.context_id}.json")
    assert list(session) == [
        "sessionId",
        "backend",
        "cwd",
        "agentName",
        "backendSessionId",
        "remoteRef",
        "createdAt",
        "updatedAt",
        "metadata",
    ]
    assert session["agentName"] == shown["agentName"]
    await here.agrees(run)


async def test_a_failed_run_says_why(here: Desk) -> None:
    run, puppet = await here.begin()
    await puppet.end(RunFailed(message="out of luck", reason="model_error"))
    await here.written()
    shown = read(here.folder(run) / "run.json")
    assert (shown["status"], shown["error"], shown["result"]) == ("failed", "out of luck", None)
    assert read(here.folder(run) / "result.json") is None


async def test_a_run_that_works_is_shown_as_it_is(here: Desk) -> None:
    run, puppet = await here.begin()
    await puppet.say(AgentMessage(text="at it"))
    await here.written()
    shown = read(here.folder(run) / "run.json")
    assert (shown["status"], shown["completedAt"], shown["summary"]) == ("running", None, "at it")
    assert not (here.folder(run) / "result.json").exists()
    await puppet.ask("q-1")
    await here.written()
    assert read(here.folder(run) / "run.json")["status"] == "input_required"
    await here.agrees(run)


async def test_the_session_shows_what_its_agent_calls_it(here: Desk) -> None:
    run, puppet = await here.begin()
    await here.written()
    path = here.root / "sessions" / f"{run.context_id}.json"
    assert read(path)["backendSessionId"] is None
    await puppet.writer.emit(AgentMessage(text="x"), backend_session_id="vendor-1")
    await puppet.writer.flush()
    await here.written()
    assert read(path)["backendSessionId"] == "vendor-1"


async def test_a_session_with_a_name_that_is_no_file_name_stays_in_its_folder(here: Desk) -> None:
    run = await here.play(context_id="../../escape/é")
    (session,) = (here.root / "sessions").iterdir()
    assert read(session)["sessionId"] == run.context_id
    assert everything_below(here.project.parent).isdisjoint({"escape"})


async def test_nobody_else_can_read_a_run_folder_and_git_does_not_see_it(here: Desk) -> None:
    await here.play(CommandFinished(output="x" * 10_000))
    for path in [here.root, *here.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert (here.root / ".gitignore").read_text(encoding="utf-8") == "*\n"


async def test_a_line_of_the_file_is_one_event_for_every_reader(here: Desk) -> None:
    text = "one\u2028two\u2029three\x85four\nfive \N{SNOWMAN}"
    run = await here.play(AgentMessage(text=text))
    content = (here.folder(run) / "events.jsonl").read_text(encoding="utf-8")
    assert len(content.splitlines()) == 3
    assert lines(here.folder(run))[1]["data"]["text"] == text
    await here.agrees(run)


async def test_what_is_masked_in_the_log_is_masked_in_the_folder(here: Desk) -> None:
    token = "ghp_" + "a1B2" * 9
    run = await here.play(AgentMessage(text=f"key {token}"), asked={}, metadata={"k": token})
    for path in here.root.rglob("*.json*"):
        assert token not in path.read_text(encoding="utf-8")
    await here.agrees(run)


# -- payloads --------------------------------------------------------------------------------


def payloads_of(folder: Path, event: JsonObject) -> dict[str, str]:
    """Each split field of an event, put together from the files that its references name."""
    whole: dict[str, str] = {}
    for pointer, ref in event["data"]["artifact_refs"].items():
        manifest = folder / ref["relpath"]
        entry = read(manifest)["fields"][pointer]
        assert {key: entry[key] for key in ref} == ref
        assert len(entry["chunks"]) == ref["chunk_count"]
        pieces = [manifest.parent / chunk["file"] for chunk in entry["chunks"]]
        for piece, chunk in zip(pieces, entry["chunks"], strict=True):
            assert piece.stat().st_size == chunk["bytes"] <= 64 * 1024
        whole[pointer] = "".join(piece.read_text(encoding="utf-8") for piece in pieces)
    return whole


async def test_a_split_field_is_found_where_its_reference_says(here: Desk) -> None:
    output = "é\N{SNOWMAN}" * 60_000  # no border of 64 KB is one of characters
    run = await here.play(CommandFinished(command="make", output=output))
    event = lines(here.folder(run))[1]
    assert payloads_of(here.folder(run), event) == {"/output": output}
    names = sorted(p.name for p in (here.folder(run) / "artifacts").glob("*/*"))
    assert names[0] == "manifest.json"
    assert names[1:3] == ["output.0001.txt", "output.0002.txt"]
    (kept,) = (here.folder(run) / "artifacts").iterdir()
    assert kept.name == "000002-command_finished"


async def test_fields_whose_names_look_alike_have_files_of_their_own(here: Desk) -> None:
    # The predecessor wrote `/a/b` and `/a.b` to one file: the second took the place of the first.
    run = await here.play(ToolFinished(tool="t", extra={"a": {"b": "1" * 3000}, "a.b": "2" * 3000}))
    found = payloads_of(here.folder(run), lines(here.folder(run))[1])
    assert found == {"/a/b": "1" * 3000, "/a.b": "2" * 3000}


def test_every_pointer_has_a_file_name_of_its_own() -> None:
    plain = {"/stdout": "stdout", "/input/content": "input.content", "/a_b": "a_b"}
    assert file_bases(list(plain)) == plain
    alike = ["/a/b", "/a.b", "/A.b", "/a~1b", "/", "/.", "/..", "/.x", "/é", "/ü", "/" + "x" * 500]
    named = file_bases(alike)
    assert len({name.casefold() for name in named.values()}) == len(alike)
    assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,120}", n) for n in named.values())
    # A field may be called what another one's name would become.
    taken = [*alike, "/" + named["/a.b"]]
    assert len(set(file_bases(taken).values())) == len(taken)
    assert file_bases(alike[::-1]) == named


async def test_a_payload_lies_in_one_place(here: Desk) -> None:
    # 200 KB took the predecessor three copies in the event and three more in the result.
    parts = [{"text": "p" * 200_000}, {"data": {"n": 1}}]
    run = await here.play(ArtifactAdded(artifact_id="a-1", name="report", parts=parts))
    sizes = sum(p.stat().st_size for p in here.root.rglob("*") if p.is_file())
    assert sizes < 250_000
    artifact = read(here.folder(run) / "result.json")["artifacts"][0]
    assert (artifact["artifactId"], artifact["name"], artifact["seq"]) == ("a-1", "report", 2)
    assert set(artifact["artifactRefs"])


async def test_small_artifacts_are_in_the_result_with_their_parts(here: Desk) -> None:
    parts = [{"text": "fine"}, {"data": {"n": 1}}, {"url": "https://x/y", "filename": "y"}]
    run = await here.play(ArtifactAdded(artifact_id="a-1", parts=parts))
    assert read(here.folder(run) / "result.json")["artifacts"][0]["parts"] == [
        {"type": "text", "text": "fine"},
        {"type": "data", "data": {"n": 1}},
        {"type": "file", "uri": "https://x/y", "name": "y"},
    ]


# -- who has one -----------------------------------------------------------------------------


async def test_a_run_that_no_agent_took_up_leaves_nothing_in_a_folder_nobody_checked(
    here: Desk,
) -> None:
    run, puppet = await here.begin()
    waiting = await here.stage.send(
        context_id=run.context_id, request=CodingRequest(cwd=str(here.project))
    )
    await here.written()
    assert not here.folder(waiting.run).exists()
    await puppet.end(DONE)
    second = here.stage.puppets[waiting.run.id]
    with anyio.fail_after(PATIENCE_S):
        await second.started.wait()
    await here.written()
    assert here.folder(waiting.run).exists()
    await second.end(DONE)


async def test_a_run_that_was_rejected_at_once_leaves_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, capacity=1, queue_limit=0) as full:
        run, puppet = await full.begin()
        request = CodingRequest(cwd=str(full.project))
        refused = (await full.stage.send(request=request)).run
        with anyio.fail_after(PATIENCE_S):
            assert (await full.stage.tasks.settled(ME, refused.id)).status == "rejected"
        await puppet.end(DONE)
        await full.written()
        assert everything_below(full.root / "runs") >= {run.id}
        assert not full.folder(refused).exists()


async def test_agents_of_other_machines_have_no_folders_here(tmp_path: Path) -> None:
    async with desk(tmp_path, here=lambda name: name != "puppet") as there:
        await there.play()
        assert not there.root.exists()


async def test_a_folder_that_is_not_on_this_machine_is_not_made(here: Desk, tmp_path: Path) -> None:
    runs = [await here.begin(cwd=str(tmp_path / "elsewhere")) for _ in range(3)]
    for _, puppet in runs:
        await puppet.end(DONE)
    await here.written()
    assert not (tmp_path / "elsewhere").exists()
    await here.play()
    assert here.root.exists()


# -- links, pipes and other people's files -----------------------------------------------------


def _as_link(path: Path, outside: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(outside)


@pytest.mark.parametrize("where", ["", "runs", "sessions"])
async def test_a_link_in_the_place_of_a_folder_is_not_followed(
    here: Desk, tmp_path: Path, where: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _as_link(here.root / where if where else here.root, outside)
    run = await here.play()
    assert (await here.stage.get(run)).status == "completed"
    assert not list(outside.iterdir())


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "hard link", "folder"])
async def test_what_is_no_file_of_ours_is_not_written(
    here: Desk, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n", encoding="utf-8")
    run, puppet = await here.begin()
    await here.written()
    path = here.folder(run) / "events.jsonl"
    path.unlink()
    match kind:
        case "link":
            path.symlink_to(outside)
        case "dangling":
            path.symlink_to(tmp_path / "new.txt")
        case "pipe":
            os.mkfifo(path)
        case "hard link":
            path.hardlink_to(outside)
        case _:
            path.mkdir()
    await puppet.end(AgentMessage(text="x"), DONE)
    await here.written()
    assert (await here.stage.get(run)).status == "completed"
    assert outside.read_text(encoding="utf-8") == "mine\n"
    assert not (tmp_path / "new.txt").exists()


async def test_a_link_in_the_place_of_a_document_is_replaced(here: Desk, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("mine\n", encoding="utf-8")
    run, puppet = await here.begin()
    await here.written()
    for name in ("run.json", ".run.json.tmp", "result.json"):
        (here.folder(run) / name).unlink(missing_ok=True)
        (here.folder(run) / name).symlink_to(outside)
    await puppet.end(DONE)
    await here.written()
    assert outside.read_text(encoding="utf-8") == "mine\n"
    await here.agrees(run)


async def test_a_link_that_is_the_working_folder_itself_is_its_owners_choice(
    here: Desk, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(here.project)
    run = await here.play(cwd=str(tmp_path / "link"))
    await here.agrees(run)


# -- trouble ---------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written_is_told_of_once_and_written_when_mended(
    here: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "FIRST_S", 0.02)
    caplog.set_level(logging.INFO)
    here.root.write_text("in the way", encoding="utf-8")
    first, second = await here.play(), await here.play()
    assert first.status == second.status == "completed"
    told = [r for r in caplog.records if "cannot be written" in r.message]
    assert len(told) == 1
    assert first.id in told[0].getMessage()
    here.root.unlink()
    with anyio.fail_after(PATIENCE_S):
        while not all((here.folder(run) / "run.json").exists() for run in (first, second)):
            await here.follower.settle()
            await anyio.lowlevel.checkpoint()
    await here.agrees(first)
    await here.agrees(second)


async def test_a_full_disk_leaves_no_torn_line_behind(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(troubles, "FIRST_S", 0.02)
    left = iter(range(3))

    def write(descriptor: int, content: bytes) -> None:
        if next(left, None) is not None:
            os.write(descriptor, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write_all(descriptor, content)

    monkeypatch.setattr(journal, "write_all", write)
    run = await here.play(*[AgentMessage(text=str(n)) for n in range(50)])
    with anyio.fail_after(PATIENCE_S):
        while not (here.folder(run) / "run.json").exists():
            await here.written()
            await anyio.lowlevel.checkpoint()
    await here.agrees(run)


async def test_a_mistake_in_writing_one_run_does_not_end_the_others(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise TypeError("no such thing")

    with monkeypatch.context() as patched:
        patched.setattr(projection, "run_document", broken)
        await here.play()
    run = await here.play()
    await here.agrees(run)


async def test_a_disk_that_hangs_holds_up_no_run(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, free = threading.Event(), threading.Event()
    replace = Directory.replace

    def slow(self: Directory, name: str, content: bytes) -> None:
        stuck.set()
        assert free.wait(PATIENCE_S)
        replace(self, name, content)

    monkeypatch.setattr(Directory, "replace", slow)
    run, puppet = await here.begin()
    assert await anyio.to_thread.run_sync(stuck.wait, PATIENCE_S)
    await puppet.end(*[AgentMessage(text=str(n)) for n in range(300)], DONE)
    assert (await here.stage.get(run)).status == "completed"
    free.set()
    await here.written()
    await here.agrees(run)


async def test_events_beyond_what_is_held_in_memory_are_read_from_the_log(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "HELD_MAX", 4000)
    events = [AgentMessage(text=f"{n} " + "x" * (2000 if n % 100 == 0 else 1)) for n in range(1500)]
    run = await here.play(*events)
    await here.agrees(run)
    assert len(payloads_of(here.folder(run), lines(here.folder(run))[1])) == 1


async def test_more_runs_than_can_wait_are_all_written(
    here: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "DUE_MAX", 3)
    runs = [await here.begin() for _ in range(20)]
    for _, puppet in runs:
        await puppet.end(AgentMessage(text="x"), DONE)
    await here.written()
    for run, _ in runs:
        await here.agrees(run)


async def test_a_folder_that_was_deleted_is_written_again_with_the_next_event(here: Desk) -> None:
    run, puppet = await here.begin()
    await here.written()
    for path in sorted(here.folder(run).rglob("*"), reverse=True):
        path.unlink()
    await puppet.end(AgentMessage(text="x"), DONE)
    await here.written()
    await here.agrees(run)


# -- restarts --------------------------------------------------------------------------------


async def finished(tmp_path: Path, count: int = 40) -> Run:
    async with desk(tmp_path) as first:
        long = CommandFinished(output="é" * 50_000)
        return await first.play(*[AgentMessage(text=str(n)) for n in range(count)], long)


@pytest.mark.parametrize(
    "damage",
    ["torn", "short", "empty", "gone", "garbage", "zeros", "other run", "ahead", "no newline"],
)
async def test_a_start_mends_what_a_kill_left(tmp_path: Path, damage: str) -> None:
    run = await finished(tmp_path)
    path = tmp_path / "project/.nanobot-orchestrator/runs" / run.id / "events.jsonl"
    whole = path.read_bytes()
    ahead = b'{"seq":9999,"run_id":"%s"}\n' % run.id.encode()
    damaged = {
        "torn": whole[:-100],
        "short": b"".join(whole.splitlines(keepends=True)[:5]),
        "empty": b"",
        "garbage": whole + b"\xff not json\n",
        "zeros": whole[:1000] + b"\0" * 500,
        "other run": whole.replace(run.id.encode(), b"0" * len(run.id)),
        "ahead": whole + ahead,
        "no newline": whole[:-1],
    }
    path.unlink()
    if damage in damaged:
        path.write_bytes(damaged[damage])
    (path.parent / "run.json").unlink()
    async with desk(tmp_path) as again:
        await again.written()
        assert path.read_bytes() == whole
        await again.agrees(run)


async def test_a_first_start_leaves_earlier_runs_alone(tmp_path: Path) -> None:
    run = await finished(tmp_path)
    (tmp_path / "folders.json").unlink()
    path = tmp_path / "project/.nanobot-orchestrator/runs" / run.id / "run.json"
    path.unlink()
    async with desk(tmp_path) as again:
        await again.written()
    assert not path.exists()


async def test_a_folder_outlives_what_the_log_lets_go_of(tmp_path: Path) -> None:
    run = await finished(tmp_path)
    folder = tmp_path / "project/.nanobot-orchestrator/runs" / run.id
    whole = (folder / "events.jsonl").read_bytes()
    async with desk(tmp_path) as again:
        await again.stage.tasks.log.let_go(sweep_oldest)
        await again.written()
    assert (folder / "events.jsonl").read_bytes() == whole
    # Of one that lost its files meanwhile, what the log still has is written.
    (folder / "events.jsonl").unlink()
    (folder / "run.json").unlink()
    async with desk(tmp_path) as again:
        await again.written()
        assert read(folder / "run.json")["result"]["finalResponse"] == "done"
        assert (folder / "events.jsonl").read_bytes() == b""
