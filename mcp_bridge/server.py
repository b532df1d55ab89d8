"""The MCP server at /mcp: calls in, compact JSON or one line of error out, in both eras.

Knows MCP and nothing of runs. Built on the SDK's low-level server: its `MCPServer` takes arguments
from a function's signature, drops unknown ones, prefixes errors, advertises prompts and resources
nobody has, and configures the process's logging when it is made.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from gateway.core import json
from gateway.core.errors import CoreError
from gateway.core.tasks import Tasks
from mcp_bridge.catalog import INSTRUCTIONS, TOOLSETS, offered
from mcp_bridge.entrance import Entrance, options_of
from mcp_bridge.errors import RefusedError, text_of
from mcp_bridge.options import Options
from mcp_bridge.schemas import read_arguments
from mcp_bridge.tool import Backends, Call, Tool
from mcp_bridge.within import PARENT_HEADER, checked

NAME: Final = "a2a-gateway"
PATH: Final = "/mcp"

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
Tools: TypeAlias = Sequence[Tool[Any]]
_Context: TypeAlias = ServerRequestContext[Any, Any]

logger = logging.getLogger(__name__)


def build(
    tasks: Tasks, backends: Backends, *, principal: str = "local"
) -> tuple[list[BaseRoute], Lifespan]:
    """The route /mcp, and the lifespan in which it is served.

    Stateless: a client finds its tools again after a restart without a new handshake.
    """
    server = mcp_server(tasks, backends, principal)
    server.streamable_http_app(streamable_http_path=PATH, stateless_http=True)
    app = Entrance(StreamableHTTPASGIApp(server.session_manager))
    return [Route(PATH, endpoint=app)], server.session_manager.run


def mcp_server(
    tasks: Tasks, backends: Backends, principal: str, *, toolsets: tuple[str, ...] = ()
) -> Server[Any]:
    """The server itself, for any transport; `toolsets` are those of a client in memory. It offers
    no subscriptions: an open listening stream would keep the process from ending, and the tools
    of a client never change."""
    unasked = Options(toolsets=toolsets)
    every = {tool.name: tool.published() for tool in offered(tuple(TOOLSETS))}

    async def list_tools(context: _Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        options = _options(context, unasked)
        return ListToolsResult(tools=[every[tool.name] for tool in offered(options.toolsets)])

    async def call_tool(context: _Context, params: CallToolRequestParams) -> CallToolResult:
        call = Call(
            tasks=tasks,
            backends=backends,
            principal=principal,
            beat=_beat_of(context),
            within=_within(context),
        )
        tools = offered(_options(context, unasked).toolsets)
        return await _answer(call, tools, params.name, params.arguments or {})

    return Server(
        NAME,
        version=version(NAME),
        instructions=INSTRUCTIONS,
        get_tool_input_schema=lambda name: every[name].input_schema if name in every else None,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def _answer(
    call: Call, tools: Tools, name: str, arguments: Mapping[str, Any]
) -> CallToolResult:
    """A call's result; whatever goes wrong is text, because clients show either text or structure
    of an error and differ in which."""
    try:
        result = await _run(call, tools, name, arguments)
    except CoreError as exc:
        return _error(text_of(exc))
    except Exception:  # the root of a call: it ends here, and costs nobody else anything
        trace = uuid.uuid4().hex[:8]
        logger.exception("tool %s failed (%s)", name[:64], trace)
        return _error(f"{name[:64]} failed inside the gateway; its log has the details ({trace})")
    # Some clients hand on only the structure, some only the text: both are all of it.
    text = TextContent(type="text", text=json.encode(result))
    return CallToolResult(content=[text], structured_content=dict(result))


async def _run(
    call: Call, tools: Tools, name: str, arguments: Mapping[str, Any]
) -> Mapping[str, Any]:
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in tools)
        raise RefusedError(f"no tool {name[:64]!r}; the tools are {known}{_elsewhere(name)}")
    return await tool.run(call, read_arguments(tool.arguments, name, arguments))


def _elsewhere(name: str) -> str:
    """Where a tool is that was not asked for."""
    of = (key for key, tools in TOOLSETS.items() if any(tool.name == name for tool in tools))
    return "".join(f". It is of the toolset {key}: connect to {PATH}?toolsets={key}" for key in of)


def _options(context: _Context, unasked: Options) -> Options:
    """What the client asks for; `unasked` in memory, where nobody has a URL."""
    request = context.request
    return options_of(request.scope) if isinstance(request, Request) else unasked


def _within(context: _Context) -> str | None:
    """The run whose agent calls, by the header that the relay makes of its environment."""
    request = context.request  # None in memory
    return checked(request.headers.get(PARENT_HEADER)) if isinstance(request, Request) else None


def _beat_of(context: _Context) -> Callable[[float, float, str], Awaitable[None]]:
    async def beat(waited: float, most: float, text: str) -> None:
        await context.session.report_progress(round(waited, 1), most, text)

    return beat


def _error(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
