"""One running Claude Code: connected, read without pause, told things, ended.

Knows no run and no event. The SDK's one reader carries messages and control replies alike and
stops after 100 unread messages, so a task of this module reads as long as the process lives.
"""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import anyio
from claude_agent_sdk import (
    CanUseTool,
    ClaudeSDKClient,
    ClaudeSDKError,
    CLINotFoundError,
    Message,
    PermissionMode,
    ProcessError,
    ResultError,
)

from gateway.core.json import JsonObject
from wrappers.adapter import Context
from wrappers.claude.options import Installation, Start, options
from wrappers.process import guardian_launcher, to_the_end

INTERRUPT_S: Final = 5.0  # measured 6-28 ms; a process that takes longer is ended
STDERR_LINES: Final = 20


class AgentDownError(Exception):
    """Claude Code cannot be started, or is gone. `reason` is a run's reason code."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class Client:
    """A process of the CLI for one context, started with `start`.

    Messages go to `listener` while there is one; `on_lost` hears once why the process ended.
    """

    def __init__(
        self,
        context: Context,
        installation: Installation,
        start: Start,
        can_use_tool: CanUseTool,
    ) -> None:
        self.start: Final = start
        self.lost: AgentDownError | None = None
        self.listener: Callable[[Message | AgentDownError], None] | None = None
        self._context = context
        self._installation = installation
        self._can_use_tool = can_use_tool
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._sdk: ClaudeSDKClient | None = None
        self._reader: asyncio.Task[None] | None = None
        self._mode: str = "default"

    async def connect(self, *, resume: bool) -> None:
        """Start the process and shake hands. Raises: AgentDownError."""
        folder = self._installation.home / "launch"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        launcher = guardian_launcher(
            folder / uuid.uuid4().hex,
            self._installation.cli,
            env=self.start.environment,
            tag="claude",
        )
        sdk = ClaudeSDKClient(
            options(
                self.start,
                self._context,
                self._installation,
                launcher=launcher,
                can_use_tool=self._can_use_tool,
                stderr=self._stderr.append,
                resume=resume,
            )
        )
        try:
            await sdk.connect()
        except Exception as exc:  # the SDK raises bare Exception for control errors
            raise self._down(exc, "agent_start_failed") from exc
        finally:
            # Read by now: the environment holds keys and stays on disk no longer than needed.
            for file in (launcher, Path(f"{launcher}.env")):
                file.unlink(missing_ok=True)
        self._sdk = sdk
        self._reader = asyncio.create_task(self._read(sdk), name=f"claude {self._context.id}")

    async def _read(self, sdk: ClaudeSDKClient) -> None:
        try:
            async for message in sdk.receive_messages():
                if self.listener is not None:
                    self.listener(message)
            self.lost = self._down(ClaudeSDKError("it closed its output"), "agent_lost")
        except Exception as exc:  # noqa: BLE001 (root of this task; reported as the end of the run)
            self.lost = self._down(exc, "agent_lost")
        if self.listener is not None:
            self.listener(self.lost)

    def _down(self, exc: Exception, reason: str) -> AgentDownError:
        if isinstance(exc, CLINotFoundError):
            text = "the claude program is missing; install claude-agent-sdk or set claude_bin"
            return AgentDownError("agent_start_failed", text)
        if isinstance(exc, ResultError):
            text = exc.result or "; ".join(exc.errors) or str(exc)
        elif isinstance(exc, ProcessError):
            text = f"Claude Code exited with status {exc.exit_code}"
        else:
            text = f"Claude Code: {exc}"
        # The SDK's text never says why; the CLI's own last words do.
        said = " ".join(self._stderr)[-500:].strip()
        return AgentDownError(reason, f"{text}: {said}" if said else text)

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

    async def say(self, content: list[JsonObject]) -> str:
        """Send a user message; its uuid. Raises: AgentDownError."""
        message_id = str(uuid.uuid4())

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
            raise self._down(exc, "agent_lost") from exc
        return message_id

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
            raise self.lost or AgentDownError("agent_lost", "Claude Code is not running")
        return self._sdk

    async def close(self, *, busy: bool = False) -> None:
        """End the process, whatever happens to the caller meanwhile; `busy` stops its turn first.

        Without the interrupt a CLI with a request pending calls the model once more as it ends,
        and one inside a command takes 5 s to go.
        """
        await to_the_end(self._close(busy))

    async def _close(self, busy: bool) -> None:
        self.listener = None
        if busy and self.lost is None:
            await self.interrupt()
        sdk, self._sdk = self._sdk, None
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        if sdk is not None:
            await sdk.disconnect()
