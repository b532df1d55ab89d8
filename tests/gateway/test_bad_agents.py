"""Whatever an agent does, its run ends with a reason that says what to do, and nothing else."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway.core import json
from gateway.core.extension import URI
from gateway.core.record import Run
from gateway.core.status import RunStatus
from tests.core.faces import served
from tests.core.puppet import Stage
from tests.gateway.foreigners import Answer, card_of, liar, stream_of
from tests.gateway.house import House, house

OURS: dict[str, Any] = {"capabilities": {"streaming": True, "extensions": [{"uri": URI}]}}
FACTS = {URI: {"log_id": "l", "last_seq": 0}}
WORKING = {"state": "TASK_STATE_WORKING"}
TASK = {"id": "t-1", "contextId": "c-1", "status": WORKING, "metadata": FACTS}


def update(seq: int, type_: str, data: object, task_id: str = "t-1") -> dict[str, Any]:
    about = {"seq": seq, "ts": "2026-11-22T10:00:00Z", "type": type_, "data": data}
    item = {"taskId": task_id, "contextId": "c-1", "status": WORKING, "metadata": {URI: about}}
    return {"statusUpdate": item}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def failed(gateway: House, name: str) -> Run:
    """The failed run at this agent; the gateway still serves."""
    run = await gateway.ended(await gateway.spawn(name))
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert "Traceback" not in run.error.message
    return run


def reason_of(run: Run) -> tuple[str | None, str]:
    assert run.error is not None
    return run.error.reason, run.error.message


async def test_nobody_there_is_agent_unreachable(tmp_path: Path) -> None:
    async with house(tmp_path) as gateway:
        url = f"http://127.0.0.1:{free_port()}"
        reason, text = reason_of(await failed(gateway, await gateway.agent(url)))
    assert reason == "agent_unreachable"
    assert url in text
    assert "check that it runs" in text


@pytest.mark.parametrize("token", [None, "wrong"])
async def test_a_wrong_token_is_said_with_where_to_give_the_right_one(
    tmp_path: Path, token: str | None
) -> None:
    async with (
        served(tmp_path / "agent", driver_for=Stage().driver_for, token="t" * 43) as agent,
        house(tmp_path / "gateway") as gateway,
    ):
        config = {} if token is None else {"auth_token": token}
        name = await gateway.agent(agent.base_url, **config)
        reason, text = reason_of(await failed(gateway, name))
    assert reason == "agent_unauthorized"
    assert "backend_config.auth_token" in text
    assert "wrong" not in text


async def test_a_card_that_names_another_host_gets_no_credentials(tmp_path: Path) -> None:
    stolen: list[str] = []

    async def thief(request: Request) -> Response:
        stolen.append(request.headers.get("Authorization", ""))
        return Response(status_code=500)

    async with (
        liar(thief) as other,
        liar(thief, lambda _url: card_of(other.base_url)) as agent,
        house(tmp_path) as gateway,
    ):
        name = await gateway.agent(agent.base_url, auth_token="secret-token")
        reason, text = reason_of(await failed(gateway, name))
    assert reason == "agent_card"
    assert "another origin" in text
    assert stolen == []


async def test_a_redirect_to_another_origin_is_refused_and_says_where_to(tmp_path: Path) -> None:
    stolen: list[str] = []

    async def thief(request: Request) -> Response:
        stolen.append(request.headers.get("Authorization", ""))
        return Response(status_code=500)

    async with liar(thief) as other:

        async def elsewhere(_request: Request) -> Response:
            return RedirectResponse(f"{other.base_url}/rpc", status_code=307)

        async with liar(elsewhere) as agent, house(tmp_path) as gateway:
            name = await gateway.agent(agent.base_url, auth_token="secret-token")
            reason, text = reason_of(await failed(gateway, name))
    assert reason == "agent_protocol"
    assert other.base_url in text
    assert stolen == []


async def _garbage(_request: Request) -> Response:
    return Response("data: {not json\n\n", media_type="text/event-stream")


async def _other_id(_request: Request) -> Response:
    body = json.encode({"jsonrpc": "2.0", "id": "someone-else", "result": {"task": TASK}})
    return Response(f"data: {body}\n\n", media_type="text/event-stream")


async def _page(_request: Request) -> Response:
    return Response("<html>hello</html>", media_type="text/html")


async def _broken(_request: Request) -> Response:
    return Response("no", status_code=418)


async def _refusing(request: Request) -> Response:
    number = json.decode_object(await request.body())["id"]
    error = {"code": -32602, "message": "I do not\nlike it", "data": "free text"}
    return Response(json.encode({"id": number, "error": error}), media_type="application/json")


LIES: dict[str, tuple[Answer, str]] = {
    "invalid JSON": (_garbage, "agent_protocol"),
    "another request's id": (_other_id, "agent_protocol"),
    "a web page": (_page, "agent_protocol"),
    "a status nobody expects": (_broken, "agent_protocol"),
    "an error": (_refusing, "agent_refused"),
    "another task": (
        stream_of({"task": TASK}, update(1, "run_started", {}, task_id="t-2")),
        "agent_protocol",
    ),
    "a task without an id": (stream_of({"task": {"status": WORKING}}), "agent_protocol"),
}


@pytest.mark.parametrize("lie", list(LIES))
@pytest.mark.parametrize("ours", [True, False], ids=["extension", "foreign"])
async def test_an_agent_that_lies_ends_its_run_and_nothing_else(
    tmp_path: Path, lie: str, ours: bool
) -> None:
    answer, expected = LIES[lie]
    more = OURS if ours else {}
    async with (
        liar(answer, lambda url: card_of(url, **more)) as agent,
        house(tmp_path) as gateway,
    ):
        reason, text = reason_of(await failed(gateway, await gateway.agent(agent.base_url)))
    assert reason == expected
    assert "\n" not in text


@pytest.mark.parametrize(
    "events",
    [
        [update(1, "run_completed", {"final_response": "at once"})],
        [update(1, "run_started", {}), update(2, "agent_message", {"text": 7})],
        [
            update(1, "run_started", {}),
            update(2, "input_required", {"text": "?", "pending": ["?"]}),
        ],
        [update(1, "status_changed", {"status": "dancing"})],
    ],
    ids=["completed before it ran", "a text that is none", "a request without id", "a status"],
)
async def test_events_that_cannot_be_end_the_run_agent_protocol(
    tmp_path: Path, events: list[dict[str, Any]]
) -> None:
    answer = stream_of({"task": TASK}, *events)
    async with (
        liar(answer, lambda url: card_of(url, **OURS)) as agent,
        house(tmp_path) as gateway,
    ):
        reason, _ = reason_of(await failed(gateway, await gateway.agent(agent.base_url)))
    assert reason == "agent_protocol"


async def test_an_event_of_a_type_we_do_not_know_is_kept_raw(tmp_path: Path) -> None:
    answer = stream_of(
        {"task": TASK},
        update(1, "run_started", {}),
        update(2, "weather_changed", {"sky": "blue"}),
        update(3, "run_completed", {}),
    )
    async with (
        liar(answer, lambda url: card_of(url, **OURS)) as agent,
        house(tmp_path) as gateway,
    ):
        run = await gateway.ended(await gateway.spawn(await gateway.agent(agent.base_url)))
        events = await gateway.events(run)
    raw = {"type": "weather_changed", "data": {"sky": "blue"}}
    assert events[1] == ("message_added", {"role": "agent", "raw": raw})
    assert run.status is RunStatus.COMPLETED


CARDS: dict[str, tuple[Callable[[str], Any], str]] = {
    "missing": (lambda _url: Response(status_code=404), "HTTP 404"),
    "a page": (lambda _url: Response("<html>"), "not a JSON object"),
    "elsewhere": (lambda _url: {"url": "http://x", "protocolVersion": "0.3.0"}, "http://x"),
    "0.1": (lambda url: {"url": url, "protocolVersion": "0.1"}, "JSONRPC 0.1"),
    "gRPC alone": (lambda url: {"url": url, "preferredTransport": "GRPC"}, "GRPC 0.3"),
    "empty": (lambda _url: {"name": "empty"}, "no supportedInterfaces"),
}


@pytest.mark.parametrize("kind", list(CARDS))
async def test_a_card_that_cannot_be_used_says_why(tmp_path: Path, kind: str) -> None:
    card, said = CARDS[kind]
    async with liar(_page, card) as agent, house(tmp_path) as gateway:
        _, text = reason_of(await failed(gateway, await gateway.agent(agent.base_url)))
    assert said in text


async def test_a_start_whose_answer_was_lost_is_never_sent_twice_to_a_foreign_agent(
    tmp_path: Path,
) -> None:
    calls: list[str] = []

    async def hangs_up(request: Request) -> Response:
        calls.append(json.decode_object(await request.body())["method"])
        return Response(status_code=500)

    async with liar(hangs_up) as agent, house(tmp_path) as gateway:
        reason, text = reason_of(await failed(gateway, await gateway.agent(agent.base_url)))
    assert reason == "start_unknown"
    assert "twice" in text
    assert calls.count("SendStreamingMessage") == 1
    assert set(calls) == {"SendStreamingMessage", "ListTasks"}, "it was looked for"
