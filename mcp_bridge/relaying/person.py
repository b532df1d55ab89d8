"""Puts what the gateway asks of a person to a client of the handshake's era, over the client's pipe.

Standard library only; knows no HTTP. The gateway asks within a result, as protocol 2026-07-28 has
it; such a client takes a request instead. So its polls are sent in the newer form, and what comes
back to be asked is asked here. All other messages stay as they are.
"""

import json
import queue
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp_bridge.relaying.exchange import VERSION_META, as_object

VERSION: Final = "2026-07-28"
ASKING_TOOL: Final = "poll_events"
LOOK_EVERY_S: Final = 0.5  # whether the call that asks was cancelled meanwhile
_META: Final = "io.modelcontextprotocol/"

Message = dict[str, Any]


class Person:
    """The person behind the client of one pipe, if the client says that it can ask one."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._greeting: Message | None = None
        self._lock = threading.Lock()
        self._asked = 0
        self._open: dict[str, queue.SimpleQueue[Message]] = {}

    def greeted(self, message: Message) -> None:
        """The client's `initialize`: what it can do, and who it is."""
        params = as_object(message.get("params"))
        can = isinstance(as_object(params.get("capabilities")).get("elicitation"), dict)
        self._greeting = params if can else None

    def newer(self, message: Message) -> Message | None:
        """A call that may ask, in the newer form; None for what stays as it is."""
        params = as_object(message.get("params"))
        meta = as_object(params.get("_meta"))
        if (
            self._greeting is None
            or message.get("method") != "tools/call"
            or params.get("name") != ASKING_TOOL
            or VERSION_META in meta
        ):
            return None
        about: Message = {
            VERSION_META: VERSION,
            f"{_META}clientCapabilities": self._greeting["capabilities"],
        }
        if isinstance(client := self._greeting.get("clientInfo"), dict):
            about[f"{_META}clientInfo"] = client
        return {**message, "params": {**params, "_meta": {**meta, **about}}}

    def answer(self, message: Message, result: Message, given_up: Callable[[], bool]) -> Message:
        """`message` once more, with what the person said to what `result` asks."""
        asked = as_object(result.get("inputRequests"))
        said = self._ask({key: as_object(request) for key, request in asked.items()}, given_up)
        params = {**message["params"], "inputResponses": said}
        if "requestState" in result:
            params["requestState"] = result["requestState"]
        return {**message, "params": params}

    def take(self, message: Message) -> None:
        """The client's answer to a request of ours; others are nobody's."""
        with self._lock:
            waiting = self._open.get(str(message.get("id")))
        if waiting is not None:
            waiting.put(message)

    def _ask(self, requests: Mapping[str, Message], given_up: Callable[[], bool]) -> Message:
        """All at once: the client shows them as it likes."""
        asked: dict[str, tuple[str, queue.SimpleQueue[Message]]] = {}
        for key, request in requests.items():
            with self._lock:
                self._asked += 1
                request_id = f"a2a-gateway-{self._asked}"
                waiting = self._open[request_id] = queue.SimpleQueue()
            asked[key] = request_id, waiting
            method, params = request.get("method"), _older(as_object(request.get("params")), key)
            self._say({"id": request_id, "method": method, "params": params})
        try:
            return {key: self._said(*waits, given_up) for key, waits in asked.items()}
        finally:
            with self._lock:
                for request_id, _ in asked.values():
                    del self._open[request_id]

    def _said(
        self,
        request_id: str,
        waiting: "queue.SimpleQueue[Message]",
        given_up: Callable[[], bool],
    ) -> Message:
        while not given_up():
            try:
                message = waiting.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                continue
            result = as_object(message.get("result"))
            return result if "action" in result else {"action": "cancel"}
        self._say({"method": "notifications/cancelled", "params": {"requestId": request_id}})
        return {"action": "cancel"}

    def _say(self, message: Message) -> None:
        self._write(json.dumps({"jsonrpc": "2.0", **message}).encode())


def _older(params: Message, key: str) -> Message:
    """What is asked, as clients since 2025-06-18 read it: titles beside an enum, and ids of links."""
    if params.get("mode") == "url":
        return {"elicitationId": key, **params}
    schema = as_object(params.get("requestedSchema"))
    fields = {
        name: _field(as_object(it)) for name, it in as_object(schema.get("properties")).items()
    }
    told = {name: value for name, value in params.items() if name != "mode"}
    return {**told, "requestedSchema": {**schema, "properties": fields}}


def _field(field: Message) -> Message:
    if "oneOf" not in field:
        return field
    choices = [as_object(one) for one in field["oneOf"]]
    rest = {name: value for name, value in field.items() if name != "oneOf"}
    names = [one.get("title", one.get("const")) for one in choices]
    return {**rest, "enum": [one.get("const") for one in choices], "enumNames": names}
