"""Who calls, and under which terms: what a request's headers and state say before its body is read.

Knows no operation. Guard and Listener write the state, the faces read it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from a2a.utils.errors import A2AError, ExtensionSupportRequiredError, VersionNotSupportedError
from starlette.types import Receive, Scope

from gateway.core import extension
from gateway.core.face.closing import Closing
from gateway.core.face.refusals import going_away

PRINCIPAL: Final = "principal"  # key in a request's state
BODY: Final = "body"  # key in a request's state: its body, where the Guard has read it
LOCAL: Final = "local"  # the principal behind a server's one token
CLOSING: Final = "closing"  # key in a request's state: the server's Closing
SERVED_MAJOR: Final = "1"  # A2A versions differ by major only
OLD_VERSION: Final = "0.3"  # specification 3.6: what a request without the header speaks
# A caller who hangs up is noticed after this long: most answers come sooner, and listening for it
# costs a task.
LISTEN_AFTER_S: Final = 1.0

# 0.3 named the header so; its clients send only this one.
_EXTENSIONS: Final = frozenset({b"a2a-extensions", b"x-a2a-extensions"})
_VERSION: Final = extension.VERSION_HEADER.lower().encode()
_LAST_EVENT_ID: Final = extension.LAST_EVENT_ID_HEADER.lower().encode()

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """`closing` announces the server's end, `receive` the end of the connection."""

    principal: str
    extensions: frozenset[str]
    version: str
    last_event_id: str | None
    closing: Closing
    receive: Receive

    @property
    def extended(self) -> bool:
        """The coding-run extension is activated."""
        return extension.URI in self.extensions

    @property
    def old(self) -> bool:
        """The caller speaks 0.3, or does not say what."""
        return self.version.partition(".")[0] == "0"

    def as_current(self) -> "Caller":
        """A caller of 0.3 whose call was translated."""
        return replace(self, version=f"{SERVED_MAJOR}.0")

    async def hold(self, run_id: str, work: Awaitable[T]) -> T:
        """The outcome of `work`, as long as there is somebody to tell it to.

        The server's end says how to go on: without that a server waits for its blocking callers,
        and they for it. When the caller hangs up only the waiting ends, not the run.
        """
        waiting = _Waiting(self.receive)
        with self.closing.calling(waiting.end):
            try:
                return await work
            except asyncio.CancelledError:
                if not waiting.is_ended():
                    raise
                raise going_away(run_id) from None
            finally:
                waiting.stop()


class _Waiting:
    """The present task, until `end` is called or the connection is gone: then it is cancelled.

    What a cancel scope does, at a tenth of its cost (20 us), which a blocking send would pay.
    """

    def __init__(self, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:  # pragma: no cover - a coroutine that runs has a task
            raise RuntimeError("no task waits here")
        self._task = task
        self._receive = receive
        self._ended = False
        self._listening: asyncio.Task[None] | None = None
        self._later = task.get_loop().call_later(LISTEN_AFTER_S, self._listen)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._task.cancel()

    def is_ended(self) -> bool:
        """True when the cancellation was `end`'s alone; it is taken back then."""
        return self._ended and self._task.uncancel() == 0

    def stop(self) -> None:
        self._later.cancel()
        if self._listening is not None:
            self._listening.cancel()

    def _listen(self) -> None:
        listening = until_gone(self._receive, self.end)
        self._listening = self._task.get_loop().create_task(listening)


async def until_gone(receive: Receive, tell: Callable[[], object]) -> None:
    """Call `tell` when the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass
    tell()


def caller_of(scope: Scope, receive: Receive) -> Caller:
    state: Mapping[str, Any] = scope.get("state") or {}
    extensions: list[str] = []
    version = ""
    last_event_id: str | None = None
    for name, value in scope["headers"]:
        if name == _VERSION:
            version = value.decode("latin-1")
        elif name in _EXTENSIONS:
            extensions += [uri.strip() for uri in value.decode("latin-1").split(",")]
        elif name == _LAST_EVENT_ID:
            last_event_id = value.decode("latin-1")
    return Caller(
        principal=state.get(PRINCIPAL, LOCAL),
        extensions=frozenset(extensions),
        version=version or OLD_VERSION,
        last_event_id=last_event_id,
        closing=state.get(CLOSING) or Closing(),
        receive=receive,
    )


def check_terms(caller: Caller, required: frozenset[str]) -> None:
    """Refuse a version that is not served, or a caller without an extension that is required.

    Raises: A2AError.
    """
    error: A2AError | None = None
    if caller.version.partition(".")[0] != SERVED_MAJOR:
        error = VersionNotSupportedError(
            f"A2A version {caller.version[:16]!r} is not served here; send 'A2A-Version: 1.0'"
        )
    elif missing := sorted(required - caller.extensions):
        error = ExtensionSupportRequiredError(
            f"this agent requires the extension {missing[0]}; name it in 'A2A-Extensions'"
        )
    if error is not None:
        raise error
