"""An agent's JSON-RPC interface: unary calls and event streams. Implements `Endpoint` for A2A 1.x.

Knows JSON-RPC and nothing of runs.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import httpx

from gateway.core import json
from gateway.core.extension import LAST_EVENT_ID_HEADER
from gateway.core.json import JsonObject, as_object
from gateway.errors import AgentProtocolError, GatewayError
from gateway.link.answers import decode, is_json, is_stream, refusal
from gateway.link.client import Link
from gateway.link.endpoint import V1
from gateway.link.saying import JSON, SSE, said
from gateway.link.sse import EventReader, EventTooLargeError
from gateway.link.timing import SILENCE_S, UNARY_S, WORK_S

_ids: Final = count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonRpcEndpoint:
    """An agent's JSON-RPC interface. `base_url` is what it was registered by; `extension`: its
    card declares the coding-run extension; `extensions` are the URIs that are asked for; `names`
    are those of methods that are called otherwise on its wire."""

    link: Link
    base_url: str
    rpc_url: str
    extension: bool = False
    extensions: tuple[str, ...] = ()
    streaming: bool = True
    version: str = V1
    tenant: str = ""
    names: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def agent(self) -> str:
        return self.link.agent

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary method. Raises: GatewayError."""
        number, content = self._request(method, params)
        # Ours answer a send at once; others may do their work first.
        head_s = WORK_S if method == "SendMessage" else UNARY_S
        head_s = UNARY_S if self.extension else head_s
        headers = said(JSON, self.version, self.extensions)
        async with self.link.open("POST", self.rpc_url, headers, content, head_s) as response:
            return await self._whole(method, number, response)

    async def stream(
        self, method: str, params: JsonObject, *, after: int | None = None
    ) -> AsyncGenerator[list[JsonObject], None]:
        """The results of a streaming method, in the groups they arrive in; ends as the agent ends.

        `after` is the Last-Event-ID of a replay. Close it (`contextlib.aclosing`) when done.
        Raises: GatewayError.
        """
        number, content = self._request(method, params)
        headers = said(SSE, self.version, self.extensions)
        if after is not None:
            headers[LAST_EVENT_ID_HEADER] = str(after)
        first_s = SILENCE_S if self.extension else WORK_S
        opening = self.link.open("POST", self.rpc_url, headers, content, first_s)
        del params, headers, content  # a stream may last for hours
        async with opening as response:
            if response.status_code != 200 or not is_stream(response.headers.get("content-type")):
                yield [await self._whole(method, number, response)]
                return
            reader = EventReader()
            async with aclosing(self.link.pieces(response, first_s)) as chunks:
                async for chunk in chunks:
                    try:
                        events = reader.feed(chunk)
                    except EventTooLargeError as exc:
                        raise AgentProtocolError(self.agent, self.rpc_url, str(exc)) from exc
                    if events:
                        yield [self._result(method, number, event.data) for event in events]

    def _request(self, method: str, params: JsonObject) -> tuple[int, bytes]:
        number = next(_ids)
        if self.tenant:
            params = {**params, "tenant": self.tenant}
        name = self.names.get(method, method)
        return number, json.dump({"jsonrpc": "2.0", "id": number, "method": name, "params": params})

    async def _whole(self, method: str, number: int, response: httpx.Response) -> JsonObject:
        """An answer that is no stream. A JSON-RPC error in its body says more than its status."""
        if response.status_code == 200:
            return self._result(method, number, await self.link.body(response))
        error: GatewayError = self.link.status_error(response)
        if response.status_code in (401, 403) or not is_json(response.headers.get("content-type")):
            raise error
        text = await self.link.body(response)
        try:
            told = as_object(decode(text).get("error"))
        except ValueError:
            raise error from None
        # A code in words is no JSON-RPC error: the server refused before it looked at the call.
        raise refusal(self.agent, method, told) if isinstance(told.get("code"), int) else error

    def _result(self, method: str, number: int, text: bytes) -> JsonObject:
        try:
            answer = decode(text)
        except ValueError as exc:
            what = f"{method} was answered with invalid JSON"
            raise AgentProtocolError(self.agent, self.rpc_url, what) from exc
        if answer.get("error") is not None:
            raise refusal(self.agent, method, as_object(answer["error"]))
        if answer.get("id") != number or not isinstance(answer.get("result"), dict):
            what = f"{method} was answered without the request's id and a result"
            raise AgentProtocolError(self.agent, self.rpc_url, what)
        return as_object(answer["result"])
