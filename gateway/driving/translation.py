"""A2A stream items of an agent without the extension -> run events. Pure.

Speaks the 1.0 JSON form. One instance a run: it knows what was said before, so a task that is sent
again (a snapshot, a poll) adds only what is new. What it cannot read it keeps raw.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from pydantic import ValidationError

from gateway.core.events import (
    AgentMessage,
    ArtifactAdded,
    AuthRequired,
    Event,
    InputRequired,
    MessageAdded,
    Rejected,
    RunCompleted,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import PendingRequest
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import DataPart, Message
from gateway.core.record import Remote
from gateway.core.status import STATUS_OF_STATE, RunStatus
from gateway.driving.artifacts import Artifacts, digest, read_parts

ENDINGS: Final = frozenset({"run_completed", "run_failed", "rejected"})


class WrongTaskError(ValueError):
    """The agent sent something of another task; the text says what."""


def whereabouts(remote: Remote) -> JsonObject:
    """The contract's keys for where a run lives at its agent."""
    return {
        "task_id": remote.task_id,
        "context_id": remote.context_id,
        "remote_ref": {
            "provider": "a2a",
            "agent_url": remote.agent_url,
            "agent_name": remote.agent,
            "context_id": remote.context_id,
            "task_id": remote.task_id,
        },
    }


