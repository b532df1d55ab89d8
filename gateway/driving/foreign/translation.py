"""A2A stream items of an agent without the extension -> run events. Pure.

Speaks the 1.0 JSON form. One instance a run: it knows what was said before, so a task that is sent
again (a snapshot, a poll) adds only what is new. What it cannot read it keeps raw.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

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
from gateway.core.json import JsonObject, as_object, objects
from gateway.core.messages import Message
from gateway.core.record import Remote
from gateway.core.status import STATUS_OF_STATE, TERMINAL, WAITING, RunStatus
from gateway.driving.foreign import questions
from gateway.driving.foreign.artifacts import Artifacts, digest, read_parts
from gateway.driving.foreign.recollection import Known, mark_of
from gateway.driving.whereabouts import NOTES, Place, whereabouts

_NO_WORDS: Final = "-"  # the digest of a question without a message


class Translation:
    """Of one run. `awaited` is the message id that the task's history has yet to show."""

    def __init__(
        self,
        remote: Remote,
        *,
        known: Known | None = None,
        started: bool = False,
        status: RunStatus | None = None,
    ) -> None:
        """`known`: what another process told of this run before, which had `started` and then
        stood at `status`."""
        known = known or Known()
        self._place = Place(remote)
        self._started = started
        self._status = status
        self._state_name: str | None = None
        self._about: str | None = None  # the digest of the metadata that came last
        self._seen = known.said
        self._asked: str | None = known.asked
        self._questions = known.questions
        self._fresh = False  # the next item is the first that a message brought about
        self._replied = False  # a bare message answered a follow-up
        self._artifacts = Artifacts(known.artifacts)
        self._artifacts.text, self._artifacts.output = known.text, known.output
        self._last_text = known.last_text
        self.awaited: str | None = known.unheard

    @property
    def waiting(self) -> bool:
        return self._status in WAITING

    @property
    def texts(self) -> list[str]:
        """The newest texts that may be the answer."""
        return [text for text in (self._artifacts.text, self._last_text) if text]

    def sending(self, message_id: str) -> None:
        """A message goes out: the run goes on until the agent says otherwise, and the first item
        that it brings about may name another task."""
        self._status = RunStatus.RUNNING
        self._fresh = True
        self.awaited = message_id

    def heard(self) -> None:
        """The agent has taken an answer up; its task may not show that yet."""
        self._status = RunStatus.RUNNING

    def found(self) -> None:
        """The next item is the task that has the awaited message."""
        self._fresh = True
        self.awaited = None

    def ask_again(self) -> None:
        """The last question counts as new when it comes again: its answer was not heard."""
        self._asked = None
        self._status = RunStatus.RUNNING

    def renew(self) -> None:
        """What was said and made so far is not the answer any more."""
        self._artifacts.renew()
        self._last_text = None

    def read(self, result: JsonObject) -> list[Event]:
        """The events of one stream item or unary result.

        Raises: whereabouts.WrongTaskError, artifacts.TooManyArtifactsError.
        """
        fresh, self._fresh = self._fresh, False
        match result:
            case {"task": dict()}:
                task = as_object(result["task"])
                return [*self._identify(task.get("id"), task, fresh), *self._task(task)]
            case {"statusUpdate": dict()}:
                update = as_object(result["statusUpdate"])
                noted = self._identify(update.get("taskId"), update, fresh)
                status = as_object(update.get("status"))
                return [*noted, *self._state(status, as_object(update.get("metadata")))]
            case {"artifactUpdate": dict()}:
                update = as_object(result["artifactUpdate"])
                noted = self._identify(update.get("taskId"), update, fresh)
                return [*noted, *self._start(), *self._added(self._artifacts.take(update))]
            case {"message": dict()}:
                return self._reply(as_object(result["message"]), fresh)
            case _:
                return [self._raw(result)]

    # -- who and where ---------------------------------------------------------------------------

    @property
    def remote(self) -> Remote:
        return self._place.remote

    @remote.setter
    def remote(self, remote: Remote) -> None:
        self._place.remote = remote

    def _identify(self, task_id: object, item: JsonObject, fresh: bool) -> list[Event]:
        reason = self._place.identify(task_id, item.get("contextId"), fresh=fresh)
        if reason is None:
            return []
        if reason == "new_task":
            self._asked = self._state_name = self._about = None
        where = whereabouts(self.remote)
        text = NOTES[reason]
        return [StatusChanged(status=self._standing, reason=reason, message=text, extra=where)]

    @property
    def _standing(self) -> RunStatus:
        """What is said beside the states, and changes none. A run that waits, waits on."""
        return self._status if self._status and self.waiting else RunStatus.RUNNING

    def _start(self) -> list[Event]:
        if self._started:
            return []
        self._started = True
        return [RunStarted(extra={**whereabouts(self.remote), **self._place.agent})]

    # -- whole tasks and bare messages -----------------------------------------------------------

    def _task(self, task: JsonObject) -> list[Event]:
        status = as_object(task.get("status"))
        found: list[Event] = []
        for raw in objects(task.get("history")):
            if raw.get("messageId") == self.awaited:
                self.awaited = None
            if raw.get("role") == "ROLE_AGENT":
                found += self._said(raw)
        final = STATUS_OF_STATE.get(str(status.get("state"))) in TERMINAL
        made = self._artifacts.snapshot(objects(task.get("artifacts")), final=final)
        found += self._added(made)
        start = self._start() if found else []
        return [*start, *found, *self._state(status, as_object(task.get("metadata")))]

    def _reply(self, raw: JsonObject, fresh: bool) -> list[Event]:
        """A bare message is the whole answer where no task is behind it, and the answer to a
        follow-up unless the task goes on; in the midst of a stream it is just said."""
        self._place.learn_context(raw.get("contextId"))
        found = [*self._start(), *self._said(raw)]
        if self.remote.task_id is None:
            return [*found, self._replied_end()]
        self._replied = fresh
        return found

    @property
    def replied(self) -> RunCompleted | None:
        """The end of a run whose follow-up was answered with a message, and no more is known."""
        return self._replied_end() if self._replied else None

    def _replied_end(self) -> RunCompleted:
        text, output = self._last_text, self._artifacts.output
        extra = {**self._place.ids, **self._place.agent}
        return RunCompleted(final_response=text, structured_output=output, extra=extra)

    # -- states ----------------------------------------------------------------------------------

    def _state(self, status: JsonObject, metadata: JsonObject) -> list[Event]:
        state = str(status.get("state"))
        now = STATUS_OF_STATE.get(state)
        raw = as_object(status.get("message"))
        said = self._said(raw) if raw else []
        if now is None:
            news, self._state_name = state != self._state_name or said, state
            return [*self._start(), *said, self._raw({"status": status})] if news else []
        if now is RunStatus.QUEUED and not self._started and not said:
            return []
        found = [*self._start(), *said]
        if now in WAITING:
            self._state_name = state
            return [*found, *self._asks(now, raw)]
        if now not in TERMINAL:
            return [*found, *self._works(state, metadata)]
        return [*found, *self._added(self._artifacts.flush()), self._end(now, raw)]

    def _works(self, state: str, metadata: JsonObject) -> list[StatusChanged]:
        """A state of work, told when it is another than before or brings other metadata."""
        moved, self._state_name = state != self._state_name, state
        mark = digest(metadata) if metadata else None
        news, self._about = mark not in (None, self._about), mark or self._about
        self._status, self._asked, self._replied = RunStatus.RUNNING, None, False
        if not (moved or news):
            return []
        extra = {**whereabouts(self.remote), "state": state}
        if news:
            extra["metadata"] = metadata
        return [StatusChanged(status=self._standing, extra=extra)]

    def _asks(self, now: RunStatus, raw: JsonObject) -> list[Event]:
        """A question: asked once, however often its state is sent."""
        requests = questions.listed(read_parts(raw))
        mark = mark_of(raw) if raw else _NO_WORDS
        if requests:
            mark = digest([request.request_id for request in requests])
        before, self._status = self._status, now
        if mark == self._asked:
            if before is self._status:
                return []
            # The old state, sent again after it was answered: the agent has yet to take that up.
            self._status = RunStatus.RUNNING
            return [self._replied_end()] if self._replied else []
        self._asked, self._replied = mark, False
        self._questions += 1
        extra = {**self._place.ids, "message": raw or None, "digest": mark}
        text = _text(raw) or (requests[0].text if requests else "the agent waits for input")
        if self._status is RunStatus.AUTH_REQUIRED:
            return [AuthRequired(text=text, extra=extra)]
        seed = f"{self.remote.task_id}\n{mark}\n{self._questions}"
        pending = [one.to_json() for one in requests or [questions.in_words(text, seed)]]
        made = self._added(self._artifacts.flush())
        return [*made, InputRequired(text=text, pending=pending, extra=extra)]

    def _end(self, now: RunStatus, raw: JsonObject) -> Event:
        text = _text(raw) or None
        extra = {**self._place.ids, **self._place.agent}
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
                about = {**self._place.ids, "response": raw or None}
                return Rejected(message=text or "the agent rejected the task", extra=about)
            case _:
                message = text or "the agent reported a failure without a reason"
                return RunFailed(message=message, reason="agent_failed", extra=extra)

    # -- messages and artifacts ------------------------------------------------------------------

    def _said(self, raw: JsonObject) -> list[Event]:
        mark = mark_of(raw)
        if (number := int(mark, 16)) in self._seen:
            return []
        self._seen.add(number)
        text = _text(raw)
        role = "user" if raw.get("role") == "ROLE_USER" else "agent"
        extra = {**self._place.ids, "digest": mark}
        found: list[Event] = [MessageAdded(role=role, text=text, message=raw, extra=extra)]
        if role == "agent" and text:
            self._last_text = text
            found.append(AgentMessage(text=text, extra=self._place.ids))
        return found

    def _added(self, added: Sequence[ArtifactAdded]) -> list[Event]:
        found: list[Event] = []
        found.extend(replace(one, extra={**self._place.ids, **one.extra}) for one in added)
        return found

    def _raw(self, item: JsonObject) -> MessageAdded:
        return MessageAdded(role="agent", extra={**self._place.ids, "raw": item})


def _text(raw: JsonObject) -> str:
    return Message(message_id="", role="agent", parts=tuple(read_parts(raw))).text
