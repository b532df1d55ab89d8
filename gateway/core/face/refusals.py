"""How refusals leave as A2A errors: one table, code -> error, for every transport.

Knows no operation. What nobody foresaw leaves as an internal error without its text.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from a2a.utils.error_handlers import build_error_details, build_rest_error_payload
from a2a.utils.errors import (
    JSON_RPC_ERROR_CODE_MAP,
    A2AError,
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from starlette.responses import JSONResponse, Response

from gateway.core.errors import CoreError
from gateway.core.json import JsonObject

# One table; a test proves that every code of `errors` is in it.
A2A_ERRORS: Final[Mapping[str, type[A2AError]]] = {
    "run_not_found": TaskNotFoundError,
    "payload_not_found": TaskNotFoundError,
    "push_config_not_found": TaskNotFoundError,
    "not_cancelable": TaskNotCancelableError,
    "not_resumable": UnsupportedOperationError,
    "run_ended": UnsupportedOperationError,
    "not_steerable": UnsupportedOperationError,
    "cancel_pending": UnsupportedOperationError,
    "invalid_input": InvalidParamsError,
    "request_key_conflict": InvalidParamsError,
    "session_conflict": InvalidParamsError,
    "request_gone": InvalidParamsError,
    "already_answered": InvalidParamsError,
    "ambiguous_answer": InvalidParamsError,
    "not_an_answer": InvalidParamsError,
    "replay_expired": InvalidParamsError,
    "replay_diverged": InvalidParamsError,
    "fenced": InternalError,
    "server_stopping": InternalError,
    "secret_lost": InternalError,
    "storage_full": InternalError,
    "storage_unavailable": InternalError,
    "database_unusable": InternalError,
    "internal": InternalError,
}

logger = logging.getLogger(__name__)


def a2a_error(error: CoreError) -> A2AError:
    """The A2A error of a refusal: its text for people, its code (and field) for programs."""
    facts = {"code": error.code}
    for name in ("field", "first_seq"):
        if (value := getattr(error, name, None)) is not None:
            facts[name] = str(value)
    return A2A_ERRORS.get(error.code, InternalError)(str(error), facts)


@contextmanager
def translated(what: str) -> Generator[None]:
    """Everything that leaves is an A2AError. The root of a request, so it catches all."""
    try:
        yield
    except A2AError:
        raise
    except CoreError as exc:
        raise a2a_error(exc) from exc
    except Exception as exc:
        logger.exception("%s failed", what)
        raise InternalError(f"{what} failed; the server's log says why") from exc


def going_away(run_id: str) -> A2AError:
    """What a caller is told who waits on a server that stops."""
    return InternalError(
        f"the server is stopping; ask for task {run_id} when it is back",
        {"code": "server_stopping"},
    )


def unsupported_type(path: str) -> JsonObject | None:
    """A body that is no JSON, refused in the form of the binding at `path` (specification 5.4)."""
    error = ContentTypeNotSupportedError(
        "send JSON with Content-Type: application/json", {"code": "content_type"}
    )
    if path.rstrip("/").endswith("/jsonrpc"):
        return jsonrpc_error(None, error)
    if "/a2a/rest/" not in path:
        return None
    payload = build_rest_error_payload(error)
    payload["error"]["code"] = 415  # the SDK's table says 400
    return payload


def jsonrpc_error(request_id: str | float | None, error: A2AError) -> JsonObject:
    """An error in the form of the JSON-RPC binding."""
    code = JSON_RPC_ERROR_CODE_MAP.get(type(error), JSON_RPC_ERROR_CODE_MAP[InternalError])
    said = {"code": code, "message": error.message, "data": build_error_details(error)}
    return {"jsonrpc": "2.0", "id": request_id, "error": said}


def rest_error(error: A2AError, *, old: bool = False) -> Response:
    """An error in the form of the HTTP+JSON binding; `old`: what clients of 0.3 look for too."""
    payload = build_rest_error_payload(error)
    status: int = payload["error"]["code"]
    if old:
        payload |= {"type": type(error).__name__, "message": error.message}
    return JSONResponse(payload, status_code=status)
