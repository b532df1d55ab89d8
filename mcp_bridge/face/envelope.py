"""What a body at /mcp must be before MCP reads it: one JSON-RPC message, in a line of refusal else.

Pure; knows no method. The SDK answers some of these with a dump of its models, and takes a request
whose id is no id for a notification: its sender would wait for ever.
"""

from typing import Final, cast

from mcp.types import INVALID_PARAMS, INVALID_REQUEST

from gateway.core import json
from gateway.core.json import JsonObject

LOOKED_AT: Final = 1024 * 1024  # bytes; 1 ms. Of a larger body only the beginning is looked at.
_BATCH: Final = "send one JSON-RPC message as an object; there are no batches"


class EnvelopeError(Exception):
    """A body that is no message. `request_id` is None where it cannot be told."""

    def __init__(self, code: int, text: str, request_id: int | str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.request_id = request_id


def check(body: bytes) -> None:
    """Raises: EnvelopeError. What is no JSON at all is left to the SDK, which says where."""
    if body.lstrip()[:1] == b"[":
        raise EnvelopeError(INVALID_REQUEST, _BATCH)
    if len(body) > LOOKED_AT:
        return
    try:
        message = json.decode(body)
    except ValueError:
        return
    if not isinstance(message, dict):
        raise EnvelopeError(INVALID_REQUEST, _BATCH)
    _check_message(cast("JsonObject", message))


def _check_message(message: JsonObject) -> None:
    request_id = message.get("id")
    is_id = isinstance(request_id, int | str) and not isinstance(request_id, bool)
    known = request_id if is_id else None
    if message.get("jsonrpc") != "2.0":
        raise EnvelopeError(INVALID_REQUEST, 'jsonrpc must be "2.0"', known)
    if "result" in message or "error" in message:
        return  # an answer: the gateway asks its clients nothing, and it is taken and dropped
    if not isinstance(message.get("method"), str):
        raise EnvelopeError(INVALID_REQUEST, "method must be a string", known)
    if "id" in message and not is_id:
        raise EnvelopeError(INVALID_REQUEST, "a request's id is a string or an integer")
    if not isinstance(message.get("params", {}), dict):
        raise EnvelopeError(INVALID_PARAMS, "params must be an object", known)
