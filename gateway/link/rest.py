"""An agent's HTTP+JSON interface: unary calls and event streams. Implements `Endpoint` for A2A 1.x.

Knows the binding's paths and nothing of runs. Not the SDK's transport: that one reads bodies and
lines of any length into memory and gives every error the same class.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlencode

import httpx

from gateway.core import json
from gateway.core.json import JsonObject
from gateway.errors import AgentProtocolError, AgentRefusedError
from gateway.link.answers import METHOD_NOT_FOUND, decode, http_refusal, is_json, is_stream
from gateway.link.client import Link
from gateway.link.endpoint import V1
from gateway.link.saying import JSON, SSE, said
from gateway.link.sse import EventReader, EventTooLargeError
from gateway.link.timing import UNARY_S, WORK_S

# Specification 1.0, section 11.3. A GET's params are its query, a POST's its body.
PATHS: Final[Mapping[str, tuple[str, str]]] = {
    "SendMessage": ("POST", "/message:send"),
    "SendStreamingMessage": ("POST", "/message:stream"),
    "GetTask": ("GET", "/tasks/{id}"),
    "ListTasks": ("GET", "/tasks"),
    "CancelTask": ("POST", "/tasks/{id}:cancel"),
    "SubscribeToTask": ("POST", "/tasks/{id}:subscribe"),
}
_UNKNOWN_ROUTE: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class RestEndpoint:
    """An agent's HTTP+JSON interface; `root_url` is what the paths follow, a tenant included."""

    link: Link
    base_url: str
    root_url: str
    extensions: tuple[str, ...] = ()
    streaming: bool = True
    version: str = V1

    @property
    def agent(self) -> str:
        return self.link.agent

    async def call(self, method: str, params: JsonObject) -> JsonObject:
        """The result of a unary method. Raises: GatewayError."""
        verb, url, content = self._request(method, params)
        head_s = WORK_S if method == "SendMessage" else UNARY_S
        headers = said(JSON, self.version, self.extensions)
        async with self.link.open(verb, url, headers, content, head_s) as response:
            return await self._whole(method, response)

    async def stream(
        self, method: str, params: JsonObject
    ) -> AsyncGenerator[list[JsonObject], None]:
        """The results of a streaming method, in the groups they arrive in; ends as the agent ends.

        Close it (`contextlib.aclosing`) when done. Raises: GatewayError.
        """
        verb, url, content = self._request(method, params)
        try:
            async with aclosing(self._streamed(method, verb, url, content)) as groups:
                async for items in groups:
                    yield items
        except AgentRefusedError as exc:
            if method != "SubscribeToTask" or exc.rpc_code != METHOD_NOT_FOUND:
                raise
        else:
            return
        # The specification's text posts it, its protobuf file gets it; servers have either or both.
        async with aclosing(self._streamed(method, "GET", url, None)) as groups:
            async for items in groups:
                yield items

    async def _streamed(
        self, method: str, verb: str, url: str, content: bytes | None
    ) -> AsyncGenerator[list[JsonObject], None]:
        headers = said(SSE, self.version, self.extensions)
        async with self.link.open(verb, url, headers, content, WORK_S) as response:
            if response.status_code != 200 or not is_stream(response.headers.get("content-type")):
                yield [await self._whole(method, response)]
                return
            reader = EventReader()
            async with aclosing(self.link.pieces(response, WORK_S)) as chunks:
                async for chunk in chunks:
                    try:
                        events = reader.feed(chunk)
                    except EventTooLargeError as exc:
                        raise AgentProtocolError(self.agent, url, str(exc)) from exc
                    if events:
                        yield [self._item(method, url, event.data) for event in events]

    def _request(self, method: str, params: JsonObject) -> tuple[str, str, bytes | None]:
        verb, path = PATHS[method]
        rest = dict(params)
        if "{id}" in path:
            path = path.replace("{id}", quote(str(rest.pop("id")), safe=""))
        if verb == "POST":
            return verb, self.root_url + path, json.dump(rest)
        query = urlencode({name: _query_text(value) for name, value in rest.items()})
        return verb, f"{self.root_url}{path}{'?' if query else ''}{query}", None

    async def _whole(self, method: str, response: httpx.Response) -> JsonObject:
        """An answer that is no stream: the result, or what the agent said went wrong."""
        url, status = str(response.url), response.status_code
        error = None if status in (200, 201) else self.link.status_error(response)
        readable = error is None or is_json(response.headers.get("content-type"))
        if status not in (401, 403) and readable:
            text = await self.link.body(response)
            if error is None:
                return self._item(method, url, text)
            with suppress(ValueError):
                error = http_refusal(self.agent, method, decode(text)) or error
        if isinstance(error, AgentProtocolError) and status in _UNKNOWN_ROUTE:
            raise AgentRefusedError(
                self.agent, method, METHOD_NOT_FOUND, f"HTTP {status} at {url}", []
            )
        assert error is not None
        raise error

    def _item(self, method: str, url: str, text: bytes) -> JsonObject:
        try:
            item = decode(text)
        except ValueError as exc:
            what = f"{method} was answered with invalid JSON"
            raise AgentProtocolError(self.agent, url, what) from exc
        if (error := http_refusal(self.agent, method, item)) is not None:
            raise error
        return item


def _query_text(value: object) -> str:
    return value if isinstance(value, str) else json.encode(value)
