"""Runs, sessions and writers for suites of the store. Knows no test."""

from dataclasses import replace
from typing import Any, Final

from gateway.core.events import RunCompleted
from gateway.core.extension import CodingRequest
from gateway.core.life.writer import RunWriter
from gateway.core.messages import user_text
from gateway.core.record import Run, Session
from gateway.core.redact import Limits
from gateway.core.status import RunStatus
from gateway.core.store.log import RunLog

RUN: Final = Run(
    id="r",
    context_id="c",
    principal="p",
    agent="a",
    backend="a",
    status=RunStatus.QUEUED,
    message=user_text("m", "go"),
    request=CodingRequest(cwd="/w", role="worker"),
    created_at=1,
    updated_at=1,
    metadata={"k": [1, None]},
)
SESSION: Final = Session(
    id="c", principal="p", agent="a", backend="a", cwd="/w", created_at=1, updated_at=1
)
DONE: Final = RunCompleted(final_response="done")


def a_run(id_: str, **more: Any) -> Run:
    """A queued run in a context of its own name."""
    return replace(RUN, id=id_, context_id=id_, **more)


def a_session(id_: str, **more: Any) -> Session:
    return replace(SESSION, id=id_, **more)


def a_writer(log: RunLog, run: Run) -> RunWriter:
    return RunWriter(log, run, clock=lambda: 7, limits=Limits())
