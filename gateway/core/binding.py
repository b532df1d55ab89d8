"""What ties a request to a session and to an earlier request: bound folders, idempotency keys.

Pure, but for the id of a session that nobody named.
"""

import hashlib
import uuid
from dataclasses import replace
from typing import Final

from gateway.core import json, messages
from gateway.core.errors import InvalidInputError, SessionConflictError
from gateway.core.extension import CodingRequest
from gateway.core.messages import Message
from gateway.core.record import Session
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
            id=context_id or str(uuid.uuid4()),
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
