"""The streaming methods over a real socket: items, ids, replay, endings."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.core.events import AgentMessage, Reasoning, RunCompleted, StatusChanged
from gateway.core.extension import URI
from gateway.core.face import pulse
from gateway.core.json import JsonObject
from tests.core.faces import Served, Sse, headers, params, puppet_theatre, read_sse, served
from tests.core.puppet import ME


@asynccontextmanager
async def streaming(
    on: Served, method: str, parameters: JsonObject, **terms: Any
) -> AsyncGenerator[AsyncGenerator[Sse]]:
    call = {"jsonrpc": "2.0", "id": "s", "method": method, "params": parameters}
    request = on.http.stream("POST", "/a2a/jsonrpc", json=call, headers=headers(**terms))
    async with request as response:
        assert response.headers["content-type"].startswith("text/event-stream"), (
            await response.aread()
        )
        with anyio.fail_after(10):
            yield read_sse(response)


async def collect(on: Served, method: str, parameters: JsonObject, **terms: Any) -> list[Sse]:
    async with streaming(on, method, parameters, **terms) as events:
        return [event async for event in events]


def kinds(events: list[Sse]) -> list[str]:
    return [next(iter(event.data["result"])) for event in events]


def types(events: list[Sse]) -> list[str]:
    """The extension's event types, '-' for items without."""
    found: list[str] = []
    for event in events:
        update: JsonObject = next(iter(event.data["result"].values()))
        found.append(update.get("metadata", {}).get(URI, {}).get("type", "-"))
    return found


