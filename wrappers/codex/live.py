"""One run at Codex while it goes on: its turns, what is said into them, and how they are stopped.

Knows the app-server's calls; the meaning of its messages is `events`'.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from gateway.core.events import RunFailed, StatusChanged
from gateway.core.extension import ABORT, ALLOW, DENY, Answer, Option, PendingRequest
from gateway.core.json import JsonObject, as_object
from gateway.core.messages import Message
from gateway.core.status import RunStatus
from wrappers.adapter import Ask, Context, Step, Turn
from wrappers.codex import terms
from wrappers.codex.client import CodexClient, CodexGoneError, RpcError
from wrappers.codex.events import TurnFold
from wrappers.codex.wire import Incoming
from wrappers.process import to_the_end

STOP_S: Final = 2.0  # until a killed command is reported; seen within 1 s
ABANDON_S: Final = 3.0
PLAN_ANSWERED: Final = "plan/answered"  # our own message into the inbox
PLAN_OPTIONS: Final = (
    Option(id=ALLOW, label="Carry it out"),
    Option(id=DENY, label="Revise it"),
    Option(id=ABORT, label="Stop"),
)
CARRY_OUT: Final = "The plan is approved. Carry it out."
REVISE: Final = "The plan is not approved. Revise it."


class LiveRun:
    """`start`, then `more` until it returns nothing; `abandon` in the end in any case."""

    def __init__(
        self,
        client: CodexClient,
        thread: str,
        *,
        context: Context,
        turn: Turn,
        model: str | None,
        effort: str | None,
        git_dirs: tuple[str, ...] = (),
    ) -> None:
        self._client = client
        self._context = context
        self._request = turn
        self._model = model
        self._effort = effort
        self._git_dirs = git_dirs
        self._fold = TurnFold(thread)
        self._inbox = client.listen(thread)
        self._planning = turn.request.permission_mode == "plan"
        self._plan_request: str | None = None
        self._cancelled = False
        self._done = False

    @property
    def thread(self) -> str:
        return self._fold.thread

    @property
    def stopped(self) -> bool:
        """Whether its commands were killed rather than left to their end."""
        return (self._fold.ended or {}).get("status") != "completed"

    async def start(self) -> None:
        """Start the turn. Raises: UnsupportedError (a file part), RpcError, CodexGoneError."""
        await self._begin(terms.turn_input(self._request.message))

    async def more(self) -> list[Step]:
        """The next steps; nothing after the last one."""
        while not self._done:
            if steps := await self._advance():
                return steps
        return []

    async def answer(self, answer: Answer) -> None:
        """Hand an answer on; one whose request is gone meanwhile is dropped."""
        if answer.request_id == self._plan_request:
            self._say(PLAN_ANSWERED, answer.to_json())
            return
        asked = self._fold.answered(answer)
        if asked is None:
            return
        self._client.reply(asked.rpc_id, asked.reply(answer))
        if (reason := asked.reason(answer)) is not None:
            await self._steer([terms.text_input(f"The request was denied: {reason}")])

    async def steer(self, message: Message) -> bool:
        """Say something to the running turn; False when there is none."""
        return await self._steer(terms.turn_input(message))

    async def cancel(self) -> None:
        """Tell Codex to stop; the end comes by `more`."""
        self._cancelled = True
        if (request_id := self._plan_request) is not None:
            self._say(PLAN_ANSWERED, {"request_id": request_id, "option": ABORT})
        else:
            await self._interrupt()

    async def abandon(self) -> None:
        """Let go; a turn that still runs is stopped with its commands."""
        try:
            if not self._done:
                await to_the_end(self._stop())
        finally:
            self._done = True
            self._client.unlisten(self.thread)

    # -- one step ------------------------------------------------------------------------------

    async def _advance(self) -> list[Step]:
        message = await self._next()
        now = asyncio.get_running_loop().time()
        if message is None:
            return self._fold.flush(now)
        if isinstance(message, CodexGoneError):
            return self._lost(message)
        if message.method == PLAN_ANSWERED:
            return await self._plan_answered(Answer.model_validate(message.params))
        steps = self._take(message, now)
        if self._fold.ended is not None:
            steps += await self._turn_ended(self._fold.ended)
        return steps

    async def _next(self) -> Incoming | CodexGoneError | None:
        """The next message; None when gathered pieces are due before one comes."""
        try:
            async with asyncio.timeout_at(self._fold.due):
                return await self._inbox.get()
        except TimeoutError:
            return None

    def _take(self, message: Incoming, now: float) -> list[Step]:
        steps = self._fold.take(message, now)
        if message.request_id is not None and not any(isinstance(step, Ask) for step in steps):
            self._client.refuse(message.request_id, f"{message.method} is not served here")
        return steps

    async def _turn_ended(self, turn: JsonObject) -> list[Step]:
        if turn.get("status") == "interrupted":
            steps = await self._stopped()
        else:
            steps = self._plan_proposed()
            if steps and not self._cancelled:
                return steps
        self._done = True
        schema = self._request.request.output_schema
        return [*steps, *self._fold.end(cancelled=self._cancelled, schema=schema)]

    def _lost(self, gone: CodexGoneError) -> list[Step]:
        self._done = True
        steps = self._fold.close("interrupted")
        if self._cancelled:  # its process is gone, and with it all it was asked to stop
            return [*steps, _cancelled("cancelled_by_caller")]
        return [*steps, lost(gone)]

    # -- plans ---------------------------------------------------------------------------------

    def _plan_proposed(self) -> list[Step]:
        if not self._planning or self._fold.plan is None:
            return []
        self._plan_request = f"{str(self._fold.turn)[-12:]}-plan"
        request = PendingRequest(
            request_id=self._plan_request,
            kind="plan",
            title="Approve the plan",
            text=self._fold.plan,
            options=PLAN_OPTIONS,
        )
        self._fold.ended = None
        return [Ask(request=request)]

    async def _plan_answered(self, answer: Answer) -> list[Step]:
        self._plan_request = None
        if answer.choice == ABORT:
            self._done = True
            return [_cancelled("cancelled_by_caller" if self._cancelled else "stopped_by_answer")]
        self._planning = answer.choice == DENY
        text = (answer.message or REVISE) if self._planning else CARRY_OUT
        try:
            await self._begin([terms.text_input(text)])
        except RpcError as exc:
            self._done = True
            return [refused(exc)]
        except CodexGoneError as exc:
            return self._lost(exc)
        return []

    # -- calls ---------------------------------------------------------------------------------

    async def _begin(self, items: Sequence[JsonObject]) -> None:
        params = terms.turn_start(
            self._context, self._request, self.thread, git_dirs=self._git_dirs
        )
        stated = {"model": self._model, "effort": self._effort, **params}
        if self._request.request.permission_mode == "plan":
            stated |= terms.collaboration(self._model, planning=self._planning)
        answer = await self._client.call("turn/start", {**stated, "input": list(items)})
        self._fold.begin(str(as_object(answer.get("turn")).get("id")))
        if self._cancelled:  # asked for while the call was under way
            await self._interrupt()

    async def _steer(self, items: Sequence[JsonObject]) -> bool:
        if self._done or self._fold.turn is None or self._plan_request is not None:
            return False
        params = {"threadId": self.thread, "expectedTurnId": self._fold.turn}
        try:
            await self._client.call("turn/steer", {**params, "input": list(items)})
        except (RpcError, CodexGoneError):
            return False
        return True

    async def _interrupt(self) -> None:
        turns = {**self._fold.sub_turns, self.thread: self._fold.turn}
        for thread, turn in turns.items():
            if turn is not None:
                # Refused when the turn has just ended; gone: `more` tells.
                with contextlib.suppress(RpcError, CodexGoneError):
                    await self._client.call("turn/interrupt", {"threadId": thread, "turnId": turn})

    async def _clean(self) -> None:
        # An interrupt ends the turn and leaves its shell command running, by design.
        for thread in (*self._fold.sub_turns, self.thread):
            with contextlib.suppress(RpcError, CodexGoneError):
                await self._client.call("thread/backgroundTerminals/clean", {"threadId": thread})

    async def _stopped(self) -> list[Step]:
        """Kill what an interrupted turn left running, and hear that it is gone."""
        steps: list[Step] = []
        await self._clean()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                while self._fold.commands_open:
                    message = await self._inbox.get()
                    if isinstance(message, CodexGoneError):
                        break
                    steps += self._take(message, loop.time())
        return steps

    async def _stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_S):
                await self._interrupt()
                await self._clean()

    def _say(self, method: str, params: JsonObject) -> None:
        self._inbox.put_nowait(Incoming(method=method, params=params, thread=self.thread))


def lost(gone: CodexGoneError) -> RunFailed:
    """The end of a run whose process ended under it."""
    return RunFailed(
        message=f"{gone}; send a message in the same session to go on",
        reason="interrupted",
        extra={"retryable": True},
    )


def refused(error: RpcError) -> RunFailed:
    """The end of a run that Codex did not take."""
    return RunFailed(message=str(error), reason="agent_refused", extra={"retryable": False})


def _cancelled(reason: str) -> StatusChanged:
    return StatusChanged(status=RunStatus.CANCELLED, reason=reason)
