"""One running Claude Code: connected, read without pause, told things, ended.

Knows no run and no event. The SDK's one reader carries messages and control replies alike and
stops after 100 unread messages, so a task of this module reads as long as the process lives.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import anyio
from claude_agent_sdk import (
    ClaudeSDKClient,
    ClaudeSDKError,
    Message,
    PermissionMode,
    ProcessError,
    ResultError,
    ToolPermissionContext,
)

from gateway.core.json import JsonObject
from wrappers.claude.asks import Verdict
from wrappers.claude.options import Installation, Start, arguments, options
from wrappers.claude.transport import END_S, CliTransport
from wrappers.processes.process import to_the_end

# From the interrupt to the end of the turn: measured 6-28 ms and 19-42 ms. Whoever takes longer
# (it is frozen, or its machine is) is killed; a cancel has to be over within 2 s.
INTERRUPT_S: Final = 1.0
START_S: Final = 60.0  # an endless start holds the run's place; 0.4 s is usual, 3 s under load
GO_ON: Final = "send another message in the same session to go on"
EXEC_FAILED: Final = 127  # the guardian's status for a program that cannot be started

# It calls every process that we end a fatal error; what there is to say becomes a run's events.
logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL)

log = logging.getLogger(__name__)

Asker: TypeAlias = Callable[[str, JsonObject, ToolPermissionContext], Awaitable[Verdict]]


class AgentDownError(Exception):
    """Claude Code cannot be started, or is gone. `reason` is a run's reason code."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Client:
    """A process of the CLI for one session, started with `start`.

    Messages go to `listener` while there is one, and so does the news that the process is gone;
    `asker` answers its requests.
    """

    def __init__(self, session: str, installation: Installation, start: Start) -> None:
        self.session: Final = session
        self.start: Final = start
        self.lost: AgentDownError | None = None
        self.listener: Callable[[Message | AgentDownError], None] | None = None
        self.asker: Asker | None = None
        self._installation = installation
        self._transport: CliTransport | None = None
        self._sdk: ClaudeSDKClient | None = None
        self._reader: asyncio.Task[None] | None = None
        self._killed = False
        self._mode: str | None = None

    async def connect(self, *, resume: bool) -> None:
        """Start the process and shake hands. Raises: AgentDownError."""
        transport = self._transport = CliTransport(
            arguments(self.start, self._installation, session=self.session, resume=resume),
            cwd=self.start.cwd,
            env={
                **self.start.environment,
                **self._installation.files.environment_of(self.session),
            },
        )
        if self._killed:
            transport.kill()
        sdk = ClaudeSDKClient(options(self._ask), transport=transport)
        try:
            async with asyncio.timeout(START_S):
                await sdk.connect()
        except Exception as exc:  # the SDK raises bare Exception for control errors
            raise self._down(exc, "agent_start_failed") from exc
        self._sdk = sdk
        self._mode = None if resume else "default"  # a session in plan mode resumes in it
        self._reader = asyncio.create_task(self._read(sdk), name=f"claude {self.session}")

    async def _ask(
        self, tool: str, arguments: JsonObject, context: ToolPermissionContext
    ) -> Verdict:
        """The SDK's callback, in a task of its own for each request."""
        if self.asker is None:
            raise AgentDownError("agent_error", "no run is there to answer")
        return await self.asker(tool, arguments, context)

    async def _read(self, sdk: ClaudeSDKClient) -> None:
        try:
            async for message in sdk.receive_messages():
                if self.listener is not None:
                    self.listener(message)
            self.lost = self._down(ProcessError("", exit_code=0), "interrupted")
        except Exception as exc:  # noqa: BLE001 (root of this task; reported as the end of the run)
            self.lost = self._down(exc, "interrupted")
        if self.listener is not None:
            self.listener(self.lost)

    def _down(self, exc: Exception, reason: str) -> AgentDownError:
        # The SDK's text never says why; the CLI's own last words do.
        said = " ".join(self._transport.stderr if self._transport else ())[-500:].strip()
        if isinstance(exc, ResultError):
            text = exc.result or "; ".join(exc.errors) or str(exc)
        elif isinstance(exc, ProcessError) and exc.exit_code == EXEC_FAILED:
            log.warning("%s", said)  # with the program's path, which is no caller's affair
            text, said = "the claude program cannot be started; see claude_bin", ""
        elif isinstance(exc, ProcessError):
            text = f"Claude Code exited with status {exc.exit_code}"
        elif isinstance(exc, TimeoutError):
            text = f"Claude Code did not start within {START_S:.0f} s"
        elif isinstance(exc, OSError):
            text = f"Claude Code cannot be started: {exc.strerror}"
        else:
            text = f"Claude Code: {exc}"
        text = f"{text}: {said}" if said else text
        return AgentDownError(reason, f"{text}; {GO_ON}" if reason == "interrupted" else text)

    # -- what it is told ---------------------------------------------------------------------------

    async def set_mode(self, mode: PermissionMode) -> None:
        """Raises: AgentDownError."""
        if mode == self._mode:
            return
        try:
            await self._connected().set_permission_mode(mode)
        except Exception as exc:  # see connect
            raise self._down(exc, "agent_start_failed") from exc
        self._mode = mode

    def mode_is(self, mode: str) -> None:
        """What the CLI says of its mode: an approved plan, for one, changes it."""
        self._mode = mode

    async def say(self, message_id: str, content: list[JsonObject]) -> None:
        """Send a user message under a uuid. Raises: AgentDownError."""

        async def one() -> AsyncIterator[dict[str, Any]]:
            yield {
                "type": "user",
                "uuid": message_id,
                "parent_tool_use_id": None,
                "message": {"role": "user", "content": content},
            }

        try:
            await self._connected().query(one())
        except ClaudeSDKError as exc:
            raise self._down(exc, "interrupted") from exc

    async def interrupt(self) -> bool:
        """Stop the turn, its command and pending requests. False when the CLI did not react."""
        with anyio.move_on_after(INTERRUPT_S):
            try:
                await self._connected().interrupt()
            except Exception:  # noqa: BLE001 (see connect: an answer we cannot use is no answer)
                return False
            return True
        return False

    def _connected(self) -> ClaudeSDKClient:
        if self._sdk is None:
            raise self.lost or AgentDownError("interrupted", "Claude Code is not running")
        return self._sdk

    # -- the end -----------------------------------------------------------------------------------

    async def alone(self) -> bool:
        """True when none of the commands that it ever started is left."""
        return self._transport is not None and await self._transport.alone()

    def kill(self) -> None:
        """End the process and all below it at once, also one that is being started."""
        self._killed = True
        if self._transport is not None:
            self._transport.kill()

    async def close(self, *, busy: bool = False, end_s: float = END_S) -> None:
        """End the process within 2 s, whatever happens to the caller meanwhile; `busy` stops its
        turn first, `end_s` is what it then has to write its session.

        Without the interrupt a CLI with a request pending calls the model once more as it ends.
        """
        await to_the_end(self._close(busy, end_s))

    async def _close(self, busy: bool, end_s: float) -> None:
        self.listener = None
        if busy and self.lost is None and not self._killed and not await self.interrupt():
            self.kill()
        sdk, self._sdk = self._sdk, None
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if self._transport is not None:
            self._transport.end_s = 0 if self._killed else end_s
        if sdk is not None:
            await sdk.disconnect()
        elif self._transport is not None:
            await self._transport.close()