class Translation:
    """`remote` is where the run lives, as far as the items have told."""

    def __init__(
        self, remote: Remote, *, resumed: bool = False, artifacts: Sequence[str] = ()
    ) -> None:
        """`resumed`: another process copied this run before; what the first snapshot holds of
        messages, and these `artifacts`, was copied then."""
        self.remote = remote
        self._started = resumed
        self._skip_history = resumed
        self._status: RunStatus | None = None
        self._seen: set[str] = set()
        self._asked: str | None = None
        self._artifacts = Artifacts(artifacts)
        self._last_text: str | None = None

    @property
    def waiting(self) -> bool:
        return self._status in (RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED)

    def answered(self) -> None:
        """A follow-up was sent: the run goes on until the agent says otherwise."""
        self._status = RunStatus.RUNNING

    def ask_again(self) -> None:
        """The last question counts as new when it comes again: its answer was not heard."""
        self._asked = None

    def read(self, result: JsonObject) -> list[Event]:
        """The events of one stream item or unary result. Raises: WrongTaskError."""
        match result:
            case {"task": dict()}:
                return self._task(as_object(result["task"]))
            case {"statusUpdate": dict()}:
                update = as_object(result["statusUpdate"])
                self._identify(update.get("taskId"), update.get("contextId"))
                return self._state(as_object(update.get("status")), update.get("metadata"))
            case {"artifactUpdate": dict()}:
                update = as_object(result["artifactUpdate"])
                self._identify(update.get("taskId"), update.get("contextId"))
                return [*self._start(), *self._added(self._artifacts.take(update))]
            case {"message": dict()}:
                return self._reply(as_object(result["message"]))
            case _:
                return [self._raw(result)]

    # -- who and where ---------------------------------------------------------------------------

    def _identify(self, task_id: object, context_id: object) -> None:
        known = self.remote
        if not isinstance(task_id, str) or not task_id:
            raise WrongTaskError("it sent an item without a task id")
        if known.task_id not in (None, task_id):
            raise WrongTaskError(f"it sent an item of task {task_id!r}, not {known.task_id!r}")
        context = context_id if isinstance(context_id, str) and context_id else known.context_id
        if (known.task_id, known.context_id) != (task_id, context):
            self.remote = replace(known, task_id=task_id, context_id=context)

    @property
    def _ids(self) -> JsonObject:
        return {"task_id": self.remote.task_id, "context_id": self.remote.context_id}

    @property
    def _agent(self) -> JsonObject:
        return {"agent_name": self.remote.agent, "agent_url": self.remote.agent_url}

    def _start(self) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [RunStarted(extra={**whereabouts(self.remote), **self._agent})]

    # -- whole tasks -----------------------------------------------------------------------------

    def _task(self, task: JsonObject) -> list[Event]:
        self._identify(task.get("id"), task.get("contextId"))
        status = as_object(task.get("status"))
        found: list[Event] = []
        for raw in objects(task.get("history")):
            if self._skip_history:
                self._seen.add(_identity(raw))
            elif raw.get("role") == "ROLE_AGENT":
                found += self._said(raw)
        self._skip_history = False
        for artifact in objects(task.get("artifacts")):
            done = self._artifacts.take({"artifact": artifact, "lastChunk": True})
            found += self._added(done)
        start = self._start() if found else []
        return [*start, *found, *self._state(status, None)]

    def _reply(self, raw: JsonObject) -> list[Event]:
        """A bare message is the whole answer: there is no task behind it."""
        found = [*self._start(), *self._said(raw)]
        return [*found, RunCompleted(final_response=self._last_text, extra=self._agent)]

    # -- states ----------------------------------------------------------------------------------

    def _state(self, status: JsonObject, metadata: object) -> list[Event]:
        state = str(status.get("state"))
        now = STATUS_OF_STATE.get(state)
        raw = as_object(status.get("message"))
        said = self._said(raw) if raw else []
        if now is None:
            return [*self._start(), *said, self._raw({"status": status})]
        if now is RunStatus.QUEUED and not self._started and not said:
            return []
        found = [*self._start(), *said]
        moved, self._status = now is not self._status, now
        if now in (RunStatus.RUNNING, RunStatus.QUEUED):
            return [*found, *self._moved(state, now, metadata, moved)]
        if now in (RunStatus.INPUT_REQUIRED, RunStatus.AUTH_REQUIRED):
            return [*found, *self._asks(now, raw, moved)]
        return [*found, *self._added(self._artifacts.flush()), self._end(now, raw)]

    def _moved(
        self, state: str, now: RunStatus, metadata: object, moved: bool
    ) -> list[StatusChanged]:
        extra = {**whereabouts(self.remote), "state": state}
        if about := as_object(metadata):
            extra["metadata"] = about
        elif not moved:
            return []
        return [StatusChanged(status=now, extra=extra)]

    def _asks(self, now: RunStatus, raw: JsonObject, moved: bool) -> list[Event]:
        """A question: asked once, however often its state is sent."""
        identity = _identity(raw) if raw else None
        if not moved and identity in (None, self._asked):
            return []
        if identity is not None and identity == self._asked:
            # The old state, sent again after it was answered: the agent has yet to take that up.
            self._status = RunStatus.RUNNING
            return []
        self._asked = identity
        text = _text(raw) or "the agent waits for input"
        extra = {**self._ids, "message": raw or None}
        if now is RunStatus.AUTH_REQUIRED:
            return [AuthRequired(text=text, extra=extra)]
        return [InputRequired(text=text, pending=self._pending(raw, text), extra=extra)]

    def _pending(self, raw: JsonObject, text: str) -> list[JsonObject]:
        """The requests the message lists in our form, else one question with its text."""
        for part in read_parts(raw):
            listed = as_object(part.data).get("pending") if isinstance(part, DataPart) else None
            try:
                found = [PendingRequest.model_validate(item) for item in objects(listed)]
            except ValidationError:
                continue
            if found:
                return [request.to_json() for request in found]
        name = hashlib.sha256(f"{self.remote.task_id}\n{_identity(raw)}".encode()).hexdigest()[:16]
        return [PendingRequest(request_id=f"q-{name}", kind="question", text=text).to_json()]

    def _end(self, now: RunStatus, raw: JsonObject) -> Event:
        text = _text(raw) or None
        extra = {**self._ids, **self._agent}
        match now:
            case RunStatus.COMPLETED:
                artifacts = [{"artifact_id": artifact_id} for artifact_id in self._artifacts.ids]
                return RunCompleted(
                    final_response=text or self._artifacts.text or self._last_text,
                    structured_output=self._artifacts.output,
                    extra={**extra, "artifacts": artifacts},
                )
            case RunStatus.CANCELLED:
                return StatusChanged(status=now, message=text, extra=whereabouts(self.remote))
            case RunStatus.REJECTED:
                return Rejected(message=text or "the agent rejected the task", extra=self._ids)
            case _:
                message = text or "the agent reported a failure without a reason"
                return RunFailed(message=message, reason="agent_failed", extra=extra)

    # -- messages and artifacts ------------------------------------------------------------------

    def _said(self, raw: JsonObject) -> list[Event]:
        identity = _identity(raw)
        if identity in self._seen:
            return []
        self._seen.add(identity)
        text = _text(raw)
        role = "user" if raw.get("role") == "ROLE_USER" else "agent"
        found: list[Event] = [MessageAdded(role=role, text=text, message=raw, extra=self._ids)]
        if role == "agent" and text:
            self._last_text = text
            found.append(AgentMessage(text=text, extra=self._ids))
        return found

    def _added(self, added: Sequence[ArtifactAdded]) -> list[Event]:
        found: list[Event] = []
        found.extend(replace(event, extra=self._ids) for event in added)
        return found

    def _raw(self, item: JsonObject) -> MessageAdded:
        return MessageAdded(role="agent", extra={**self._ids, "raw": item})


def _text(raw: JsonObject) -> str:
    return Message(message_id="", role="agent", parts=tuple(read_parts(raw))).text


def _identity(raw: JsonObject) -> str:
    """A message's id; one without is told by its content."""
    given = raw.get("messageId")
    return given if isinstance(given, str) and given else digest(raw)
