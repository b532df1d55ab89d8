"""What gets past the guard, and what never reaches a route."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from gateway.core.face.caller import LOCAL, caller_of
from gateway.core.face.guard import MAX_BODY, Guard
from tests.core.faces import headers, params, served

TOKEN = "t" * 43
JSON = {"Content-Type": "application/json"}


class Routes:
    """An app behind a guard that counts what reached it."""

    def __init__(self, token: str | None = TOKEN, **settings: Any) -> None:
        self.reached: list[str] = []
        app = Starlette(
            routes=[
                Route(path, self._reached, methods=["GET", "POST", "DELETE"])
                for path in ("/healthz", "/x/.well-known/agent-card.json", "/a2a", "/mcp")
            ]
        )
        self.guarded = Guard(app, token=token, **settings)

    async def _reached(self, request: Request) -> Response:
        self.reached.append(request.url.path)
        body = await request.body()
        caller = caller_of(request.scope, request.receive)
        return JSONResponse({"size": len(body), "principal": caller.principal})

    def client(self, base_url: str = "http://127.0.0.1:8000") -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.ASGITransport(app=self.guarded), base_url=base_url)


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_right_token_passes_and_names_the_principal() -> None:
    routes = Routes()
    async with routes.client() as http:
        for scheme in ("Bearer", "bearer"):
            answer = await http.get("/a2a", headers={"Authorization": f"{scheme} {TOKEN}"})
            assert answer.json()["principal"] == LOCAL


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer \u00e9",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
async def test_without_the_right_token_nothing_is_reached(
    method: str, authorization: str | None
) -> None:
    routes = Routes()
    sent = httpx.Headers(
        [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    )
    async with routes.client() as http:
        for path in ("/a2a", "/mcp", "/nothing"):
            answer = await http.request(method, path, headers=sent)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert TOKEN not in answer.text
    assert routes.reached == []


async def test_two_authorization_headers_are_none() -> None:
    routes = Routes()
    async with routes.client() as http:
        both = [("Authorization", "Bearer wrong"), ("Authorization", f"Bearer {TOKEN}")]
        assert (await http.get("/a2a", headers=both)).status_code == 401


async def test_the_card_and_the_health_check_are_public_to_readers_only() -> None:
    routes = Routes()
    async with routes.client() as http:
        for path in ("/healthz", "/x/.well-known/agent-card.json"):
            assert (await http.get(path)).status_code == 200
            assert (await http.post(path, json={})).status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:1", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("gateway.test", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8000", 421),
        ("0.0.0.0", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
async def test_only_our_own_names_are_answered(host: str, status: int) -> None:
    routes = Routes(hosts=["gateway.test"])
    async with routes.client() as http:
        answer = await http.get("/healthz", headers={"Host": host})
        assert answer.status_code == status
    assert len(routes.reached) == (status == 200)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 200),
        ("http://127.0.0.1:8000", 200),
        ("null", 403),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("file://localhost", 403),
        ("", 403),
    ],
)
async def test_a_page_of_another_origin_is_refused_with_the_token_too(
    origin: str, status: int
) -> None:
    routes = Routes()
    async with routes.client() as http:
        for method in ("GET", "POST", "OPTIONS"):
            answer = await http.request(method, "/a2a", headers={**bearer(), "Origin": origin})
            assert answer.status_code == (405 if status == 200 and method == "OPTIONS" else status)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("application/a2a+json", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
async def test_a_body_is_json_or_nothing(content_type: str, status: int) -> None:
    routes = Routes()
    async with routes.client() as http:
        answer = await http.post(
            "/a2a", content=b"{}", headers={**bearer(), "Content-Type": content_type}
        )
        assert answer.status_code == status
        assert (await http.post("/a2a", headers=bearer())).status_code == 200, "no body, no type"


@pytest.mark.parametrize(
    ("path", "code", "reason"),
    [
        ("/a2a/jsonrpc/", -32005, "CONTENT_TYPE_NOT_SUPPORTED"),
        ("/agents/x/a2a/rest/message:send", 415, "CONTENT_TYPE_NOT_SUPPORTED"),
        ("/a2a", "content_type", None),
    ],
)
async def test_another_media_type_is_refused_in_the_words_of_the_binding(
    path: str, code: object, reason: str | None
) -> None:
    routes = Routes()
    async with routes.client() as http:
        answer = await http.post(path, content=b"hello", headers=bearer())
    error = answer.json()["error"]
    details: Any = error.get("data") or error.get("details") or [{}]
    assert (answer.status_code, error["code"]) == (415, code)
    assert details[0].get("reason") == reason


async def test_no_token_leaves_the_other_checks_in_place() -> None:
    routes = Routes(token=None)
    async with routes.client() as http:
        assert (await http.post("/a2a", json={})).status_code == 200
        assert (await http.post("/a2a", content=b"x")).status_code == 415
        assert (await http.get("/a2a", headers={"Host": "evil.example"})).status_code == 421


async def test_a_body_over_the_limit_is_refused_with_and_without_its_length() -> None:
    routes = Routes()

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(5):
            yield b"x" * (MAX_BODY // 4)

    async with routes.client() as http:
        known = await http.post("/a2a", content=b" " * (MAX_BODY + 1), headers=bearer() | JSON)
        chunked = await http.post("/a2a", content=pieces(), headers=bearer() | JSON)
        fits = await http.post("/a2a", content=b" " * MAX_BODY, headers=bearer() | JSON)
    assert (known.status_code, chunked.status_code) == (413, 413)
    assert fits.json()["size"] == MAX_BODY
    assert len(routes.reached) == 1


async def test_a_length_over_the_limit_is_refused_before_anything_is_read() -> None:
    routes = Routes()
    answers: list[Message] = []

    async def receive() -> Message:
        assert answers[-1]["body"], "the body was read before the answer was given"
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answers.append(message)

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/a2a",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", f"Bearer {TOKEN}".encode()),
            (b"content-length", str(MAX_BODY + 1).encode()),
        ],
    }
    await routes.guarded(scope, receive, send)
    assert answers[0]["status"] == 413


async def test_a_refused_client_is_heard_out_so_that_no_reset_overtakes_the_answer(
    tmp_path: Path,
) -> None:
    # A client that sends all of it before it reads once saw a broken connection instead of HTTP 413.
    async with served(tmp_path, token=TOKEN) as on:
        port = int(on.base_url.rpartition(":")[2])
        head = (
            "POST /a2a/jsonrpc HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Length: {5 * MAX_BODY}\r\n\r\n"
        )
        answer = b""
        with anyio.fail_after(20):
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(head.encode())
                for _ in range(5):
                    await stream.send(b" " * MAX_BODY)
                async for piece in stream:
                    answer += piece
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"at most" in answer


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        (b"[" * 64 + b"]" * 64, False),
        (b"[" * 65 + b"]" * 65, True),
        (b'{"a":' * 65 + b"1" + b"}" * 65, True),
        (b"[" * 200_000, True),
        (b"[" * 200_000 + b"]" * 200_000, True),
        (b"[" + b"[]," * 1000 + b"[]]", False),
        (json.dumps({"text": "[" * 1000}).encode(), False),
        (json.dumps({"text": '\\"' + "[{" * 1000 + '"'}).encode(), False),
        (b'"unterminated ' + b"[" * 1000, False),
        (b"", False),
    ],
)
async def test_nesting_is_judged_outside_of_strings(body: bytes, deep: bool) -> None:
    routes = Routes()
    async with routes.client() as http:
        answer = await http.post("/a2a", content=body, headers=bearer() | JSON)
    assert (answer.status_code == 400) is deep


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"1," * 100_000 + b"1]",
        b"[" + b'{"a":1},' * 50_000 + b"1]",
        b"[" + b'"\\\\",' * 120_000 + b"1]",
        b"[" + b"[[]]," * 50_000 + b"1]",
    ],
)
async def test_a_body_of_too_many_values_is_refused_before_it_is_parsed(body: bytes) -> None:
    """4 MiB of `{"a":1}` held all other callers up for a quarter of a second."""
    routes = Routes()
    async with routes.client() as http:
        answer = await http.post("/a2a", content=body, headers=bearer() | JSON)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_many_values"
    assert routes.reached == []


async def test_long_texts_are_not_taken_for_many_values() -> None:
    routes = Routes()
    texts = ['{"key": [1, 2, {"a": "b"}]}' * 20_000, "a,b,c\n" * 100_000, '\\"' * 300_000]
    async with routes.client() as http:
        for text in texts:
            answer = await http.post("/a2a", json={"text": text}, headers=bearer())
            assert answer.status_code == 200


async def test_the_routes_still_hear_when_their_client_leaves() -> None:
    heard: list[str] = []

    async def app(_scope: Scope, receive: Receive, _send: Send) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    messages: list[Message] = [
        {"type": "http.request", "body": b"{}", "more_body": False},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_message: Message) -> None:
        raise AssertionError

    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    await Guard(app, token=None)(scope, receive, send)
    assert heard == ["http.request", "http.disconnect"]


async def test_every_route_of_a_face_needs_the_token(tmp_path: Path) -> None:
    async with served(tmp_path, token=TOKEN) as on:
        task = await on.send("finish")
        paths = (
            "/a2a/jsonrpc",
            "/a2a/jsonrpc/",
            "/a2a/rest/message:send",
            "/a2a/rest/message:stream",
            "/a2a/rest/tasks",
            f"/a2a/rest/tasks/{task['id']}",
            f"/a2a/rest/tasks/{task['id']}:cancel",
            f"/a2a/rest/tasks/{task['id']}:subscribe",
            "/a2a/rest/extendedAgentCard",
            f"/tasks/{task['id']}/events/1/payload",
        )
        async with httpx.AsyncClient(base_url=on.base_url) as stranger:
            for path in paths:
                for method in ("GET", "POST", "DELETE", "OPTIONS", "PATCH"):
                    answer = await stranger.request(
                        method, path, headers=headers(), json=params("say hi")
                    )
                    assert answer.status_code == 401, (method, path)
            assert (await stranger.get("/healthz")).status_code == 200
            card = await stranger.get("/.well-known/agent-card.json")
            assert card.json()["securityRequirements"] == [{"schemes": {"bearer": {}}}]
        assert (await on.rpc("ListTasks", {}))["result"]["totalSize"] == 1


async def test_a_deep_body_never_meets_the_sdk(tmp_path: Path) -> None:
    """The SDK answers 200,000 brackets with 200 and the parser's own words."""
    async with served(tmp_path) as on:
        for path in ("/a2a/jsonrpc", "/a2a/rest/message:send"):
            answer = await on.http.post(path, content=b"[" * 200_000, headers={**headers(), **JSON})
            assert answer.status_code == 400
            assert answer.json()["error"]["code"] == "too_deep"


async def test_a_websocket_is_turned_away() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await Routes().guarded({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_a_further_token_is_its_holder_and_opens_what_it_is_for() -> None:
    other = "o" * 43

    def holder(token: bytes, scope: Scope) -> str | None:
        return "ada" if token == other.encode() and scope["path"] == "/a2a" else None

    routes = Routes(others=holder)
    async with routes.client() as http:
        assert (await http.get("/a2a", headers=bearer(other))).json()["principal"] == "ada"
        assert (await http.get("/a2a", headers=bearer())).json()["principal"] == LOCAL
        for path, token in (("/mcp", other), ("/a2a", other + "x")):
            assert (await http.get(path, headers=bearer(token))).status_code == 401
        basic = {"Authorization": f"Basic {other}"}
        assert (await http.get("/a2a", headers=basic)).status_code == 401
    assert routes.reached == ["/a2a", "/a2a"]


async def test_an_address_of_ipv6_is_a_host_as_urls_write_it() -> None:
    routes = Routes(hosts=["2001:db8::1"])
    async with routes.client("http://[2001:db8::1]:8000") as http:
        assert (await http.get("/a2a", headers=bearer())).status_code == 200
