"""What a foreign agent is told after the first message: answers, defaults, retries, repairs.

Each is recorded before it is said, under the message id that it travels by, so that it can be
looked for when its answer is lost. Knows the run's writer; how it travels is `foreign`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.clock import Clock
from gateway.core.errors import AnswerRefusedError, InvalidInputError, RunEndedError
from gateway.core.events import Event, InputRequired, MessageAdded, StatusChanged
from gateway.core.extension import Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.life.timing import TimeLimits, default_answer
from gateway.core.life.writer import RunWriter
from gateway.core.messages import Message, user_text
from gateway.core.record import AfterTerminalError, Remote, Run, follow_up, resolutions
from gateway.core.status import RunStatus
from gateway.dialects import spoken
from gateway.dialects.dialect import Call
from gateway.driving.foreign.recollection import REPAIR
from gateway.driving.foreign.task_streams import Sent
from gateway.driving.outgoing import foreign_follow_up_params, in_words, repair_params

EXPIRED: Final = "expired"  # the reason of the message that says a default


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How every message to the agent is sent: what its registration says."""

    modes: tuple[str, ...] = ()
    history: int | None = None


class Replies:
    """Those of one run. `say` and `call` hand over what was recorded."""

    def __init__(
        self,
        writer: RunWriter,
        manner: Manner,
        *,
        remote: Callable[[], Remote],
        say: Callable[[Sent], Awaitable[None]],
        call: Callable[[Call], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._manner = manner
        self._remote = remote
        self._say = say
        self._call = call
        limits = writer.run.request.limits
        self._within_s = None if limits is None else limits.answer_s
        self._times = TimeLimits(self._within_s, clock, self._expire)

    # -- the time for answers --------------------------------------------------------------------

    def watch(self) -> None:
        """Let the time of what was pending before a restart run on."""
        if self._within_s is not None:
            self._times.watch(self._writer.run.pending)

    def noted(self, event: Event) -> Event:
        """`event` as it is recorded: a new request gets its limit, one that is gone loses it."""
        if isinstance(event, StatusChanged) and event.resolved is not None:
            self._times.drop(event.resolved)
        if not isinstance(event, InputRequired) or self._within_s is None:
            return event
        open_ = {item.request_id: item for item in self._writer.run.pending}
        pending: list[JsonObject] = []
        for raw in event.pending:
            asked = PendingRequest.model_validate(raw)
            if (known := open_.get(asked.request_id)) is not None:
                limits = {"expires_at": known.expires_at, "default": known.default}
                asked = asked.model_copy(update=limits)
            elif asked.expires_at is None:  # else its own agent keeps its time
                asked = self._times.stamp(asked)
            pending.append(asked.to_json())
        return replace(event, pending=pending)

    async def close(self) -> None:
        await self._times.close()

    async def _expire(self, request_id: str) -> None:
        """Nobody answered in time: the request's default is said, on the record first."""
        run = self._writer.run
        request = next((one for one in run.pending if one.request_id == request_id), None)
        if request is None or run.cancel_requested_at is not None:
            return
        answer = default_answer(request)
        message = user_text("", in_words(answer))
        try:
            await self._tell([request], [answer], message, how="expired")
        except RunEndedError:
            return

    # -- what is told ----------------------------------------------------------------------------

    async def answer(self, answers: Sequence[Answer], message: Message) -> None:
        """Record the answers (the agent would not) and say them, in the agent's dialect or in
        words. Raises: AnswerRefusedError, InvalidInputError, RunEndedError."""
        await self._tell(self._asked(answers), answers, message, how="answered")

    async def stop(self, answers: Sequence[Answer], message: Message) -> None:
        """Record answers that stop the run; its cancel is what the agent is told.

        Raises: AnswerRefusedError, RunEndedError.
        """
        run = self._writer.run
        ids = [request.request_id for request in self._asked(answers)]
        resolved = resolutions(run, ids, how="answered", by=run.principal)
        await self._record(follow_up(message), None, *resolved)

    def _asked(self, answers: Sequence[Answer]) -> list[PendingRequest]:
        """What is answered. Raises: AnswerRefusedError."""
        open_ = {item.request_id: item for item in self._writer.run.pending}
        gone = [one.request_id for one in answers if one.request_id not in open_]
        if gone:
            raise AnswerRefusedError("request_gone", f"no request {gone[0]!r} is pending any more")
        return [open_[one.request_id] for one in answers]

    async def _tell(
        self,
        requests: Sequence[PendingRequest],
        answers: Sequence[Answer],
        message: Message,
        *,
        how: str,
    ) -> None:
        run, sent_as = self._writer.run, self._next_id()
        calls: list[Call] = []
        said: list[Message] = []
        words: list[Answer] = []
        for request, answer in zip(requests, answers, strict=True):
            match self._in_dialect(request, answer, message, must=how == "answered"):
                case Call() as call:
                    calls.append(call)
                case Message() as spoken_:
                    said.append(spoken_)
                case None:
                    words.append(answer)
        params = [
            *(self._params(one, [], f"{sent_as}-{n}") for n, one in enumerate(said, start=1)),
            *([self._params(message, words, sent_as)] if words else []),
        ]
        travels = params[-1]["message"]["messageId"] if params else None
        ids = [request.request_id for request in requests]
        if how == "answered":
            resolved = resolutions(run, ids, how="answered", by=run.principal)
            told = follow_up(message)
        else:
            resolved = resolutions(run, ids, how="expired")
            told = MessageAdded(role="user", text=message.text, extra={"reason": EXPIRED})
        await self._record(told, travels, *resolved)
        for call in calls:
            await self._call(call)
        if params:
            *before, last = params
            await self._say(Sent(message_id=str(travels), params=last, before=before))

    def _in_dialect(
        self, request: PendingRequest, answer: Answer, message: Message, *, must: bool
    ) -> Message | Call | None:
        try:
            return spoken.answer(request, answer, message)
        except InvalidInputError:
            if must:
                raise
            return None  # a default that the dialect has no form for goes in words

    async def retry(self, message: Message) -> None:
        """The word that the login is done: the agent tries again. Raises: RunEndedError."""
        sent_as = self._next_id()
        going_on = StatusChanged(status=RunStatus.RUNNING, reason="continue_run")
        await self._record(follow_up(message), sent_as, going_on)
        params = self._params(message, [], sent_as)
        await self._say(Sent(message_id=sent_as, params=params))

    async def repair(self, run: Run, fault: str) -> Sent:
        """Ask once more, in the same context, for an answer that fits the run's output_schema."""
        sent_as = self._next_id()
        params = repair_params(run, fault, sent_as, self._remote(), self._manner.modes)
        text = params["message"]["parts"][0]["text"]
        told = MessageAdded(role="user", text=text, extra={"reason": REPAIR})
        await self._record(told, sent_as)
        return Sent(message_id=sent_as, params=params)

    async def _record(self, told: MessageAdded, sent_as: str | None, *more: Event) -> None:
        if sent_as is not None:
            told = replace(told, extra={**told.extra, "sent_as": sent_as})
        try:
            await self._writer.emit(told, *(self.noted(event) for event in more))
        except AfterTerminalError as exc:
            raise RunEndedError(self._writer.run.id, self._writer.run.status) from exc
        await self._writer.flush()

    def _params(self, message: Message, answers: Sequence[Answer], sent_as: str) -> JsonObject:
        remote = self._remote()
        return foreign_follow_up_params(
            replace(message, message_id=sent_as),
            list(answers),
            str(remote.task_id),
            remote.context_id,
            modes=self._manner.modes,
            history=self._manner.history,
        )

    def _next_id(self) -> str:
        """A message id of our own: callers' ids need not differ, and the SDK drops one it has."""
        return f"run-{self._writer.run.id}-{self._writer.run.last_seq + 1}"
