"""What a request's context says of its caller: era, person, run; and how the caller is told things.

Knows the SDK's context and no tool. Over HTTP it holds the request, in memory none.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

from mcp.server.context import ServerRequestContext
from starlette.requests import Request

from gateway.core.face.caller import CLOSING
from mcp_bridge.face import asking
from mcp_bridge.face.asking import Person
from mcp_bridge.tool import Tool
from mcp_bridge.within import PARENT_HEADER, checked

MODERN: Final = "2026-07-28"

Context: TypeAlias = ServerRequestContext[Any, Any]


@contextmanager
def ended_with_the_server(
    context: Context, tool: Tool[Any], end: Callable[[], None]
) -> Generator[None]:
    """Call `end` when the server's end begins, if the tool only reads: the end of the process
    would have to wait for a poll that waits."""
    request = context.request
    closing = request.scope.get("state", {}).get(CLOSING) if isinstance(request, Request) else None
    if closing is None or not tool.annotations.read_only_hint:
        yield
        return
    with closing.calling(end):
        yield


def is_modern(context: Context) -> bool:
    """Versions are dates, and 2026-07-28 is the first without a handshake."""
    return context.protocol_version >= MODERN


def person_of(context: Context) -> Person | None:
    """Whom the client can ask, in an era in which it can be asked."""
    if not is_modern(context):
        return None
    about = context.session.client_params
    client = about.client_info.name if about is not None else ""
    # The same client serves a person and, within a run, nobody.
    client = f"{client[:128]} {within_of(context) or ''}"
    return asking.person_of(context.session.client_capabilities, client)


def within_of(context: Context) -> str | None:
    """The run whose agent calls, by the header that the relay makes of its environment."""
    request = context.request  # None in memory
    return checked(request.headers.get(PARENT_HEADER)) if isinstance(request, Request) else None


def beat_of(context: Context) -> Callable[[float, float, str], Awaitable[None]]:
    async def beat(waited: float, most: float, text: str) -> None:
        await context.session.report_progress(round(waited, 1), most, text)

    return beat
