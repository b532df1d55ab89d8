"""An agent's JSON-RPC interface of A2A 1.x: unary calls and event streams. Implements `Endpoint`.

Knows JSON-RPC and nothing of runs.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.extension import EXTENSIONS_HEADER, LAST_EVENT_ID_HEADER, URI, VERSION_HEADER
from gateway.core.json import JsonObject, as_object
from gateway.errors import AgentProtocolError, AgentRefusedError
from gateway.link.client import STREAM, UNARY, Link
from gateway.link.sse import EventReader, EventTooLargeError

_ids: Final = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRpcEndpoint:
    """An agent's JSON-RPC interface. `base_url` is what it was registered by; `extension`: its
    card declares the coding-run extension."""

    link: Link
    base_url: str
    rpc_url: str
    extension: bool = False
    streaming: bool = True

    @property
    def agent(self) -> str:
        return self.link.agent

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary method. Raises: GatewayError."""
        number, content = _request(method, params)
        headers = self._headers("application/json", None)
        async with self.link.open("POST", self.rpc_url, headers, content, UNARY) as response:
            return self._result(method, number, await self.link.body(response))

    async def stream(
        self, method: str, params: JsonObject, *, after: int | None = None
    ) -> AsyncGenerator[list[JsonObject], None]:
        """The results of a streaming method, in the groups they arrive in; ends as the agent ends.

        `after` is the Last-Event-ID of a replay. Close it (`contextlib.aclosing`) when done.
        Raises: GatewayError.
        """
        number, content = _request(method, params)
        headers = self._headers("text/event-stream", after)
        async with self.link.open("POST", self.rpc_url, headers, content, STREAM) as response:
            if not response.headers.get("content-type", "").startswith("text/event-stream"):
                yield [self._result(method, number, await self.link.body(response))]
                return
            reader = EventReader()
            async for chunk in response.aiter_bytes():
                try:
                    events = reader.feed(chunk)
                except EventTooLargeError as exc:
                    raise AgentProtocolError(self.agent, self.rpc_url, str(exc)) from exc
                if events:
                    yield [self._result(method, number, event.data) for event in events]

    def _headers(self, accept: str, after: int | None) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": accept, VERSION_HEADER: "1.0"}
        if self.extension:
            headers[EXTENSIONS_HEADER] = URI
        if after is not None:
            headers[LAST_EVENT_ID_HEADER] = str(after)
        return headers

    def _result(self, method: str, number: int, text: bytes) -> JsonObject:
        try:
            answer = json.decode_object(text)
        except ValueError as exc:
            what = f"{method} was answered with invalid JSON"
            raise AgentProtocolError(self.agent, self.rpc_url, what) from exc
        if answer.get("error") is not None:
            raise self._refusal(method, as_object(answer["error"]))
        if answer.get("id") != number or not isinstance(answer.get("result"), dict):
            what = f"{method} was answered without the request's id and a result"
            raise AgentProtocolError(self.agent, self.rpc_url, what)
        return as_object(answer["result"])

    def _refusal(self, method: str, error: JsonObject) -> AgentRefusedError:
        code, text = error.get("code"), str(error.get("message") or "no reason given")
        return AgentRefusedError(
            self.agent,
            method,
            code if isinstance(code, int) else 0,
            " ".join(text[:2000].split())[:500],
            _details(error.get("data")),
        )


def _details(data: object) -> list[JsonObject]:
    """The `data` of a JSON-RPC error: in A2A 1.0 a list of typed details."""
    return [as_object(item) for item in cast("list[Any]", data)] if isinstance(data, list) else []


def _request(method: str, params: JsonObject) -> tuple[int, bytes]:
    number = next(_ids)
    body = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return number, json.encode(body).encode()
