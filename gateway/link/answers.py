"""Foreign JSON -> results and refusals: what JSON-RPC and HTTP+JSON answers have in common. Pure.

Knows no run and no connection.
"""

from typing import Any, Final, cast

from a2a.utils.errors import A2A_REASON_TO_ERROR, JSON_RPC_ERROR_CODE_MAP

from gateway.core import json
from gateway.core.json import JsonObject, as_object, objects
from gateway.errors import AgentRefusedError

# orjson reads 1024 levels and writes 254; what is kept of an answer is written with some around it.
MAX_DEPTH: Final = 128
METHOD_NOT_FOUND: Final = -32601
INTERNAL: Final = -32603
_CODES: Final = {  # by the reasons of 1.0, and by the names of the SDK's 0.3
    **{reason: JSON_RPC_ERROR_CODE_MAP[error] for reason, error in A2A_REASON_TO_ERROR.items()},
    **{error.__name__: code for error, code in JSON_RPC_ERROR_CODE_MAP.items()},
}


def decode(text: bytes) -> JsonObject:
    """The object of a JSON text. Raises: ValueError when it is none, or nested too deep."""
    value = json.decode_object(text)
    if text.count(b"{") + text.count(b"[") > MAX_DEPTH and _deeper(value, MAX_DEPTH):
        raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels")
    return value


def _deeper(value: object, most: int) -> bool:
    """Level by level: Python's own recursion ends at 1000."""
    level = [value]
    for _ in range(most):
        level = [
            child
            for parent in level
            for child in _children(parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("JsonObject", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def refusal(agent: str, method: str, error: JsonObject) -> AgentRefusedError:
    """A JSON-RPC error object; in A2A 1.0 its `data` is a list of typed details."""
    code = error.get("code")
    return _refused(
        agent, method, code if isinstance(code, int) else 0, error, objects(error.get("data"))
    )


def http_refusal(agent: str, method: str, body: JsonObject) -> AgentRefusedError | None:
    """An error in the form of HTTP+JSON; None when the body is none.

    1.0: google.rpc.Status under `error`, told by its detail's `reason`. 0.3: the JSON-RPC error
    bare (the npm SDK) or `{type, message}` (the Python one).
    """
    status = as_object(body.get("error"))
    if status:
        details = objects(status.get("details"))
        reasons = (_CODES.get(str(detail.get("reason"))) for detail in details)
        code = next((code for code in reasons if code is not None), INTERNAL)
        return _refused(agent, method, code, status, details)
    if not isinstance(body.get("message"), str):
        return None
    number = body.get("code")
    known = number if isinstance(number, int) and number < 0 else _CODES.get(str(body.get("type")))
    return None if known is None else _refused(agent, method, known, body, [])


def _refused(
    agent: str, method: str, code: int, error: JsonObject, details: list[JsonObject]
) -> AgentRefusedError:
    text = str(error.get("message") or "no reason given")
    return AgentRefusedError(agent, method, code, " ".join(text[:2000].split())[:500], details)


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type says JSON of some kind."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def is_stream(content_type: str | None) -> bool:
    """Whether a Content-Type says server-sent events."""
    return (content_type or "").lower().startswith("text/event-stream")