async def test_a_plain_client_sees_the_task_its_messages_artifacts_and_end(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        script = "say hi; reason hm; artifact a text; finish bye"
        events = await collect(on, "SendStreamingMessage", params(script))

    assert kinds(events) == [
        "task",
        "statusUpdate",
        "statusUpdate",
        "artifactUpdate",
        "artifactUpdate",
        "statusUpdate",
    ]
    assert {event.data["id"] for event in events} == {"s"}
    assert URI not in str(events)
    updates = [event.data["result"].get("statusUpdate") for event in events]
    assert updates[1]["status"]["state"] == "TASK_STATE_WORKING"
    said = updates[2]["status"]["message"]
    assert (said["role"], said["parts"]) == ("ROLE_AGENT", [{"text": "hi"}])
    assert said["messageId"] == f"{updates[2]['taskId']}:2"
    answer = events[4].data["result"]["artifactUpdate"]["artifact"]
    assert (answer["artifactId"], answer["parts"]) == ("final-response", [{"text": "bye"}])
    assert updates[5]["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "message" not in updates[5]["status"]


async def test_with_the_extension_every_event_is_an_item_with_its_seq(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        script = "say hi; reason hm; artifact a text; finish bye"
        events = await collect(on, "SendStreamingMessage", params(script), extended=True)

    task = events[0].data["result"]["task"]
    assert task["metadata"][URI]["log_id"] == on.tasks.log.log_id
    first = task["metadata"][URI]["last_seq"]
    assert (
        types(events[1:])
        == [
            "run_started",
            "agent_message",
            "reasoning",
            "artifact_added",
            "-",
            "run_completed",
        ][first:]
    )
    assert [event.id for event in events[1:]] == [1, 2, 3, 4, None, 5][first:]
    reasoning = events[3].data["result"]["statusUpdate"]
    assert reasoning["metadata"][URI]["data"] == {"text": "hm"}
    assert "message" not in reasoning["status"]


async def test_a_replay_yields_every_later_event_exactly_once_then_goes_live(
    tmp_path: Path,
) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        task = await on.send("go", configuration={"returnImmediately": True})
        puppet = await puppets.next()
        for n in range(300):
            await puppet.writer.emit(AgentMessage(text=str(n)))
        await puppet.writer.flush()
        known = 100
        async with streaming(
            on, "SubscribeToTask", {"id": task["id"]}, extended=True, last_event_id=known
        ) as events:
            seen = [(await anext(events)).id for _ in range(201)]
            assert seen == list(range(101, 302)), "no snapshot, no gap, no repeat"
            await puppet.end(Reasoning(text="live"), RunCompleted())
            rest = [event async for event in events]
        assert [event.id for event in rest] == [302, 303]

        late = await collect(
            on, "SubscribeToTask", {"id": task["id"]}, extended=True, last_event_id=301
        )
        assert types(late) == ["reasoning", "run_completed"], "on a finished task too"
        nothing = await collect(
            on, "SubscribeToTask", {"id": task["id"]}, extended=True, last_event_id=303
        )
        assert nothing == []
        everything = await collect(
            on, "SubscribeToTask", {"id": task["id"]}, extended=True, last_event_id=0
        )
        assert [event.id for event in everything] == list(range(1, 304))


async def test_a_message_sent_again_with_a_cursor_yields_its_run_from_there(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        asked = params("say hi; finish bye", asked={"request_key": "k"})
        first = await collect(on, "SendStreamingMessage", asked, extended=True, last_event_id=0)
        again = await collect(on, "SendStreamingMessage", asked, extended=True, last_event_id=1)
    assert kinds(first)[0] == kinds(again)[0] == "task"
    assert [event.id for event in first] == [None, 1, 2, None, 3]
    assert [event.id for event in again] == [None, 2, None, 3]
    assert first[0].data["result"]["task"]["id"] == again[0].data["result"]["task"]["id"]


async def test_without_last_event_id_a_subscription_is_snapshot_then_live(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        task = await on.send("go", configuration={"returnImmediately": True})
        puppet = await puppets.next()
        await puppet.say(AgentMessage(text="before"))
        for extended in (False, True):
            # Without the extension the header means nothing.
            last = None if extended else 0
            async with streaming(
                on, "SubscribeToTask", {"id": task["id"]}, extended=extended, last_event_id=last
            ) as events:
                snapshot = await anext(events)
                told = snapshot.data["result"]["task"]["history"][-1]["parts"]
                assert snapshot.id == puppet.writer.run.last_seq
                await puppet.say(AgentMessage(text="after"))
                assert told in ([{"text": "before"}], [{"text": "after"}])
                following = (await anext(events)).data["result"]["statusUpdate"]
                assert following["status"]["message"]["parts"] == [{"text": "after"}]
        await puppet.end(RunCompleted())


async def test_a_finished_task_is_subscribed_to_only_by_replay(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("finish")
        for extended in (False, True):
            refused = await on.rpc("SubscribeToTask", {"id": task["id"]}, extended=extended)
            assert refused["error"]["code"] == -32004
            assert "GetTask" in refused["error"]["message"]


@pytest.mark.parametrize(
    ("cursor", "code"), [("3", "replay_diverged"), ("-1", None), ("x", None), ("1.5", None)]
)
async def test_a_cursor_that_cannot_be_served_is_refused(
    tmp_path: Path, cursor: str, code: str | None
) -> None:
    async with served(tmp_path) as on:
        task = await on.send("finish")
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "SubscribeToTask",
            "params": {"id": task["id"]},
        }
        response = await on.http.post(
            "/a2a/jsonrpc", json=call, headers=headers(extended=True, last_event_id=cursor)
        )
    error = response.json()["error"]
    assert error["code"] == -32602
    assert error["data"][0].get("metadata", {}).get("code") == code


async def test_a_plain_stream_ends_when_the_run_asks_an_extended_one_with_the_run(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as on:
        plain = await collect(on, "SendStreamingMessage", params("ask what?; finish ok"))
        last = plain[-1].data["result"]["statusUpdate"]
        assert last["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"

        answered = await collect(on, "SendStreamingMessage", params("blue", task_id=last["taskId"]))
        assert answered[0].data["result"]["task"]["status"]["state"] == "TASK_STATE_WORKING"
        assert (
            answered[-1].data["result"]["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED"
        )

        async with streaming(
            on, "SendStreamingMessage", params("ask what?; finish ok"), extended=True
        ) as events:
            task_id = (await anext(events)).data["result"]["task"]["id"]
            seen: list[str] = []
            async for event in events:
                seen += types([event])
                if seen[-1] == "input_required":
                    await on.send("green", task_id=task_id)
            assert seen[-5:] == [
                "message_added",
                "status_changed",
                "agent_message",
                "-",
                "run_completed",
            ]


async def test_a_partial_answer_leaves_a_plain_stream_nothing_to_wait_for(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        sent = await on.send("go", configuration={"returnImmediately": True})
        puppet = await puppets.next()
        await puppet.ask("one", "two")
        answer: JsonObject = {"data": {"request_id": "one", "option": "allow"}}
        events = await collect(
            on, "SendStreamingMessage", params("", task_id=sent["id"], parts=[answer])
        )
        snapshot = events[0].data["result"]["task"]
        assert kinds(events) == ["task"]
        pending = snapshot["status"]["message"]["parts"][1]["data"]["pending"]
        assert [item["request_id"] for item in pending] == ["two"]
        await puppet.end(RunCompleted())


async def test_a_subscriber_of_a_waiting_task_sees_what_follows_the_answer(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        sent = await on.send("go", configuration={"returnImmediately": True})
        puppet = await puppets.next()
        await puppet.ask("one")
        async with streaming(on, "SubscribeToTask", {"id": sent["id"]}) as events:
            await anext(events)
            await puppet.say(AgentMessage(text="meanwhile"))
            await on.rpc(
                "SendMessage",
                params("allow", task_id=sent["id"], configuration={"returnImmediately": True}),
            )
            await puppet.end(RunCompleted(final_response="ok"))
            rest = [event.data["result"] async for event in events]
        states = [
            item["statusUpdate"]["status"]["state"] for item in rest if "statusUpdate" in item
        ]
        assert states[0] == "TASK_STATE_INPUT_REQUIRED"
        assert states[-1] == "TASK_STATE_COMPLETED"


async def test_status_facts_without_a_change_are_for_extended_readers_only(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        sent = await on.send("go", configuration={"returnImmediately": True})
        puppet = await puppets.next()
        seen: dict[bool, list[JsonObject]] = {False: [], True: []}
        both = anyio.Event()

        async def read(extended: bool) -> None:
            async with streaming(
                on, "SubscribeToTask", {"id": sent["id"]}, extended=extended
            ) as events:
                await anext(events)
                seen[extended].append({})
                if all(seen.values()):
                    both.set()
                async for event in events:
                    seen[extended].append(event.data["result"])

        async with anyio.create_task_group() as group:
            group.start_soon(read, False)
            group.start_soon(read, True)
            with anyio.fail_after(5):
                await both.wait()
            await puppet.end(
                StatusChanged(status="running", reason="still_here"),
                RunCompleted(),
            )
        assert (len(seen[False]), len(seen[True])) == (2, 3)


async def test_text_over_a_mebibyte_arrives_as_appended_artifact_parts(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        events = await collect(on, "SendStreamingMessage", params("long 2500000"))

    updates = [
        event.data["result"]["artifactUpdate"]
        for event in events
        if "artifactUpdate" in event.data["result"]
    ]
    assert [(u["append"], u["lastChunk"]) for u in updates] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert "".join(u["artifact"]["parts"][0]["text"] for u in updates) == "z" * 2_500_000


async def test_rest_streams_the_same_items_without_the_envelope(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        async with on.http.stream(
            "POST",
            "/a2a/rest/message:stream",
            json=params("say hi; ask what?"),
            headers=headers(extended=True),
        ) as response:
            assert response.headers["A2A-Extensions"] == URI
            seen: list[Sse] = []
            async for event in read_sse(response):
                seen.append(event)
                if "TASK_STATE_INPUT_REQUIRED" in str(event.data):
                    break
        task = seen[0].data["task"]
        await on.send("blue", task_id=task["id"])
        for method in ("GET", "POST"):
            async with on.http.stream(
                method,
                f"/a2a/rest/tasks/{task['id']}:subscribe",
                headers=headers(extended=True, last_event_id=1),
            ) as response:
                ids = [event.id async for event in read_sse(response)]
            assert [seq for seq in ids if seq] == list(range(2, max(seq or 0 for seq in ids) + 1))
        ended = await on.http.get(f"/a2a/rest/tasks/{task['id']}:subscribe", headers=headers())
        assert (ended.status_code, ended.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")
        bad = await on.http.post("/a2a/rest/message:stream", json=[1], headers=headers())
        assert bad.status_code == 400


async def test_malformed_calls_are_answered_as_json_not_as_a_stream(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        calls: list[tuple[Any, int]] = [
            ({"jsonrpc": "1.0", "id": 1, "method": "SubscribeToTask"}, -32600),
            ({"jsonrpc": "2.0", "id": True, "method": "SubscribeToTask"}, -32600),
            ([{"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask"}], -32600),
            ({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": []}, -32602),
            ({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": [1]}, -32602),
            ({"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": 1}}, -32602),
            ({"jsonrpc": "2.0", "id": 1, "method": "SendStreamingMessage"}, -32602),
        ]
        for call, code in calls:
            response = await on.http.post("/a2a/jsonrpc", json=call, headers=headers())
            assert response.headers["content-type"] == "application/json"
            assert response.json()["error"]["code"] == code, call


async def test_a_quiet_stream_shows_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "KEEP_ALIVE_S", 0.02)
    async with puppet_theatre(tmp_path) as (on, puppets):
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "SendStreamingMessage",
            "params": params("go"),
        }
        async with on.http.stream("POST", "/a2a/jsonrpc", json=call, headers=headers()) as response:
            with anyio.fail_after(5):
                async for line in response.aiter_lines():
                    if line == ": keep-alive":
                        break
        puppet = await puppets.next()
        await puppet.end(RunCompleted())


async def test_a_stream_whose_reader_left_lets_go_of_the_log(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, puppets):
        async with streaming(on, "SendStreamingMessage", params("go")) as events:
            run_id = (await anext(events)).data["result"]["task"]["id"]
            live = on.tasks.log._live.find(run_id)  # pyright: ignore[reportPrivateUsage]
            assert live is not None
            puppet = await puppets.next()
            await anext(events)
            with anyio.fail_after(5):
                while not live.waiters:
                    await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            while live.waiters:
                await anyio.lowlevel.checkpoint()
        run = await on.tasks.get(ME, run_id)
        assert not run.terminal, "the run goes on"
        await puppet.end(RunCompleted())


async def test_a_slow_reader_misses_nothing(tmp_path: Path) -> None:
    """The SDK drops a subscriber 1024 events behind, and its stream then ends as if all was well."""
    async with puppet_theatre(tmp_path) as (on, puppets):
        async with streaming(on, "SendStreamingMessage", params("go"), extended=True) as events:
            await anext(events)
            puppet = await puppets.next()
            for n in range(5000):
                await puppet.writer.emit(AgentMessage(text=f"{n} " + "x" * 500))
            await puppet.end(RunCompleted())
            ids = [event.id async for event in events]
        assert ids[-1] == 5002
        assert [seq for seq in ids if seq] == list(range(ids[0] or 0, 5003))


async def test_a_server_that_stops_says_so_in_its_streams(tmp_path: Path) -> None:
    async with puppet_theatre(tmp_path) as (on, _puppets):
        async with streaming(on, "SendStreamingMessage", params("go")) as events:
            await anext(events)
            on.listener.stop()
            rest = [event async for event in events]
        assert rest[-1].event == "error"
        assert rest[-1].data["error"]["code"] == -32603
        assert "the server is stopping" in rest[-1].data["error"]["message"]


async def test_a_stream_attached_by_its_key_shows_the_run_as_it_is(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        asked = {"request_key": "k"}
        first = await on.send("finish once", asked=asked)
        events = await collect(on, "SendStreamingMessage", params("finish once", asked=asked))
    assert kinds(events) == ["task"]
    assert events[0].data["result"]["task"]["id"] == first["id"]


async def test_payloads_are_read_whole_by_range_and_by_offset(tmp_path: Path) -> None:
    async with served(tmp_path) as on:
        task = await on.send("say " + "äöü€" * 100_000)
        whole = "äöü€" * 100_000
        url = f"/tasks/{task['id']}/events/2/payload"
        full = await on.http.get(url, params={"pointer": "/text"}, headers=headers())
        assert full.text == whole
        assert full.headers["content-disposition"] == "attachment"
        assert full.headers["x-payload-bytes"] == str(len(whole.encode()))

        ranged = await on.http.get(
            url, params={"pointer": "/text"}, headers={**headers(), "Range": "bytes=0-8"}
        )
        assert (ranged.status_code, ranged.content) == (206, "äöü€".encode())
        assert ranged.headers["content-range"] == f"bytes 0-8/{len(whole.encode())}"

        read = b""
        while len(read) < len(whole.encode()):
            part = await on.http.get(
                url,
                params={"pointer": "/text", "offset": len(read), "limit": 100_001},
                headers=headers(),
            )
            assert int(part.headers["x-payload-offset"]) == len(read)
            read += part.content
        assert read.decode() == whole

        beyond = await on.http.get(
            url, params={"pointer": "/text"}, headers={**headers(), "Range": "bytes=99999999-"}
        )
        assert beyond.status_code == 416


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("events/2/payload", {"pointer": "/nothing"}, 404),
        ("events/99/payload", {"pointer": "/text"}, 404),
        ("events/2/payload", {"pointer": "../../etc/passwd"}, 404),
        ("events/2/payload", {"pointer": "/text", "offset": "-1"}, 400),
        ("events/2/payload", {"pointer": "/text", "limit": "1e9"}, 400),
        ("events/x/payload", {"pointer": "/text"}, 404),
    ],
)
async def test_a_payload_that_is_not_there_is_said_so(
    tmp_path: Path, path: str, query: dict[str, str], status: int
) -> None:
    async with served(tmp_path) as on:
        task = await on.send("big 5000")
        response = await on.http.get(f"/tasks/{task['id']}/{path}", params=query, headers=headers())
    assert response.status_code == status


async def test_text_of_every_language_survives(tmp_path: Path) -> None:
    # U+2028 and its like end a line for clients that read with httpx, the Python SDK among them.
    text = 'quote " backslash \\ \x85 \u2028 \u2029 \x0b emoji \U0001f600'
    async with served(tmp_path) as on:
        events = await collect(on, "SendStreamingMessage", params(f"say {text}"), extended=True)
    found = [
        e.data["result"]["statusUpdate"]["status"]["message"]["parts"][0]["text"]
        for e in events
        if "message" in e.data["result"].get("statusUpdate", {}).get("status", {})
    ]
    assert found == [text]
