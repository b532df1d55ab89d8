"""One run at Codex while it goes on: its turns, what is said into them, and how they end.

Knows the app-server's calls; the meaning of its messages is `events`', the ways to stop `stop`'s.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from gateway.core.events import Event, RunCompleted, StatusChanged
from gateway.core.extension import ABORT, Answer
from gateway.core.json import JsonObject, as_object
from gateway.core.messages import Message
from gateway.core.status import RunStatus
from gateway.core.structured import artifact
from wrappers.adapter import Ask, Step
from wrappers.codex import outcome, plan, terms
from wrappers.codex.client import CodexClient, RpcError
from wrappers.codex.events import TurnFold
from wrappers.codex.ledger import Ledger
from wrappers.codex.router import CodexGoneError
from wrappers.codex.stop import Stop
from wrappers.codex.talk import RunState, Talk, Terms
from wrappers.codex.wire import Incoming
from wrappers.processes.process import to_the_end
from wrappers.resumption import ALLOWED

LATE_S: Final = 0.3  # until a killed command is reported; seen within 0.1 s
ABANDON_S: Final = 3.0
PLAN_ANSWERED: Final = "plan/answered"  # our own message into the inbox
REPAIR: Final = (
    "Your final answer cannot be used: {fault}. Answer once more, now with nothing but JSON that "
    "fits the schema, and do nothing else."
)


class LiveRun:
    """`start`, then `more` until it returns nothing; `abandon` in the end in any case."""

    def __init__(
        self, client: CodexClient, thread: str, work: Terms, state: RunState, ledger: Ledger
    ) -> None:
        self._client = client
        self._work = work
        self._state = state
        self._ledger = ledger
        self._fold = TurnFold(thread, permits=work.turn.request.permission_mode == "ask")
        self._fold.usage.before = state.before
        self._talk = Talk(client, thread, work, planning=state.planning)
        self._stop = Stop(client, work.mark)
        self._inbox = client.listen(thread)
        self._plan_request: str | None = None
        self._repaired = False
        self._cancelled = False
        self._refused = False  # its credentials were: the run is tried again
        self._done = False

    @property
    def thread(self) -> str:
        return self._fold.thread

    @property
    def stopped(self) -> bool:
        """Whether its commands were killed rather than left to their end."""
        return self._cancelled or (self._fold.ended or {}).get("status") != "completed"

    async def start(self) -> None:
        """Start the turn. Raises: UnsupportedError (a file part), RpcError, CodexGoneError."""
        await self._begin(terms.turn_input(self._work.turn.message))

    async def more(self) -> list[Step]:
        """The next steps; nothing after the last one."""
        while not self._done:
            steps = await self._advance()
            self._remember()
            if steps:
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
        """Tell Codex to stop; the end comes by `more`, within 2 s whatever Codex does."""
        self._cancelled = True
        self._stop.watch()
        if (request_id := self._plan_request) is not None:
            self._say(PLAN_ANSWERED, {"request_id": request_id, "option": ABORT})
        elif (beginning := self._talk.beginning) is not None:
            await self._stop.unless_frozen(beginning)
        else:
            await self._stop.interrupt(self._turns())

    async def abandon(self) -> None:
        """Let go; a turn that still runs is stopped with its commands."""
        try:
            if not self._done:
                await to_the_end(self._halt())
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
        if (refused := self._unauthorized(message)) is not None and not self._cancelled:
            return await self._without_credentials(refused)
        steps = self._take(message, now)
        if self._cancelled and message.method == "turn/started":  # too early for it until now
            await self._stop.interrupt(self._turns())
        if self._fold.ended is not None:
            steps += await self._turn_ended(self._fold.ended)
        return steps

    async def _next(self) -> Incoming | CodexGoneError | None:
        """The next message; None when gathered pieces are due before one comes."""
        due = [at for at in (self._fold.due, self._stop.due) if at is not None]
        try:
            async with asyncio.timeout_at(min(due, default=None)):
                return await self._inbox.get()
        except TimeoutError:
            await self._stop.look()
            return None

    def _take(self, message: Incoming, now: float) -> list[Step]:
        steps = self._fold.take(message, now)
        if message.request_id is not None and not any(isinstance(step, Ask) for step in steps):
            self._client.refuse(message.request_id, f"{message.method} is not served here")
        return [step for step in steps if not (isinstance(step, Ask) and self._granted(step))]

    def _granted(self, ask: Ask) -> bool:
        """Whether it was allowed before a restart: then Codex hears that, and nobody is asked."""
        answer = self._state.grants.take(ask.request)
        asked = None if answer is None else self._fold.answered(answer)
        if answer is None or asked is None:
            return False
        self._client.reply(asked.rpc_id, asked.reply(answer))
        return True

    def _remember(self) -> None:
        """Keep what a run needs that goes on after a restart; forget one that has ended."""
        before = self._state.before = self._fold.usage.before
        waits = self._fold.asks or self._plan_request is not None or self._refused
        if self._done and not self._refused:
            self._ledger.forget(self._state.run_id)
        elif before is not None and waits:
            self._ledger.write(self._state.run_id, before)

    # -- ends ----------------------------------------------------------------------------------

    async def _turn_ended(self, turn: JsonObject) -> list[Step]:
        self._stop.due = None
        steps: list[Step] = []
        if turn.get("status") != "completed" or self._cancelled:
            steps = await self._stopped()
        elif (proposed := self._plan_proposed()) is not None:
            return [proposed]
        elif (fault := self._fault()) is not None:
            return await self._repair(fault)
        self._done = True
        schema = self._work.turn.request.output_schema
        end = self._fold.end(cancelled=self._cancelled, schema=schema)
        if schema is not None and isinstance(last := end[-1], RunCompleted):
            end.insert(-1, artifact(last.structured_output))
        return [*steps, *end]

    def _lost(self, gone: CodexGoneError) -> list[Step]:
        self._done = True
        steps = self._fold.close("interrupted")
        if self._cancelled:  # its process is gone, and with it all it was asked to stop
            return [*steps, outcome.cancelled("cancelled_by_caller")]
        return [*steps, outcome.lost(str(gone), self._fold.spent())]

    def _unauthorized(self, message: Incoming) -> Event | None:
        """Codex would try refused credentials again for 6 s; no other error is looked at here."""
        ours = message.thread != self.thread or message.turn == self._fold.turn
        if message.method != "error" or not ours:
            return None
        error = as_object(message.params.get("error"))
        return outcome.unauthorized(error, self._work.defaults.variable)

    async def _without_credentials(self, asked: Event) -> list[Step]:
        await self._stop.interrupt(self._turns())
        late = [*await self._drain(lambda: self._fold.ended is None), *await self._stopped()]
        self._done = self._refused = True
        return [*late, *self._fold.close("interrupted"), asked]

    # -- structured output ---------------------------------------------------------------------

    def _fault(self) -> str | None:
        """Why the answer cannot be used, where Codex has not been told yet."""
        schema = self._work.turn.request.output_schema
        if schema is None or self._repaired:
            return None
        return outcome.mismatch(self._fold.final, schema)

    async def _repair(self, fault: str) -> list[Step]:
        self._repaired = True
        text = f"the final answer does not fit output_schema ({fault}); codex was told so"
        said = StatusChanged(status=RunStatus.RUNNING, reason="schema_mismatch", message=text)
        return [said, *await self._again(REPAIR.format(fault=fault))]

    # -- plans ---------------------------------------------------------------------------------

    def _plan_proposed(self) -> Step | None:
        if not self._talk.planning or self._fold.plan is None:
            return None
        request = plan.proposal(str(self._fold.turn), self._fold.plan)
        self._plan_request, self._fold.ended = request.request_id, None
        return Ask(request=request)

    async def _plan_answered(self, answer: Answer) -> list[Step]:
        self._plan_request = None
        if answer.choice == ABORT:
            steps = await self._stopped()
            self._done = True
            reason = "cancelled_by_caller" if self._cancelled else "stopped_by_answer"
            return [*steps, *self._fold.close("interrupted"), outcome.cancelled(reason)]
        self._talk.planning = self._state.planning = answer.choice not in ALLOWED
        return await self._again(plan.told(answer))

    # -- calls ---------------------------------------------------------------------------------

    async def _begin(self, items: Sequence[JsonObject]) -> None:
        self._fold.begin(await self._talk.begin(items))
        if self._cancelled:  # asked for while the call was under way
            await self._stop.interrupt(self._turns())

    async def _again(self, text: str) -> list[Step]:
        """Another turn of the same run."""
        try:
            await self._begin([terms.text_input(text)])
        except RpcError as exc:
            self._done = True
            return [outcome.refused(str(exc))]
        except CodexGoneError as exc:
            return self._lost(exc)
        return []

    async def _steer(self, items: Sequence[JsonObject]) -> bool:
        turn = self._fold.turn
        if self._done or turn is None or self._plan_request is not None:
            return False
        return await self._talk.steer(items, turn)

    def _turns(self) -> dict[str, str | None]:
        return {**self._fold.sub_turns, self.thread: self._fold.turn}

    async def _stopped(self) -> list[Step]:
        """Kill what an interrupted turn left running, and hear that it is gone."""
        await self._stop.interrupt(self._fold.sub_turns)
        await self._stop.clean([*self._client.sub_agents(self.thread), self.thread])
        return await self._drain(lambda: self._fold.commands_open or bool(self._fold.sub_turns))

    async def _drain(self, wanting: Callable[[], bool]) -> list[Step]:
        """What is said while something is still to be heard, for a moment."""
        steps: list[Step] = []
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LATE_S):
                while wanting():
                    message = await self._inbox.get()
                    if isinstance(message, CodexGoneError):
                        break
                    steps += self._take(message, loop.time())
        return steps

    async def _halt(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ABANDON_S):
                await self._stop.insist(self._turns())
                await self._stop.clean([*self._client.sub_agents(self.thread), self.thread])

    def _say(self, method: str, params: JsonObject) -> None:
        self._inbox.put_nowait(Incoming(method=method, params=params, thread=self.thread))
