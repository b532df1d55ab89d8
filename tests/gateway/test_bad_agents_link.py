"""What goes wrong on the way to an agent, over real sockets: the run ends with a reason, or is tried
again, and a run at another agent goes on as if nothing were."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from gateway.core import json
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.link import client, jsonrpc
from gateway.link.endpoint import JSONRPC, REST, V03, V1
from gateway.link.sse import MAX_EVENT
from tests.gateway.foreigners import Executor, card_of, sdk_agent
from tests.gateway.house import House, house
from tests.gateway.raw import TASK, Call, Play, card, raw, with_card

MIB: Final = 2**20
BUFFERS: Final = 16 * MIB  # what sockets, and a piece that is read, may hold beside the bound
DONE: Final = {**TASK, "status": {"state": "TASK_STATE_COMPLETED"}}


@asynccontextmanager
async def company(folder: Path) -> AsyncGenerator[House]:
    """A gateway with a run at a good agent, which is going on and then completes."""
    executor = Executor()
    async with sdk_agent(executor) as good, house(folder) as gateway:
        other = await gateway.spawn(await gateway.agent(good.base_url), "wait")
        await gateway.seen(other, 1)
        yield gateway
        executor.release.set()
        assert (await gateway.ended(other)).status is RunStatus.COMPLETED


def reason_of(run: Run) -> tuple[str | None, str]:
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert "Traceback" not in run.error.message
    assert "\n" not in run.error.message
    return run.error.reason, run.error.message


async def fails(folder: Path, play: Play, reason: str, text: str, most: int = MIB) -> None:
    """A run at this agent fails with this reason and text; no more than `most` bytes were taken."""
    async with raw(play) as agent, company(folder) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert reason_of(run)[0] == reason
    assert text in reason_of(run)[1]
    assert agent.sent <= most


# -- what is no HTTP, or no JSON ------------------------------------------------------------------


async def _rubbish(call: Call) -> None:
    await call.say(bytes(range(256)) * 64)


async def _rubbish_stream(call: Call) -> None:
    await call.stream()
    await call.say(b"data: " + bytes(range(128, 256)) * 64 + b"\n\n")


async def _deep(call: Call) -> None:
    await call.stream()
    await call.say(b"data: " + b"[" * 100_000 + b"]" * 100_000 + b"\n\n")


async def _deeper_than_we_write(call: Call) -> None:
    """orjson reads it and would not write it."""
    data = b'{"a":' * 600 + b"1" + b"}" * 600
    await call.stream()
    whole = call.wrapped({"task": {**TASK, "metadata": {"x": 0}}})
    await call.say(b"data: " + whole.replace(b'{"x":0}', data) + b"\n\n")


async def _number_of_lines(call: Call) -> None:
    await call.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
    while True:
        await call.say(b"X-Filler: " + b"x" * 1000 + b"\r\n")


RUBBISH: Final[dict[str, tuple[Play, str, str]]] = {
    "a card of rubbish": (_rubbish, "agent_unreachable", "the link broke"),
    "rubbish": (with_card(_rubbish), "start_unknown", "look there"),
    "rubbish in a stream": (with_card(_rubbish_stream), "agent_protocol", "invalid JSON"),
    "deep JSON": (with_card(_deep), "agent_protocol", "invalid JSON"),
    "JSON we would not write": (with_card(_deeper_than_we_write), "agent_protocol", "invalid"),
    "a head without end": (with_card(_number_of_lines), "start_unknown", "look there"),
}


@pytest.mark.parametrize("case", list(RUBBISH))
async def test_rubbish_ends_its_run_alone(tmp_path: Path, case: str) -> None:
    play, reason, text = RUBBISH[case]
    await fails(tmp_path, play, reason, text, BUFFERS)


INTERFACES: Final = [(JSONRPC, V03), (REST, V1), (REST, V03)]


@pytest.mark.parametrize("lie", ["rubbish", "another task", "a task without an id", "no end"])
@pytest.mark.parametrize(("binding", "version"), INTERFACES)
async def test_an_agent_that_lies_ends_its_run_whatever_it_speaks(
    tmp_path: Path, binding: str, version: str, lie: str
) -> None:
    async def lying(call: Call) -> None:
        if call.verb == "GET":
            one = {"url": "/x", "protocolBinding": binding, "protocolVersion": version}
            about = card_of(call.server.base_url, supportedInterfaces=[one])
            await call.answer(json.dump(about), "200 OK", "Content-Type: application/json")
            return
        say = call.wrapped if binding == JSONRPC else json.dump
        await call.stream()
        task = {**TASK, "kind": "task"} if version == V03 else {"task": TASK}
        match lie:
            case "rubbish":
                await call.say(b"data: <html>\n\n")
            case "another task":
                other = json.decode_object(json.encode(task).replace("t-1", "t-2"))
                await call.say(b"data: " + say(task) + b"\n\ndata: " + say(other) + b"\n\n")
            case "a task without an id":
                nameless = json.decode_object(json.encode(task).replace('"id":"t-1",', ""))
                await call.say(b"data: " + say({**nameless, "kind": "task"}) + b"\n\n")
            case _:
                while True:
                    await call.say(b"data: " + b"x" * MIB)

    await fails(tmp_path, lying, "agent_protocol", "", MAX_EVENT + BUFFERS)


# -- too much -------------------------------------------------------------------------------------


async def _endless_line(call: Call) -> None:
    await call.stream({"task": TASK})
    await call.say(b"data: ")
    while True:
        await call.say(b"x" * MIB)


async def _endless_lines(call: Call) -> None:
    await call.stream({"task": TASK})
    while True:
        await call.say(b"data: xxxxxxxx\n" * 65536)


async def _gigabyte(call: Call) -> None:
    await call.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    await call.say(b"Content-Length: 1073741824\r\n\r\n")
    while True:
        await call.say(b" " * MIB)


@pytest.mark.parametrize("play", [_endless_line, _endless_lines, _gigabyte])
async def test_an_answer_without_end_is_read_up_to_a_bound(tmp_path: Path, play: Play) -> None:
    await fails(tmp_path, with_card(play), "agent_protocol", "64 MiB", MAX_EVENT + BUFFERS)


async def test_a_compressed_answer_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    # 64 KB of gzip are 64 MB when they are unpacked, in one step that no bound can stop.
    async def bomb(call: Call) -> None:
        assert call.headers["accept-encoding"] == "identity"
        await call.answer(b"\x1f\x8b" * 1000, "200 OK", "Content-Encoding: gzip")

    await fails(tmp_path, with_card(bomb), "agent_protocol", "compressed (gzip)")


async def test_an_endless_stream_of_events_ends_when_its_run_is_cancelled(tmp_path: Path) -> None:
    async def endless(call: Call) -> None:
        if call.method == "CancelTask":
            await call.result({**TASK, "status": {"state": "TASK_STATE_CANCELED"}})
            return
        await call.stream({"task": TASK})
        update = {"taskId": "t-1", "contextId": "c-1", "status": {"state": "TASK_STATE_WORKING"}}
        event = b"data: " + call.wrapped({"statusUpdate": update}) + b"\n\n"
        while True:
            await call.say(event * 100)

    async with raw(with_card(endless)) as agent, company(tmp_path) as gateway:
        run = await gateway.spawn(await gateway.agent(agent.base_url))
        await gateway.seen(run, 2)
        await gateway.tasks.cancel("local", run.id)
        ended = await gateway.ended(run)
    assert ended.status is RunStatus.CANCELLED


# -- too slow -------------------------------------------------------------------------------------


async def _dripping_head(call: Call) -> None:
    await call.drip(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 10_000)


async def _dripping_body(call: Call) -> None:
    await call.say(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    await call.say(b"Content-Length: 10000\r\n\r\n")
    await call.drip(b" " * 10_000)


SLOW: Final[dict[str, tuple[Play, str, str]]] = {
    "a card's head": (_dripping_head, "agent_unreachable", "no answer within"),
    "a card's body": (_dripping_body, "agent_unreachable", "took longer than"),
    "an answer's head": (with_card(_dripping_head), "start_unknown", "look there"),
    "an answer's body": (with_card(_dripping_body), "start_unknown", "look there"),
}


@pytest.mark.parametrize("case", list(SLOW))
async def test_an_agent_that_drips_bytes_gets_no_longer_than_a_silent_one(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNARY_S", "BODY_S"):
        monkeypatch.setattr(client, name, 0.3)
    for name in ("UNARY_S", "WORK_S"):
        monkeypatch.setattr(jsonrpc, name, 0.3)
    play, reason, text = SLOW[case]
    async with raw(play) as agent, house(tmp_path) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert reason_of(run)[0] == reason
    assert text in reason_of(run)[1]


# -- cut short ------------------------------------------------------------------------------------


async def test_a_stream_that_breaks_within_an_event_is_gone_on_with_by_asking(
    tmp_path: Path,
) -> None:
    async def breaking(call: Call) -> None:
        if call.method == "GetTask":
            await call.result(DONE)
            return
        head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99999\r\n\r\n"
        )
        await call.say(head + b"data: " + call.wrapped({"task": TASK}) + b'\n\ndata: {"jso')

    async with raw(with_card(breaking)) as agent, company(tmp_path) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)


async def test_a_connection_that_was_closed_while_idle_carries_no_message(tmp_path: Path) -> None:
    # A message on it would be lost, and nobody could say whether the agent has it.
    async def closing(call: Call) -> None:
        if call.verb == "GET":
            about = json.dump(card_of(call.server.base_url))
            await call.say(
                f"HTTP/1.1 200 OK\r\nContent-Length: {len(about)}\r\n\r\n".encode() + about
            )
            return  # the connection may be kept, says this answer; and is closed
        await call.stream({"task": DONE})

    async with raw(closing) as agent, company(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url)
        for _ in range(5):
            run = await gateway.ended(await gateway.spawn(name))
            assert (run.status, run.error) == (RunStatus.COMPLETED, None)


async def test_an_agent_of_http_1_0_is_spoken_with(tmp_path: Path) -> None:
    async def ancient(call: Call) -> None:
        await call.stream({"task": TASK}, {"task": DONE}, protocol="HTTP/1.0")

    async with raw(with_card(ancient)) as agent, company(tmp_path) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)


# -- statuses -------------------------------------------------------------------------------------

STATUSES: Final[dict[str, tuple[str, str]]] = {
    "401 Unauthorized": ("agent_unauthorized", "auth_token"),
    "403 Forbidden": ("agent_unauthorized", "HTTP 403"),
    "404 Not Found": ("agent_protocol", "HTTP 404"),
    "409 Conflict": ("agent_protocol", "HTTP 409"),
    "500 Internal Server Error": ("start_unknown", "look there"),
    "502 Bad Gateway": ("start_unknown", "look there"),
    "429 Too Many Requests": ("agent_unreachable", "HTTP 429"),
    "503 Service Unavailable": ("agent_unreachable", "HTTP 503"),
}


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"detail":"no"}'])
@pytest.mark.parametrize("status", list(STATUSES))
async def test_a_status_ends_the_run_with_its_reason(
    tmp_path: Path, status: str, body: bytes
) -> None:
    kind = "application/json" if body.startswith(b"{") else "text/html"

    async def refusing(call: Call) -> None:
        await call.answer(body, status, f"Content-Type: {kind}")

    await fails(tmp_path, with_card(refusing), *STATUSES[status])


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_an_agent_that_asks_to_come_again_is_sent_the_message_again(
    tmp_path: Path, status: str
) -> None:
    asked: list[str] = []

    async def busy(call: Call) -> None:
        asked.append(call.method)
        if len(asked) == 1:
            await call.answer(b"", status, "Retry-After: 1")
        else:
            await call.stream({"task": DONE})

    async with raw(with_card(busy)) as agent, company(tmp_path) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert asked == ["SendStreamingMessage"] * 2


async def test_an_agent_that_asks_for_more_time_than_a_run_has_ends_it(tmp_path: Path) -> None:
    async def busy(call: Call) -> None:
        await call.answer(b"", "503 Service Unavailable", "Retry-After: 86400")

    await fails(tmp_path, with_card(busy), "agent_unreachable", "HTTP 503")


# -- redirects ------------------------------------------------------------------------------------


async def test_a_redirect_on_the_same_origin_is_followed_with_credentials_and_body(
    tmp_path: Path,
) -> None:
    seen: list[tuple[str, str | None]] = []

    async def moving(call: Call) -> None:
        if not call.path.startswith("/moved"):
            permanent = "301 Moved Permanently" if call.verb == "GET" else "308 Permanent Redirect"
            await call.answer(b"", permanent, f"Location: /moved{call.path}")
            return
        seen.append((call.verb, call.headers.get("authorization")))
        if not await card(call):
            await call.stream({"task": DONE})

    async with raw(moving) as agent, company(tmp_path) as gateway:
        name = await gateway.agent(agent.base_url, auth_token="secret-token")
        run = await gateway.ended(await gateway.spawn(name))
    assert (run.status, run.error) == (RunStatus.COMPLETED, None)
    assert seen == [("GET", "Bearer secret-token"), ("POST", "Bearer secret-token")]


@pytest.mark.parametrize(
    ("status", "location", "text"),
    [
        ("307 Temporary Redirect", "/rpc", "in circles"),
        ("302 Found", "/other", "loses the message"),
        ("303 See Other", "/other", "loses the message"),
        ("307 Temporary Redirect", "https://127.0.0.1:1/rpc", "https://127.0.0.1:1"),
        ("307 Temporary Redirect", "//elsewhere.example/rpc", "http://elsewhere.example"),
        ("307 Temporary Redirect", "file:///etc/passwd", "another origin"),
    ],
)
async def test_a_redirect_that_is_not_followed_says_where_it_leads(
    tmp_path: Path, status: str, location: str, text: str
) -> None:
    async def moving(call: Call) -> None:
        await call.answer(b"", status, f"Location: {location}")

    async with raw(with_card(moving)) as agent, company(tmp_path) as gateway:
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
    assert reason_of(run)[0] == "agent_protocol"
    assert text in reason_of(run)[1]
    assert len(agent.calls) <= 1 + 6
