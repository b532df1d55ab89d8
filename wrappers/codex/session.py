"""A context's conversation with Codex: its thread, loaded where it must be, and one run at a time.

Knows when a thread is started, resumed or loaded anew; what happens in a run is `live`'s.
"""

import logging
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from gateway.core.events import (
    AuthRequired,
    Event,
    Rejected,
    RunFailed,
    RunStarted,
    StatusChanged,
)
from gateway.core.extension import Answer
from gateway.core.json import as_object
from gateway.core.messages import Message
from gateway.core.status import RunStatus
from wrappers.adapter import Bound, Context, Step, Turn, UnsupportedError
from wrappers.codex import outcome, terms
from wrappers.codex.client import CodexClient, CodexGoneError, RpcError
from wrappers.codex.live import LiveRun, refused
from wrappers.codex.server import AppServer

log = logging.getLogger(__name__)


class CodexSession:
    """The AgentSession of one context."""

    def __init__(self, server: AppServer, context: Context) -> None:
        self._server = server
        self._context = context
        self._thread = context.vendor_session
        self._joined: CodexClient | None = None  # the process that tells us of the thread
        self._client: CodexClient | None = None  # of the present run
        self._live: LiveRun | None = None
        self._running = False
        self._cancelled = False

    async def run(self, turn: Turn) -> AsyncGenerator[Step]:
        if self._running:
            raise RuntimeError(f"context {self._context.id} has a run already")
        self._running, self._cancelled = True, False
        before = hidden_folders(self._context.cwd)
        try:
            steps = await self._start(turn)
            while steps:
                for step in steps:
                    if isinstance(step, AuthRequired) and self._client is not None:
                        self._server.retire(self._client)
                    yield step
                steps = await self._live.more() if self._live is not None else []
        finally:
            self._running = False
            live, self._live = self._live, None
            client, self._client = self._client, None
            try:
                if live is not None:
                    await live.abandon()
            finally:
                if client is not None:
                    self._server.busy(client, self, on=False)
                # A sandbox that still runs needs its mount points, a background command's too.
                if live is not None and live.stopped and self._server.idle:
                    remove_mount_points(self._context.cwd, before)

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

    async def close(self) -> None:
        """Codex unloads the thread by itself after half an hour without a listener."""
        client, self._joined = self._joined, None
        if client is None or self._thread is None:
            return
        try:
            await client.call("thread/unsubscribe", {"threadId": self._thread})
        except (RpcError, CodexGoneError) as exc:
            log.debug("context %s: thread was not let go: %s", self._context.id, exc)

    # -- the start of a run --------------------------------------------------------------------

    async def _start(self, turn: Turn) -> list[Step]:
        """Start the turn; its first steps, or the only one when it cannot start."""
        try:
            client = self._client = await self._server.client()
            self._server.busy(client, self, on=True)
            if not await self._server.logged_in(client):
                begun = RunStarted(extra={"thread_id": self._thread})
                return [begun, outcome.not_logged_in()]
            notes = await self._load(client, turn)
            return [*notes, *await self._begin(client, turn)]
        except UnsupportedError as exc:
            return [Rejected(message=str(exc), reason="unsupported")]
        except RpcError as exc:
            return [self._refused(exc)]
        except CodexGoneError as exc:
            return [_no_server(str(exc))]
        except OSError as exc:
            log.warning("codex app-server could not be started: %s", exc)
            return [_no_server("codex could not be started")]

    def _refused(self, error: RpcError) -> Event:
        self._joined = None  # whatever is loaded: state it all again the next time
        return refused(error)

    async def _begin(self, client: CodexClient, turn: Turn) -> list[Step]:
        model, effort = await self._server.defaults(client)
        if self._cancelled or self._thread is None:
            return [StatusChanged(status=RunStatus.CANCELLED, reason="cancelled_by_caller")]
        live = self._live = LiveRun(
            client,
            self._thread,
            context=self._context,
            turn=turn,
            model=model,
            effort=effort,
            git_dirs=git_dirs(self._context.cwd),
        )
        try:
            await live.start()
        except BaseException:
            self._live = None
            await live.abandon()
            raise
        return await live.more()

    async def _load(self, client: CodexClient, turn: Turn) -> list[Step]:
        """Have the thread loaded in `client` with this run's settings."""
        config = terms.thread_config(str(self._context.cwd), turn)
        present = client.threads.get(self._thread or "")
        if self._joined is client and present == config:
            return []
        if present is not None and present != config:
            await self._unload(client)
        notes = await self._resume(client, turn) if self._thread is not None else []
        if self._thread is None:
            answer = await client.call("thread/start", terms.thread_start(self._context, turn))
            self._thread = str(as_object(answer.get("thread")).get("id"))
        self._joined, client.threads[self._thread] = client, config
        return notes

    async def _unload(self, client: CodexClient) -> None:
        """A loaded thread keeps its settings, whatever `thread/resume` says; these two unload it."""
        for method in ("thread/archive", "thread/unarchive"):
            await client.call(method, {"threadId": self._thread})

    async def _resume(self, client: CodexClient, turn: Turn) -> list[Step]:
        thread = str(self._thread)
        try:
            await client.call("thread/resume", terms.thread_resume(self._context, turn, thread))
        except RpcError as exc:
            # Its code is the same for every refusal; a thread in use elsewhere must not be forked.
            if "no rollout found" not in exc.text:
                raise
            self._thread = None
            text = "codex no longer has this conversation; the run starts without its history"
            return [StatusChanged(status=RunStatus.RUNNING, reason="session_lost", message=text)]
        return [Bound(vendor_session=thread)]


def git_dirs(cwd: Path) -> tuple[str, ...]:
    """The git folders of the repository around `cwd`: one, or two for a linked worktree."""
    for folder in (cwd, *cwd.parents):
        git = folder / ".git"
        if (git / "HEAD").is_file():
            return (str(git),)
        if git.is_file():
            return _linked(git)
    return ()


def _linked(git: Path) -> tuple[str, ...]:
    target = git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    folder = (git.parent / target).resolve()
    common = folder / "commondir"
    if not common.is_file():
        return (str(folder),)
    shared = (folder / common.read_text(encoding="utf-8").strip()).resolve()
    return (str(folder), str(shared))


def hidden_folders(cwd: Path) -> set[str]:
    """The folders in `cwd` whose names begin with a dot; none where there is no `cwd`."""
    try:
        with os.scandir(cwd) as entries:
            return {item.name for item in entries if item.name.startswith(".") and item.is_dir()}
    except OSError:
        return set()


def remove_mount_points(cwd: Path, before: set[str]) -> None:
    """Remove what the sandbox's mounts leave in `cwd` when a command is killed.

    They are empty folders with a dot (`.git`, `.codex`, `.agents`, `.aws` were seen); one that was
    there before, or has something in it, stays.
    """
    for name in hidden_folders(cwd) - before:
        try:
            (cwd / name).rmdir()
        except OSError:
            continue


def _no_server(why: str) -> RunFailed:
    return RunFailed(
        message=f"{why}; the wrapper's log says more, the next run starts it anew",
        reason="agent_unavailable",
        extra={"retryable": True},
    )
