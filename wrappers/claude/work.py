"""The turn of Claude Code that is running: what arrived, what it asks, when to give it up.

Knows neither how the messages are read nor how the process is run; time is monotonic seconds.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from claude_agent_sdk import Message as SdkMessage
from claude_agent_sdk import PermissionUpdate, ToolPermissionContext

from gateway.core.events import CommandUpdated, Event, RunStarted
from gateway.core.extension import ABORT, DENY, Answer, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.structured import fault_of_output
from wrappers.adapter import Ask, Turn, Withdraw
from wrappers.claude.asks import Modes, Verdict, pending_request, verdict
from wrappers.claude.client import INTERRUPT_S, AgentDownError
from wrappers.claude.events import Reading
from wrappers.claude.outcome import Totals
from wrappers.claude.outputs import Outputs
from wrappers.claude.tools import COMMAND_TOOL
from wrappers.resumption import Grants

ALIVE_S: Final = 30.0  # a long command says nothing by itself; the CLI's own heartbeat is 30 s

Item: TypeAlias = SdkMessage | Ask | Withdraw | CommandUpdated | AgentDownError | None


@dataclass(slots=True, kw_only=True)
class Open:
    """A request that Claude Code waits for."""

    request: PendingRequest
    arguments: JsonObject
    suggestions: list[PermissionUpdate]
    verdict: asyncio.Future[Verdict]


@dataclass(slots=True, kw_only=True)
class Work:
    """`said`: the prompt is with the CLI. `repaired`: another structured output was asked for.
    `give_up_at`: an interrupted turn must be over by then. `grants`: permissions from before."""

    turn: Turn
    reading: Reading
    before: Totals
    grants: Grants = field(default_factory=Grants)
    inbox: asyncio.Queue[Item] = field(default_factory=asyncio.Queue[Item])
    outputs: Outputs = field(init=False)
    open: dict[str, Open] = field(default_factory=dict[str, Open])
    said: bool = False
    repaired: bool = False
    cancelled: bool = False
    give_up_at: float | None = None
    _running: dict[str, float] = field(default_factory=dict[str, float])

    def started(self, session: str, cwd: Path, *, warm: bool) -> Event:
        """`warm`: a process that is there already takes the prompt."""
        return RunStarted(
            extra={
                "backend_session_id": session,
                "cwd": str(cwd),
                "requested_model": self.turn.request.model,
                "requested_setting_sources": [],
                "requested_fast_mode": False,
                "forced_fast_mode_override": None,
                "warm": warm,
            }
        )

    def follow(self, session: str, config: Path, environment: Mapping[str, str]) -> None:
        """Before anything runs: what commands print comes as items too."""
        self.outputs = Outputs(session, config, environment, self.inbox.put_nowait)

    def listen(self, item: SdkMessage | AgentDownError) -> None:
        self.inbox.put_nowait(item)

    async def next(self) -> Item:
        """The next item; None when it is time to look although nothing came."""
        timeout = ALIVE_S
        if self.give_up_at is not None:
            timeout = max(0.0, self.give_up_at - time.monotonic())
        try:
            async with asyncio.timeout(timeout):
                return await self.inbox.get()
        except TimeoutError:
            return None

    # -- the end ---------------------------------------------------------------------------------

    @property
    def given_up(self) -> bool:
        return self.give_up_at is not None and time.monotonic() >= self.give_up_at

    @property
    def over(self) -> bool:
        """Nothing more is to come. An interrupted turn does not say which messages it took up."""
        ended = self.reading.ended or (self.give_up_at is not None and self.reading.turn_over)
        return not self.said or ended or self.given_up

    @property
    def failed(self) -> bool:
        """The last turn ended with an error of the CLI's or the API's."""
        return any(result.is_error for result in self.reading.results[-1:])

    def fault(self) -> str | None:
        """What is wrong with the structured output of a turn that is over, where it was asked for
        and can be asked for once more."""
        schema = self.turn.request.output_schema
        if schema is None or self.repaired or self.cancelled or self.failed:
            return None
        if self.reading.refusal is not None or not self.reading.ended:
            return None
        return fault_of_output(self.reading.results[-1].structured_output, schema)

    def expect_end(self, within_s: float = INTERRUPT_S) -> None:
        """The turn was interrupted; whoever waits for the next item has to look at the clock."""
        self.give_up_at = time.monotonic() + within_s
        self.inbox.put_nowait(None)

    # -- requests to the caller ------------------------------------------------------------------

    async def ask(
        self, tool: str, arguments: JsonObject, context: ToolPermissionContext
    ) -> Verdict:
        """Have the caller asked and wait for the answer; several may wait at once."""
        request = pending_request(context.tool_use_id or tool, tool, arguments, context)
        if (given := self.grants.take(request)) is not None:
            return verdict(request, arguments, given, suggestions=context.suggestions, modes={})
        waiting = Open(
            request=request,
            arguments=arguments,
            suggestions=context.suggestions,
            verdict=asyncio.get_running_loop().create_future(),
        )
        self.open[request.request_id] = waiting
        self.inbox.put_nowait(Ask(request=request))
        try:
            return await waiting.verdict
        except asyncio.CancelledError:  # the CLI was interrupted and no longer waits
            if self.open.pop(request.request_id, None) is not None:
                self.inbox.put_nowait(Withdraw(request_id=request.request_id))
            raise

    def answer(self, answer: Answer, modes: Modes) -> None:
        waiting = self.open.pop(answer.request_id, None)
        if waiting is None or waiting.verdict.done():
            return  # withdrawn a moment ago, as the run has said
        if answer.choice == ABORT:
            self.cancelled = True
            self.expect_end()
        if answer.choice in (DENY, ABORT):
            self.reading.calls.declined.add(answer.request_id)
        told = verdict(
            waiting.request,
            waiting.arguments,
            answer,
            suggestions=waiting.suggestions,
            modes=modes,
        )
        waiting.verdict.set_result(told)

    # -- signs of life ---------------------------------------------------------------------------

    def signs_of_life(self) -> list[Event]:
        """A `command_updated` for each command that is still running."""
        now = time.monotonic()
        events: list[Event] = []
        for call in self.reading.calls.open.values() if self.give_up_at is None else ():
            if call.tool != COMMAND_TOOL:
                continue
            since = self._running.setdefault(call.id, now - ALIVE_S)
            extra: dict[str, Any] = call.tags(elapsed_time_seconds=round(now - since))
            events.append(CommandUpdated(command=call.command, tool_use_id=call.id, extra=extra))
        return events
