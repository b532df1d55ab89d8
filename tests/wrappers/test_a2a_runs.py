"""What callers see of runs of the real CLIs over A2A: their work, their ends, and what goes wrong."""

import base64
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from a2a.client import Client
from a2a.types import CancelTaskRequest, Part, StreamResponse, TaskState

from gateway.core import extension
from gateway.core.json import JsonObject, as_object, decode_object
from tests.wrappers.a2a_case import (
    Station,
    final,
    last_state,
    said,
    spoken,
    state,
    station_of,
)
from tests.wrappers.held import PATIENCE_S, holding

SCHEMA = {
    "type": "object",
    "properties": {"verdict": {"type": "string"}},
    "required": ["verdict"],
    "additionalProperties": False,
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module", params=["codex", "claude_code"])
async def station(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Station]:
    async with station_of(request.param, tmp_path_factory.mktemp("running")) as station:
        yield station


# -- the work --------------------------------------------------------------------------------------


async def test_a_replay_of_a_run_is_what_the_live_stream_was(station: Station) -> None:
    cwd = station.folder()
    script = "@reason first think\n@sh printf here > file; echo out\n@sh exit 3\n@say done"
    message = {**said(script), "metadata": {extension.URI: {"cwd": str(cwd)}}}
    live = await _items(station, "SendStreamingMessage", {"message": message})
    events = [_event(item) for item in live if _event(item)]
    task_id = live[0]["task"]["id"]
    replayed = await _items(station, "SubscribeToTask", {"id": task_id}, after=0)
    assert replayed == live[1:]  # the task comes first
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    for seq in (1, len(events) // 2, len(events) - 1):
        rest = await _items(station, "SubscribeToTask", {"id": task_id}, after=seq)
        assert [_event(item) for item in rest if _event(item)] == events[seq:]
    types = [event["type"] for event in events]
    assert types.count("run_started") == types.count("run_completed") == 1
    assert types.index("reasoning") < types.index("command_started")
    ended = [event["data"] for event in events if event["type"] == "command_finished"]
    assert [(one["status"], one["exit_code"]) for one in ended] == [("completed", 0), ("failed", 3)]
    assert "out" in ended[0]["output"]
    assert types[-1] == "run_completed"
    assert events[-1]["data"]["final_response"] == "done"
    assert (cwd / "file").read_text("utf-8") == "here"


async def test_tasks_that_are_listed_are_the_tasks_that_are_got(station: Station) -> None:
    first = await station.send("@say one", station.folder())
    second = await station.send("@say two", context=first["contextId"])
    listed = await station.wrapper.rpc(
        "ListTasks", {"contextId": first["contextId"], "includeArtifacts": True}
    )
    got = [await station.get(task) for task in (second, first)]
    assert [final(task) for task in got] == ["two", "one"]
    for one, other in zip(listed["tasks"], got, strict=True):
        assert {key: one[key] for key in ("id", "contextId", "status", "artifacts")} == {
            key: other[key] for key in ("id", "contextId", "status", "artifacts")
        }


async def test_usage_is_each_runs_own(station: Station) -> None:
    first = await station.send("@say one", station.folder())
    second = await station.send("@say two", context=first["contextId"])
    used = [(await station.events(task))[-1]["data"]["usage"] for task in (first, second)]
    assert used[0]
    assert _tokens(used[0]) == _tokens(used[1]), used  # the model says the same of each answer


async def test_a_large_output_arrives_whole(station: Station) -> None:
    task = await station.send("@sh seq 1 40000\n@say done", station.folder())
    whole = "".join(f"{number}\n" for number in range(1, 40001))
    events = await station.events(task)
    (ended,) = [event for event in events if event["type"] == "command_finished"]
    url = f"{station.wrapper.ready['base_url']}/tasks/{task['id']}"
    if len(ended["data"]["output"]) < len(whole):
        payload = await station.wrapper.client.get(
            f"{url}/events/{ended['seq']}/payload", params={"pointer": "/output"}
        )
        assert payload.status_code == 200, payload.text
        assert payload.text.strip() == whole.strip()
    else:
        assert ended["data"]["output"].strip() == whole.strip()


async def test_structured_output_is_an_artifact_with_a_data_part(station: Station) -> None:
    script = station.vendor.structured + '{"verdict": "ok"}'
    task = await station.send(script, station.folder(), output_schema=SCHEMA)
    assert state(task) == "completed", task
    (artifact,) = [one for one in task["artifacts"] if one["artifactId"] != "final-response"]
    assert artifact["name"] == "structured-output"
    (part,) = artifact["parts"]
    assert part["data"] == {"verdict": "ok"}
    assert part["mediaType"] == "application/json"
    completed = (await station.events(task))[-1]
    assert completed["data"]["structured_output"] == {"verdict": "ok"}


async def test_an_answer_that_fits_no_schema_is_asked_for_once_more(station: Station) -> None:
    before = len(station.model.requests)
    task = await station.send("@say no data", station.folder(), output_schema=SCHEMA)
    assert state(task) == "failed", task
    assert (await station.events(task))[-1]["data"]["reason"] == "schema_mismatch"
    assert len(station.model.requests) - before >= 2


async def test_images_files_and_data_reach_the_model(station: Station) -> None:
    request = spoken("@say seen")
    request.message.parts.extend(
        [
            Part(raw=base64.b64decode(PIXEL), media_type="image/png", filename="dot.png"),
            Part(raw=b"plain words", media_type="text/plain", filename="notes.txt"),
            Part(data={"string_value": "forty-two"}),
        ]
    )
    async with station.plain() as client:
        items = [item async for item in client.send_message(request)]
    assert last_state(items) == "completed"
    told = station.told()
    assert PIXEL in told
    assert "plain words" in told
    assert "forty-two" in told


@pytest.mark.parametrize("text", ["/clear", "@/etc/hostname what is it?", "--help", "!id"])
async def test_a_prompt_is_text_whatever_it_looks_like(station: Station, text: str) -> None:
    task = await station.send(text, station.folder())
    assert state(task) == "completed", task
    assert text in station.told()
    hostname = Path("/etc/hostname").read_text("utf-8").strip()  # noqa: ASYNC240 - one line
    assert hostname not in final(task)


# -- into a running turn ---------------------------------------------------------------------------


async def test_a_message_to_a_working_task_steers_it(station: Station) -> None:
    cwd = station.folder()
    os.mkfifo(cwd / "gate")
    gate = os.open(cwd / "gate", os.O_RDWR | os.O_NONBLOCK)
    events: list[JsonObject] = []
    try:
        task = await station.send("@sh read x < gate\n@say straight", cwd, wait=False)
        await station.until(task, lambda event: event["type"] == "command_started")
        steered = await station.post({**said("@say Turned."), "taskId": task["id"]}, wait=False)
        assert state(steered) == "working"
        os.write(gate, b"go\n")
        events = await station.events(task)
    finally:
        os.close(gate)
    assert events[-1]["data"]["final_response"] == "Turned."
    added = [event["data"] for event in events if event["type"] == "message_added"]
    assert [one["role"] for one in added if "Turned." in (one.get("text") or "")] == ["user"]


async def test_a_client_of_a2a_alone_cancels_a_command(station: Station) -> None:
    ended: list[str] = []
    with holding(station.folder()) as held:
        async with station.plain() as client, anyio.create_task_group() as group:
            group.start_soon(_stream_to_end, client, f"@sh {held.command}\n@say no", ended)
            await held.taken()
            listed = await station.wrapper.rpc("ListTasks", {"status": "TASK_STATE_WORKING"})
            for task in listed["tasks"]:
                cancelled = await client.cancel_task(CancelTaskRequest(id=task["id"]))
                assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
        assert ended == ["canceled"]
        await held.released()


async def _stream_to_end(client: Client, text: str, ended: list[str]) -> None:
    items: list[StreamResponse] = [item async for item in client.send_message(spoken(text))]
    ended.append(last_state(items))


# -- what goes wrong -------------------------------------------------------------------------------


async def test_refused_credentials_are_asked_for_and_the_same_task_goes_on(
    station: Station,
) -> None:
    async with station.plain() as client:
        prompt = spoken(f"{station.vendor.refused}\n@say welcome")
        items = [item async for item in client.send_message(prompt)]
        assert last_state(items) == "auth_required"
        task_id = items[0].task.id
        text = items[-1].status_update.status.message.parts[0].text
        assert station.vendor.login in text
        again = [item async for item in client.send_message(spoken("again", task_id=task_id))]
        assert last_state(again) == "completed"
    task = await station.get({"id": task_id})
    assert final(task) == "welcome"
    types = [event["type"] for event in await station.events(task)]
    assert types.count("run_started") == types.count("auth_required") == 1


async def test_a_model_that_is_busy_for_a_moment_ends_no_run(station: Station) -> None:
    task = await station.send(f"{station.vendor.limited}\n@say through", station.folder())
    assert (state(task), final(task)) == ("completed", "through")


@pytest.mark.parametrize("fault", ["@http 500", "@http 400", "@cut", "@garbage"])
async def test_a_model_that_fails_fails_the_run_and_the_next_one_works(
    station: Station, fault: str
) -> None:
    task = await station.send(fault, station.folder())
    assert state(task) == "failed", task
    end = (await station.events(task))[-1]
    assert end["type"] == "run_failed"
    assert end["data"]["reason"]
    shown = task["status"]["message"]["parts"][0]["text"]
    assert shown
    assert "Traceback" not in shown
    again = await station.send("@say fine", context=task["contextId"])
    assert (state(again), final(again)) == ("completed", "fine")


@pytest.mark.parametrize(
    ("cwd", "why"),
    [
        ("/", "outside the folders"),
        ("{root}/../elsewhere", "elsewhere"),
        ("{root}/none", "does not exist"),
        ("relative", "absolute"),
    ],
)
async def test_a_folder_that_will_not_do_is_refused_before_anything_is_started(
    station: Station, cwd: str, why: str
) -> None:
    asked = {extension.URI: {"cwd": cwd.replace("{root}", str(station.root))}}
    message = {**said("@say no"), "metadata": asked}
    error = await station.refusal("SendMessage", {"message": message})
    assert error["code"] == -32602
    assert why in error["message"]


async def test_a_folder_that_is_gone_is_told_to_the_next_run_of_its_session(
    station: Station,
) -> None:
    cwd = station.folder()
    first = await station.send("@say one", cwd)
    cwd.rmdir()
    second = await station.send("@say two", context=first["contextId"])
    assert state(second) in ("rejected", "failed"), second
    assert "does not exist" in second["status"]["message"]["parts"][0]["text"]


@pytest.mark.parametrize("name", ["codex", "claude_code"])
async def test_a_program_that_is_gone_fails_the_run_and_says_what_to_do(
    name: str, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    named = "codex-cli 0.163.0" if name == "codex" else "2.1.330 (Claude Code)"
    program.write_text(f"#!/bin/sh\necho '{named}'\n", encoding="utf-8")
    program.chmod(0o700)
    option = "--codex-bin" if name == "codex" else "--claude-bin"
    async with station_of(name, tmp_path, option, str(program)) as station:
        await station.inspected()
        program.unlink()
        task = await station.send("@say no", station.folder())
        assert state(task) == "failed", task
        text = task["status"]["message"]["parts"][0]["text"]
        assert str(tmp_path) not in text
        assert "Traceback" not in text
        assert state(await station.get(task)) == "failed"


# -- reading ---------------------------------------------------------------------------------------


async def _items(
    station: Station, method: str, params: JsonObject, after: int | None = None
) -> list[JsonObject]:
    """The results of a stream, to its end."""
    headers = {"Accept": "text/event-stream"}
    if after is not None:
        headers[extension.LAST_EVENT_ID_HEADER] = str(after)
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    url = station.wrapper.ready["jsonrpc_url"]
    lines: list[str] = []
    with anyio.fail_after(PATIENCE_S):
        async with station.wrapper.client.stream("POST", url, json=body, headers=headers) as got:
            lines = [line async for line in got.aiter_lines() if line.startswith("data:")]
    return [decode_object(line[5:])["result"] for line in lines]


def _event(item: JsonObject) -> JsonObject:
    """The extension's event of a stream item; empty for the task that comes first."""
    for kind, update in item.items():
        if kind != "task":
            return as_object(as_object(update.get("metadata")).get(extension.URI))
    return {}


def _tokens(usage: JsonObject) -> list[int]:
    """Every count of output tokens in it."""
    inner = [number for value in usage.values() for number in _tokens(as_object(value))]
    return [usage[key] for key in usage if "output" in key.lower()] + inner
