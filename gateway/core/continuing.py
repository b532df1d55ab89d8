"""Going on with a run: an answer or a steer while it lives, a new run of its session afterwards.

Knows Tasks and no face. A2A has its own rule for tasks that have ended (refused; name the context
instead), so this is how people and models go on, who refer to runs.
"""

import uuid
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from gateway.core.binding import inherited, request_key
from gateway.core.errors import NotResumableError, RequestConflictError, RunEndedError
from gateway.core.extension import CodingRequest, Parent
from gateway.core.messages import Message
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery
from gateway.core.tasks import Tasks

_LOOK: Final = 20  # runs of a session among which a repeated call is looked for

Did: TypeAlias = Literal["answered", "steered", "resumed", "attached"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """`resumed_from` is the ended run whose session goes on in `run`; None: `run` was told itself.

    `attached`: the same was said before under its key, and nothing was done again.
    """

    run: Run
    did: Did
    resumed_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is said, under the caller's key if it has one. `is_answer`: it answers and does no more;
    `parent`: the run from within which it is said."""

    message: Message
    key: str | None = None
    is_answer: bool = False
    parent: Parent | None = None


async def go_on(tasks: Tasks, run: Run, word: Word, *, by_name: bool = False) -> Continued:
    """Say something to a run of its own principal. `by_name`: the caller named its agent, which may
    have meant an earlier run of the session when the call was made before.

    Raises: NotResumableError, and what Tasks.send raises.
    """
    if by_name and word.key is not None and (done := await _before(tasks, run, word)) is not None:
        return done
    if not run.terminal or word.key is not None:  # a repeated call may have done its work before
        try:
            sent = await tasks.send(
                principal=run.principal,
                agent=run.agent,
                message=word.message,
                request=_follow_up(word),
                run_id=run.id,
            )
            # A message to a run starts none: only the type says that it could.
            did = "steered" if sent.did == "started" else sent.did
            return Continued(run=sent.run, did=did)
        except RunEndedError:
            run = await tasks.get(run.principal, run.id)
    return await _resume(tasks, run, word)


async def _resume(tasks: Tasks, run: Run, word: Word) -> Continued:
    """A new run of an ended run's session, under the same settings."""
    if word.is_answer:
        raise RunEndedError(run.id, run.status)
    if run.status is RunStatus.REJECTED:
        raise NotResumableError(run.id)
    sent = await tasks.send(
        principal=run.principal,
        agent=run.agent,
        message=word.message,
        request=_next(run, word),
        context_id=run.context_id,
        backend=run.backend,
        metadata={
            "resumed_from_run_id": run.id,
            "resume_reason": "continue_run_after_terminal",
        },
    )
    did: Did = "attached" if sent.did == "attached" else "resumed"
    return Continued(run=sent.run, did=did, resumed_from=run.id)


async def _before(tasks: Tasks, named: Run, word: Word) -> Continued | None:
    """What the same call did before, to whatever run of the session the name meant then."""
    query = RunQuery(context_id=named.context_id, limit=_LOOK)
    follow_up, scope = _follow_up(word), f"{named.principal}\n{named.agent}"
    for run in (await tasks.list_runs(named.principal, query)).runs:
        said = request_key(run.id, follow_up, word.message, run.context_id)
        begun = request_key(scope, _next(run, word), word.message, run.context_id)
        for key in (said, begun):
            try:
                found = key and await tasks.log.run_of_key(key)
            except RequestConflictError:
                continue  # its own place refuses it
            if found:
                return Continued(run=await tasks.get(named.principal, found), did="attached")
    return None


def _follow_up(word: Word) -> CodingRequest:
    return CodingRequest(request_key=word.key or str(uuid.uuid4()))


def _next(run: Run, word: Word) -> CodingRequest:
    """What the next run of the session is asked: what this one was, under a key of its own."""
    own = {
        "request_key": word.key or str(uuid.uuid4()),
        "nickname": run.nickname,
        "parent": word.parent,
    }
    return inherited(run.request).model_copy(update=own)
