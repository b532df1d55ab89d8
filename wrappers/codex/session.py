"""A context's conversation with Codex: its thread, loaded where it must be, and one run at a time.

Knows when a thread is started, resumed or loaded anew; what happens in a run is `live`'s.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Final

from gateway.core.events import AuthRequired, Event, Rejected, RunFailed, RunStarted, StatusChanged
from gateway.core.extension import Answer
from gateway.core.json import as_object
from gateway.core.messages import Message
from gateway.core.status import RunStatus
from wrappers.adapter import Bound, Context, Step, Turn, UnsupportedError
from wrappers.codex import outcome, plan, terms, threads
from wrappers.codex.client import CodexClient, RpcError
from wrappers.codex.folders import git_dirs, hidden_folders, remove_mount_points
from wrappers.codex.ledger import Ledger
from wrappers.codex.live import LiveRun
from wrappers.codex.router import CodexGoneError
from wrappers.codex.server import AppServer
from wrappers.codex.talk import RunState, Terms
from wrappers.codex.threads import ThreadLostError, Warm
from wrappers.processes.process import TREE_VARIABLE, to_the_end
from wrappers.resumption import Grants
from wrappers.runfile import RunFiles

LOST: Final = "codex no longer has this conversation"

log = logging.getLogger(__name__)


class CodexSession:
    """The AgentSession of one context."""

    def __init__(
        self, server: AppServer, warm: Warm, ledger: Ledger, files: RunFiles, context: Context
    ) -> None:
        self._server = server
        self._warm = warm
        self._ledger = ledger
        self._files = files
        self._context = context
        self._thread = context.vendor_session
        self._part = uuid.uuid4().hex  # marks this context's commands among the process's
        self._joined: CodexClient | None = None  # the process that tells us of the thread
        self._loading = asyncio.Lock()  # the thread is loaded or let go of, one at a time
        self._client: CodexClient | None = None  # of the present run
        self._starting: asyncio.Task[list[Step]] | None = None
        self._live: LiveRun | None = None
        self._state: RunState | None = None
        self._fresh = False  # its thread has no turn yet
        self._planned = True  # whether Codex was to plan when it was last heard of
        self._running = False
        self._cancelled = False

    async def run(self, turn: Turn) -> AsyncGenerator[Step]:
        if self._running:
            raise RuntimeError(f"context {self._context.id} has a run already")
        self._running, self._cancelled = True, False
        self._warm.wake(self)
        before = hidden_folders(self._context.cwd)
        try:
            steps = await self._begun(turn)
            while steps:
                for step in steps:
                    if isinstance(step, AuthRequired) and self._client is not None:
                        self._server.retire(self._client)
                    yield step
                steps = await self._live.more() if self._live is not None else []
        finally:
            live, self._live = self._live, None
            try:
                await to_the_end(self._finish(live, before))
            finally:
                self._running = False

    async def answer(self, answer: Answer, message: Message | None = None) -> None:
        del message
        if self._live is not None:
            await self._live.answer(answer)

    async def steer(self, message: Message) -> bool:
        return self._live is not None and await self._live.steer(message)

    async def cancel(self) -> None:
        self._cancelled = True
        if self._live is not None:
            await self._live.cancel()
        elif self._starting is not None:  # nothing of the run is at Codex yet
            self._starting.cancel()

    async def close(self) -> None:
        """Let the thread go; Codex keeps its history."""
        self._warm.wake(self)
        await self._let_go()

    # -- the start and the end of a run -------------------------------------------------------

    async def _begun(self, turn: Turn) -> list[Step]:
        """The first steps; a cancel ends the wait for them."""
        starting = self._starting = asyncio.create_task(self._start(turn), name="codex start")
        try:
            await asyncio.wait({starting})
        except BaseException:
            starting.cancel()
            await to_the_end(_settled(starting))
            raise
        finally:
            self._starting = None
        if starting.cancelled():
            return [outcome.cancelled("cancelled_by_caller")]
        return starting.result()

    async def _start(self, turn: Turn) -> list[Step]:
        """Start the turn; its first steps, or the only one when it cannot start."""
        try:
            client = self._client = await self._server.client(self)
            if not await self._server.logged_in(client):
                begun = RunStarted(extra={"thread_id": self._thread})
                return [begun, outcome.not_logged_in()]
            marked = {
                **turn.environment,
                TREE_VARIABLE: self._mark(client),
                **self._files.environment,
            }
            return await self._talk(client, replace(turn, environment=marked))
        except UnsupportedError as exc:
            return [Rejected(message=str(exc), reason="unsupported")]
        except ThreadLostError:
            return [outcome.lost(LOST)]
        except RpcError as exc:
            self._joined = None  # whatever is loaded: state it all again the next time
            return [outcome.refused(str(exc))]
        except CodexGoneError as exc:
            return [self._no_server(str(exc))]
        except OSError as exc:
            log.warning("codex app-server could not be started: %s", exc)
            return [self._no_server("codex could not be started")]

    def _no_server(self, why: str) -> Event:
        if self._cancelled:  # which may be why it was ended
            return outcome.cancelled("cancelled_by_caller")
        return RunFailed(
            message=f"{why}; the wrapper's log says more, the next run starts it anew",
            reason="agent_unavailable",
            extra={"retryable": True},
        )

    async def _talk(self, client: CodexClient, turn: Turn) -> list[Step]:
        async with self._loading:
            notes = await self._load(client, turn)
        self._files.write(str(self._thread), turn.known_as)
        work = Terms(
            context=self._context,
            turn=turn,
            defaults=await self._server.defaults(client),
            mark=self._mark(client),
            git_dirs=git_dirs(self._context.cwd),
        )
        live = LiveRun(client, str(self._thread), work, self._state_of(turn), self._ledger)
        self._live = live
        try:
            await live.start()
        except BaseException:
            self._live = None
            await live.abandon()
            raise
        return [*notes, *await live.more()]

    async def _finish(self, live: LiveRun | None, before: set[str]) -> None:
        client, self._client = self._client, None
        if live is not None:
            await live.abandon()
        if client is not None:
            retired = self._server.retired(client)
            if retired:  # another process will want to have the thread
                await self._let_go()
            await self._server.release(client, self)
            if not retired:
                await self._warm.rest(self, self._let_go)
        # A sandbox that still runs needs its mount points, a background command's too.
        if live is not None and live.stopped and self._server.idle:
            remove_mount_points(self._context.cwd, before)

    def _mark(self, client: CodexClient) -> str:
        return f"{client.mark}/{self._part}"

    def _state_of(self, turn: Turn) -> RunState:
        """That of a run's first try; what an earlier process of the wrapper knew, we are told."""
        if self._state is None or self._state.run_id != turn.run_id:
            approved = plan.decided(turn.answered)
            if approved is None and turn.answered:
                approved = not self._planned
            planning = turn.request.permission_mode == "plan" and not approved
            self._state = RunState(
                run_id=turn.run_id,
                before={} if self._fresh else self._ledger.read(turn.run_id),
                grants=Grants(turn.answered),
                planning=planning,
            )
        return self._state

    # -- the thread ----------------------------------------------------------------------------

    async def _load(self, client: CodexClient, turn: Turn) -> list[Step]:
        """Have the thread loaded in `client` with this run's settings. Raises: ThreadLostError."""
        config = terms.thread_config(str(self._context.cwd), turn)
        present = client.threads.get(self._thread or "")
        self._fresh = False
        if self._joined is client and present == config:
            return []
        notes: list[Step] = []
        if self._thread is None and turn.answered:
            raise ThreadLostError
        if self._thread is not None:
            notes = await self._resume(client, turn, self._thread)
        if self._thread is None:
            self._thread = await threads.start(client, self._context, turn)
            self._fresh = True
        self._joined = client
        return notes

    async def _resume(self, client: CodexClient, turn: Turn, thread: str) -> list[Step]:
        try:
            answer = await threads.resume(client, self._context, turn, thread)
        except ThreadLostError:
            if turn.answered:  # what was answered makes no sense without what was asked
                raise
            self._thread = None
            text = f"{LOST}; the run starts without its history"
            return [StatusChanged(status=RunStatus.RUNNING, reason="session_lost", message=text)]
        self._planned = as_object(answer.get("collaborationMode")).get("mode") == "plan"
        return [Bound(vendor_session=thread)]

    async def _let_go(self) -> None:
        async with self._loading:
            client, self._joined = self._joined, None
            if client is None or self._thread is None or not client.alive:
                return
            try:
                await threads.let_go(client, self._thread)
            except (RpcError, CodexGoneError) as exc:
                log.debug("context %s: thread was not let go: %s", self._context.id, exc)


async def _settled(task: "asyncio.Task[list[Step]]") -> None:
    await asyncio.wait({task})
