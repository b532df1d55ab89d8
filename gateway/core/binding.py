"""What a request is bound to: the run it begins, its session and folder, an earlier request.

Pure, but for the ids of runs, and of sessions that nobody named.
"""

import hashlib
from dataclasses import replace
from typing import Final

from gateway.core import json, messages
from gateway.core.errors import InvalidInputError, SessionConflictError
from gateway.core.extension import URI, CodingRequest, InvalidRequestError, read_request
from gateway.core.ids import new_id
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.record import Run, Session
from gateway.core.status import RunStatus
from gateway.core.store.entry import RequestKey

CONTEXT_ID_MAX: Final = 128  # the column's width; clients may choose a contextId


def session_of(
    known: Session | None,
    *,
    principal: str,
    agent: str,
    backend: str,
    context_id: str | None,
    asked: CodingRequest,
    at: int,
) -> Session:
    """The session a new run belongs to: `known`, when it fits, else a new one.

    Raises: InvalidInputError (the context id), SessionConflictError (another agent or folder).
    """
    if known is None:
        if context_id is not None and not 0 < len(context_id) <= CONTEXT_ID_MAX:
            raise InvalidInputError(f"contextId has 1 to {CONTEXT_ID_MAX} characters", "contextId")
        return Session(
            id=context_id or new_id(),
            principal=principal,
            agent=agent,
            backend=backend,
            cwd=asked.cwd,
            nickname=asked.nickname,
            created_at=at,
            updated_at=at,
        )
    if known.principal != principal or known.agent != agent:
        raise SessionConflictError(
            f"session {known.id} belongs to another agent; start a new session"
        )
    if asked.cwd is not None and known.cwd is not None and asked.cwd != known.cwd:
        raise SessionConflictError(
            f"session {known.id} is bound to cwd {known.cwd}, received {asked.cwd}; "
            "start a new session for another folder"
        )
    return known


def request_key(
    scope: str, asked: CodingRequest, message: Message, context_id: str | None
) -> RequestKey | None:
    """The idempotency key of a request: its digest leaves out what may differ on a retry."""
    if asked.request_key is None:
        return None
    content = {
        "parts": messages.to_wire(replace(message, message_id=""))["parts"],
        "context": context_id,
        "request": asked.model_copy(update={"trace": None}).to_json(),
    }
    digest = hashlib.sha256(json.encode_sorted(content).encode()).hexdigest()
    return RequestKey(scope=scope, key=asked.request_key, digest=digest)


def with_request_key(message: Message, key: str) -> Message:
    """The message with its key in its own metadata, for an agent's server that dedups by it."""
    asked = json.as_object(message.metadata.get(URI))
    if asked.get("request_key") == key:
        return message
    about = {**message.metadata, URI: {**asked, "request_key": key}}
    return replace(message, metadata=about)


def new_run(
    session: Session,
    principal: str,
    message: Message,
    asked: CodingRequest,
    metadata: JsonObject,
    *,
    at: int,
) -> Run:
    """A run that begins now, in the folder that its session is bound to."""
    if asked.cwd is None and session.cwd is not None:
        asked = asked.model_copy(update={"cwd": session.cwd})
    return Run(
        id=new_id(),
        context_id=session.id,
        principal=principal,
        agent=session.agent,
        backend=session.backend,
        status=RunStatus.QUEUED,
        message=message,
        request=asked,
        created_at=at,
        updated_at=at,
        status_at=at,
        metadata=metadata,
    )


# What is of one request alone; everything else holds for the session.
_OWN: Final = ("output_schema", "request_key", "run_id", "session_id", "parent", "trace")
# What callers say who know no settings: the predecessor's clients name their folder and ids.
_CORRELATION: Final = {"cwd": None, "run_id": None, "session_id": None}


def inherited(request: CodingRequest) -> CodingRequest:
    """What the next run of a session has of the one before, unless it says otherwise.

    The answer's form was asked of that run alone, and so was what it was asked for within.
    """
    return request.model_copy(update=dict.fromkeys(_OWN))


def is_plain(asked: CodingRequest, message: Message) -> bool:
    """True of a message whose sender knows nothing of our settings: then it takes none back."""
    return URI not in message.metadata and asked.model_copy(update=_CORRELATION) == _NOTHING


_NOTHING: Final = CodingRequest()


def asked_of(message: Message) -> CodingRequest:
    """What a message's metadata asks for. Raises: InvalidInputError."""
    try:
        return read_request(message.metadata)
    except InvalidRequestError as exc:
        raise InvalidInputError(str(exc), "metadata") from exc
