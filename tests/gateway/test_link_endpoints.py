"""What is sent to an agent by each of its interfaces, and how what it answers is read: real sockets."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

import pytest

from gateway.agents.card import Card
from gateway.agents.finding import endpoint_for, find_card
from gateway.core import json
from gateway.core.extension import URI
from gateway.dialects.spoken import DIALECTS
from gateway.errors import AgentProtocolError, AgentRefusedError, GatewayError
from gateway.link.client import Clients, Link
from gateway.link.endpoint import JSONRPC, REST, V03, V1, Endpoint, Interface
from tests.gateway.foreigners import card_of
from tests.gateway.raw import TASK, Call, Play, Raw, raw

JSON: Final = "Content-Type: application/json"
SENT: Final = {"message": {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "go"}]}}


@asynccontextmanager
async def link_to(play: Play) -> AsyncGenerator[tuple[Raw, Link]]:
    clients = Clients()
    async with raw(play) as server:
        link = Link(agent="it", client=clients.at(server.base_url), headers={"X-Mine": "1"})
        yield server, link
        await clients.close()


def endpoint(link: Link, server: Raw, binding: str, version: str = V1, **more: Any) -> Endpoint:
    one = Interface(
        binding=binding, version=version, url=f"{server.base_url}/x", tenant=more.pop("tenant", "")
    )
    card = Card(name="", description="", version="", interface=one, streaming=True, **more)
    return endpoint_for(link, server.base_url, card)


async def streamed(endpoint: Endpoint, method: str, params: json.JsonObject) -> list[Any]:
    async with aclosing(endpoint.stream(method, params)) as groups:
        return [item async for group in groups for item in group]


# -- what is sent ---------------------------------------------------------------------------------

REQUESTS: Final = [
    (REST, V1, "SendMessage", SENT, "POST /x/message:send"),
    (REST, V1, "GetTask", {"id": "a/b", "historyLength": 2}, "GET /x/tasks/a%2Fb?historyLength=2"),
    (REST, V1, "ListTasks", {"contextId": "c"}, "GET /x/tasks?contextId=c"),
    (REST, V1, "CancelTask", {"id": "t-1"}, "POST /x/tasks/t-1:cancel"),
    (REST, V03, "SendMessage", SENT, "POST /x/v1/message:send"),
    (REST, V03, "GetTask", {"id": "t-1", "historyLength": 0}, "GET /x/v1/tasks/t-1"),
    (JSONRPC, V03, "SendMessage", SENT, "message/send"),
    (JSONRPC, V03, "GetTask", {"id": "t-1"}, "tasks/get"),
    (JSONRPC, V03, "CancelTask", {"id": "t-1"}, "tasks/cancel"),
    (JSONRPC, V1, "CancelTask", {"id": "t-1"}, "CancelTask"),
]


@pytest.mark.parametrize(("binding", "version", "method", "params", "said"), REQUESTS)
async def test_a_method_is_said_as_the_interface_has_it(
    binding: str, version: str, method: str, params: json.JsonObject, said: str
) -> None:
    heard: list[str] = []

    async def answering(call: Call) -> None:
        assert call.headers["a2a-version"] == version
        assert call.headers["x-mine"] == "1"
        if binding == JSONRPC:
            heard.append(call.method)
            await call.result(TASK)
        else:
            heard.append(f"{call.verb} {call.path}")
            await call.answer(json.dump(TASK), "201 Created", JSON)

    async with link_to(answering) as (server, link):
        await endpoint(link, server, binding, version).call(method, params)
    assert heard == [said]


@pytest.mark.parametrize("binding", [JSONRPC, REST])
async def test_a_tenant_is_named_as_the_card_asks_for(binding: str) -> None:
    heard: list[Any] = []

    async def answering(call: Call) -> None:
        if binding == JSONRPC:
            heard.append(json.decode_object(call.body)["params"]["tenant"])
            await call.result(TASK)
        else:
            heard.append(call.path)
            await call.answer(json.dump(TASK), "200 OK", JSON)

    async with link_to(answering) as (server, link):
        await endpoint(link, server, binding, tenant="acme").call("GetTask", {"id": "t"})
    assert heard == ["acme" if binding == JSONRPC else "/x/acme/tasks/t"]


@pytest.mark.parametrize("version", [V1, V03])
async def test_the_extensions_that_we_speak_are_asked_for_and_no_other(version: str) -> None:
    dialect = next(uri for one in DIALECTS for uri in one.extensions)
    heard: list[tuple[str | None, str | None]] = []

    async def answering(call: Call) -> None:
        heard.append((call.headers.get("a2a-extensions"), call.headers.get("x-a2a-extensions")))
        await call.result(TASK)

    async with link_to(answering) as (server, link):
        for extensions in ((URI, "urn:other", dialect), ("urn:other",)):
            made = endpoint(link, server, JSONRPC, version, extensions=extensions)
            await made.call("GetTask", {"id": "t"})
    new = (f"{URI},{dialect}", None)
    assert heard == [new if version == V1 else (dialect, dialect), (None, None)]


# -- what comes back ------------------------------------------------------------------------------


def status_of(reason: str) -> json.JsonObject:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}
    return {"error": {"code": 404, "message": "no\nsuch task", "details": [info]}}


REFUSALS: Final[list[tuple[str, json.JsonObject, int]]] = [
    ("404 Not Found", status_of("TASK_NOT_FOUND"), -32001),
    ("400 Bad Request", status_of("TASK_NOT_CANCELABLE"), -32002),
    ("500 Oops", {"error": {"code": 500, "message": "boom"}}, -32603),
    ("404 Not Found", {"type": "TaskNotFoundError", "message": "gone"}, -32001),
    ("404 Not Found", {"code": -32001, "message": "gone"}, -32001),
    ("404 Not Found", {"detail": "Not Found"}, -32601),
    ("405 Method Not Allowed", {}, -32601),
]


@pytest.mark.parametrize(("status", "body", "code"), REFUSALS)
@pytest.mark.parametrize("method", ["CancelTask", "SubscribeToTask"])
async def test_an_error_over_http_is_a_refusal_with_json_rpcs_code(
    status: str, body: json.JsonObject, code: int, method: str
) -> None:
    async def refusing(call: Call) -> None:
        await call.answer(json.dump(body), status, JSON)

    async with link_to(refusing) as (server, link):
        made = endpoint(link, server, REST)
        asked = made.call if method == "CancelTask" else partial(streamed, made)
        with pytest.raises(AgentRefusedError) as caught:
            await asked(method, {"id": "t-1"})
    assert (caught.value.rpc_code, caught.value.method) == (code, method)
    assert "\n" not in str(caught.value)


async def test_a_subscription_that_cannot_be_posted_is_got() -> None:
    # The specification's text posts it, its protobuf file gets it; servers have either or both.
    async def getting(call: Call) -> None:
        if call.verb == "POST":
            await call.answer(b"", "405 Method Not Allowed")
            return
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        await call.say(head + b"data: " + json.dump({"task": TASK}) + b"\n\n")

    async with link_to(getting) as (server, link):
        made = endpoint(link, server, REST)
        assert await streamed(made, "SubscribeToTask", {"id": "t-1"}) == [{"task": TASK}]
    assert server.calls == ["POST /x/tasks/t-1:subscribe", "GET /x/tasks/t-1:subscribe"]


async def test_an_error_in_a_stream_over_http_is_a_refusal() -> None:
    async def refusing(call: Call) -> None:
        await call.stream()
        error = json.dump(status_of("UNSUPPORTED_OPERATION"))
        await call.say(b"event: error\ndata: " + error + b"\n\n")

    async with link_to(refusing) as (server, link):
        with pytest.raises(AgentRefusedError) as caught:
            await streamed(endpoint(link, server, REST), "SubscribeToTask", {"id": "t-1"})
    assert caught.value.rpc_code == -32004


async def test_a_json_rpc_error_in_an_http_error_says_more_than_its_number() -> None:
    async def refusing(call: Call) -> None:
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": -32603, "message": "boom"}}
        await call.answer(json.dump(error), "500 Internal Server Error", JSON)

    async with link_to(refusing) as (server, link):
        with pytest.raises(AgentRefusedError, match="boom"):
            await endpoint(link, server, JSONRPC).call("GetTask", {"id": "t-1"})


async def test_a_method_that_0_3_has_not_is_refused_here() -> None:
    async def never(call: Call) -> None:
        raise AssertionError(call.path)

    async with link_to(never) as (server, link):
        with pytest.raises(AgentRefusedError, match=r"0\.3"):
            await endpoint(link, server, JSONRPC, V03).call("ListTasks", {})


@pytest.mark.parametrize("binding", [JSONRPC, REST])
async def test_invalid_json_is_no_answer(binding: str) -> None:
    async def odd(call: Call) -> None:
        await call.answer(b"[1]", "200 OK", JSON)

    async with link_to(odd) as (server, link):
        with pytest.raises(AgentProtocolError, match="invalid JSON"):
            await endpoint(link, server, binding).call("GetTask", {"id": "t-1"})


# -- cards ----------------------------------------------------------------------------------------


async def test_a_card_that_has_not_changed_is_not_sent_again() -> None:
    async def showing(call: Call) -> None:
        if call.headers.get("if-none-match") == '"1"':
            await call.answer(b"", "304 Not Modified")
            return
        about = json.dump(card_of(call.server.base_url))
        await call.answer(about, "200 OK", JSON, 'ETag: "1"', "Cache-Control: max-age=60")

    async with link_to(showing) as (server, link):
        path = "/.well-known/agent-card.json"
        found = await find_card(link, server.base_url, path)
        assert found is not None
        assert (found.etag, found.cache_control) == ('"1"', "max-age=60")
        assert await find_card(link, server.base_url, path, etag=found.etag) is None


async def test_a_missing_card_says_how_to_give_its_path() -> None:
    async def missing(call: Call) -> None:
        await call.answer(b"", "404 Not Found")

    async with link_to(missing) as (server, link):
        with pytest.raises(GatewayError, match="agent_card_path"):
            await find_card(link, f"{server.base_url}/a", "/.well-known/agent-card.json")
    assert server.calls == [
        "GET /a/.well-known/agent-card.json",
        "GET /a/.well-known/agent.json",
        "GET /.well-known/agent-card.json",
    ]
