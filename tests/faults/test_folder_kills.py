"""kill -9 while run folders are written: the next start leaves them saying what the log says."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

import anyio

from gateway.core import json
from gateway.core.extension import EXTENSIONS_HEADER, LAST_EVENT_ID_HEADER, URI
from gateway.core.json import JsonObject
from gateway.core.redact import refs_of
from gateway.core.secrets import Mask
from gateway.core.store.listing import RunQuery
from gateway.core.store.log import RunLog
from gateway.core.store.open import open_log
from mcp_bridge.runs.views import event_view
from tests.faults.scribe import EVENTS, ME, PROJECTS
from tests.gateway.process import Gateway, started
from tests.wrappers.launched import gone

RUNS = 3  # new ones in each process
SCRIPT = "stream 150 0.002 tick\nbig 200000\ncommand make => all is well\nsay done"
START_S = 60.0


async def _write(folder: Path, runs: int, kill_after_s: float | None) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.faults.scribe", str(folder), str(runs), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(START_S):
            assert await process.stdout.readline() == b"ready\n"
            if kill_after_s is None:
                assert await process.wait() == 0
        if kill_after_s is not None:
            with anyio.move_on_after(kill_after_s):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _same(log: RunLog, run_id: str) -> None:
    """The folder of a run says, byte by byte, what the log says."""
    run = await log.get(run_id)
    assert run is not None
    assert run.request.cwd is not None
    folder = Path(run.request.cwd) / ".nanobot-orchestrator" / "runs" / run_id
    text = await anyio.Path(folder / "events.jsonl").read_text(encoding="utf-8")
    lines = text.removesuffix("\n").split("\n")
    events = await log.read(run_id, 0, 10 * EVENTS)
    assert [json.decode_object(line) for line in lines] == [event_view(run, e) for e in events]
    for event in events:
        if refs := refs_of(json.decode_object(event.data)):
            await _same_payloads(log, run_id, folder, event.seq, event.type, set(refs))
    shown = json.decode_object(await anyio.Path(folder / "run.json").read_bytes())
    assert (shown["status"], run.status) == ("completed", "completed"), run.error
    assert shown["lastSeq"] == run.last_seq
    result = json.decode(await anyio.Path(folder / "result.json").read_bytes())
    assert result == shown["result"]
    assert not list(folder.rglob("*.tmp"))


async def _same_payloads(
    log: RunLog, run_id: str, folder: Path, seq: int, type_: str, pointers: set[str]
) -> None:
    here = folder / "artifacts" / f"{seq:06d}-{type_}"
    fields: JsonObject = json.decode_object((here / "manifest.json").read_bytes())["fields"]
    assert set(fields) == pointers
    for payload in await log.payloads(run_id, seq):
        pieces = [(here / c["file"]).read_bytes() for c in fields[payload.pointer]["chunks"]]
        assert b"".join(pieces) == payload.content
        assert all(piece.decode() for piece in pieces)


async def _compared(database: Path) -> int:
    """How many runs there are; the folder of each agrees."""
    log = await open_log(database, durability="normal", mask=Mask())
    try:
        page = await log.list_runs(ME, RunQuery(limit=200))
        for run in page.runs:
            await _same(log, run.id)
        return len(page.runs)
    finally:
        await log.close()


async def test_folders_agree_with_the_log_after_kills_at_any_moment(
    rounds: int, tmp_path: Path
) -> None:
    for n in range(PROJECTS):
        (tmp_path / f"project-{n}").mkdir()
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for _ in range(rounds):
        await _write(tmp_path, RUNS, chance.uniform(0, 0.8))
    await _write(tmp_path, 0, None)
    compared = await _compared(tmp_path / "runs.db")
    assert compared == min(200, RUNS * rounds), seed
    sys.stdout.write(f"\n{rounds} kills, {compared} folders compared\n")


async def test_folders_of_a_gateway_agree_with_its_log_after_it_was_killed(
    rounds: int, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["A2A_GATEWAY_LOCAL_AGENTS"] = '["scripted"]'
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    sent: list[str] = []
    for _ in range(rounds):
        async with started(environment) as gateway:
            sent += [await _begin(gateway, tmp_path) for _ in range(RUNS)]
            with anyio.move_on_after(chance.uniform(0, 0.8)):
                await gateway.process.wait()
            gateway.process.kill()
    async with started(environment) as gateway:
        with anyio.fail_after(START_S):
            for task_id in sent:
                await _ended(gateway, task_id)
        wrappers = [wrapper.process.pid for wrapper in gateway.home.wrappers()]
        assert await gateway.stop() == 0
    await gone(*wrappers)
    assert await _compared(gateway.home.database) == len(sent), seed
    sys.stdout.write(f"\n{rounds} kills, {len(sent)} folders compared\n")


async def _begin(gateway: Gateway, cwd: Path) -> str:
    message: JsonObject = {
        "messageId": "m-1",
        "role": "ROLE_USER",
        "parts": [{"text": SCRIPT}],
        "metadata": {URI: {"cwd": str(cwd)}},
    }
    asked = {"message": message, "configuration": {"returnImmediately": True}}
    gateway.http.headers[EXTENSIONS_HEADER] = URI
    return (await gateway.rpc("scripted", "SendMessage", asked))["result"]["task"]["id"]


async def _ended(gateway: Gateway, task_id: str) -> None:
    """Returns when the run's stream has ended: with the extension that is its end."""
    body = {"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": task_id}}
    headers = {LAST_EVENT_ID_HEADER: "0"}
    path = "/agents/scripted/a2a/jsonrpc"
    async with gateway.http.stream("POST", path, json=body, headers=headers) as response:
        async for _ in response.aiter_lines():
            pass
