"""The MCP server at /mcp: calls in, compact JSON or one line of error out, in both eras.

Knows MCP and nothing of runs. Built on the SDK's low-level server: its `MCPServer` takes arguments
from a function's signature, drops unknown ones, prefixes errors, advertises prompts and resources
nobody has, and configures the process's logging when it is made.
"""

import logging
import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from importlib.metadata import version
from typing import Any, Final, TypeAlias

import anyio
from mcp import MCPError
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    InputRequiredResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    TextContent,
)
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from gateway.core import json
from gateway.core.errors import CoreError
from gateway.core.face.body import MAX_BODY
from gateway.core.tasks import Tasks
from mcp_bridge.catalog import INSTRUCTIONS, TOOLSETS, offered
from mcp_bridge.errors import text_of
from mcp_bridge.face import asking, resources
from mcp_bridge.face.asking import Asking, Person
from mcp_bridge.face.calls import Calls
from mcp_bridge.face.context import (
    Context,
    beat_of,
    ended_with_the_server,
    is_modern,
    person_of,
    within_of,
)
from mcp_bridge.face.entrance import Entrance, options_of
from mcp_bridge.face.options import Options
from mcp_bridge.runs.poll_events import POLL_EVENTS
from mcp_bridge.schemas import read_arguments
from mcp_bridge.tool import Backends, Call, Tool

NAME: Final = "a2a-gateway"
PATH: Final = "/mcp"
GOING: Final = "the gateway is ending; call again in a moment, nothing is lost"

Lifespan: TypeAlias = Callable[[], AbstractAsyncContextManager[None]]
Tools: TypeAlias = Sequence[Tool[Any]]

logger = logging.getLogger(__name__)


def build(
    tasks: Tasks, backends: Backends, *, principal: str = "local"
) -> tuple[list[BaseRoute], Lifespan]:
    """The route /mcp, and the lifespan in which it is served.

    Stateless: a client finds its tools again after a restart without a new handshake.
    """
    server = mcp_server(tasks, backends, principal)
    server.streamable_http_app(
        stateless_http=True,
        max_request_body_size=MAX_BODY,
        # The Guard in front knows every name of this server; the SDK takes none without a port.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    app = Entrance(Calls(StreamableHTTPASGIApp(server.session_manager), server))
    routes = [Route(path, endpoint=app) for path in (PATH, f"{PATH}/")]
    return [*routes], server.session_manager.run


def mcp_server(
    tasks: Tasks,
    backends: Backends,
    principal: str,
    *,
    toolsets: tuple[str, ...] = (),
    elicit: bool = False,
) -> Server[Any]:
    """The server itself, for any transport; the options are those of a client in memory. It offers
    no subscriptions: an open listening stream would keep the process from ending, the tools of a
    client never change, and poll_events is how runs are waited for."""
    desk = _Desk(tasks, backends, principal, Options(toolsets=toolsets, elicit=elicit))
    return Server(
        NAME,
        version=version(NAME),
        instructions=INSTRUCTIONS,
        # What is looked for in it are arguments that stand in headers too. None of ours do, and the
        # SDK would walk through all of the schema with every call (90 us).
        get_tool_input_schema=lambda _: None,
        on_list_tools=desk.list_tools,
        on_call_tool=desk.call_tool,
        on_list_resources=desk.list_resources,
        on_list_resource_templates=desk.list_templates,
        on_read_resource=desk.read_resource,
    )


class _Desk:
    """Takes the requests of every client; one principal's, whose runs alone it knows."""

    def __init__(self, tasks: Tasks, backends: Backends, principal: str, unasked: Options) -> None:
        """`unasked`: the options of a client in memory, where nobody has a URL."""
        self._tasks = tasks
        self._backends = backends
        self._principal = principal
        self._unasked = unasked
        self._asking = Asking()
        self._published = {tool.name: tool.published() for tool in offered(tuple(TOOLSETS))}

    async def list_tools(
        self, context: Context, _: PaginatedRequestParams | None
    ) -> ListToolsResult:
        tools = offered(self._options(context).toolsets)
        return ListToolsResult(tools=[self._published[tool.name] for tool in tools])

    async def call_tool(
        self, context: Context, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        options = self._options(context)
        tool = _named(params.name, offered(options.toolsets))
        person = person_of(context) if options.elicit and tool is POLL_EVENTS else None
        call = self._call(context)
        with anyio.CancelScope() as wait, ended_with_the_server(context, tool, wait.cancel):
            if person is not None:
                return await self._poll_with(person, call, params)
            return await _answer(call, tool, params.arguments or {})
        return _error(GOING)

    async def _poll_with(
        self, person: Person, call: Call, params: CallToolRequestParams
    ) -> CallToolResult | InputRequiredResult:
        """A poll at which the person is asked what the runs ask, and what they said is handed on."""
        rounds = asking.rounds(params.request_state)
        with _errors_of("asking the person"):
            said = await self._asking.answers(call, person, params.input_responses or {})
            result = await _answer(call, POLL_EVENTS, params.arguments or {})
            page = result.structured_content
            if page is None:
                return result
            if rounds < asking.ROUNDS and (
                found := await self._asking.questions(call, person, page)
            ):
                return InputRequiredResult(input_requests={**found}, request_state=str(rounds + 1))
        return _result({**page, "person": said}) if said else result

    async def list_resources(
        self, context: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        cursor = None if params is None else params.cursor
        with _errors_of("the list of runs"):
            return await resources.list_resources(self._call(context), cursor)

    async def list_templates(
        self, _: Context, __: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        return resources.templates()

    async def read_resource(
        self, context: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        not_found = INVALID_PARAMS if is_modern(context) else resources.RESOURCE_NOT_FOUND
        with _errors_of("the resource"):
            return await resources.read_resource(self._call(context), params.uri, not_found)

    def _call(self, context: Context) -> Call:
        return Call(
            tasks=self._tasks,
            backends=self._backends,
            principal=self._principal,
            beat=beat_of(context),
            within=within_of(context),
        )

    def _options(self, context: Context) -> Options:
        request = context.request
        return options_of(request.scope) if isinstance(request, Request) else self._unasked


@contextmanager
def _errors_of(what: str) -> Generator[None]:
    """What goes wrong with what is no tool is a protocol error, in one line. Raises: MCPError."""
    try:
        yield
    except MCPError:
        raise
    except CoreError as exc:
        raise MCPError(INTERNAL_ERROR, text_of(exc)) from exc
    except Exception as exc:  # the root of a request
        said = _failed(what)
        logger.exception(said)
        raise MCPError(INTERNAL_ERROR, said) from exc


def _failed(what: str) -> str:
    """What a caller is told, with a mark by which it is found in the log."""
    return f"{what} failed inside the gateway; its log has the details ({uuid.uuid4().hex[:8]})"


def _named(name: str, tools: Tools) -> Tool[Any]:
    """The tool of that name. Raises: MCPError, as the specification has it of unknown tools in
    both eras (server/tools, "Error Handling"): clients know the list and show no model its names
    wrong. A mistake in a known tool's arguments is a result that the model reads and mends."""
    tool = next((tool for tool in tools if tool.name == name), None)
    if tool is None:
        known = ", ".join(tool.name for tool in tools)
        text = f"no tool {name[:64]!r}; the tools are {known}{_elsewhere(name)}"
        raise MCPError(INVALID_PARAMS, text)
    return tool


async def _answer(call: Call, tool: Tool[Any], arguments: Mapping[str, Any]) -> CallToolResult:
    """A call's result; whatever goes wrong is text, because clients show either text or structure
    of an error and differ in which."""
    try:
        result = await tool.run(call, read_arguments(tool.arguments, tool.name, arguments))
    except CoreError as exc:
        return _error(text_of(exc))
    except Exception:  # the root of a call: it ends here, and costs nobody else anything
        said = _failed(tool.name)
        logger.exception(said)
        return _error(said)
    return _result(result)


def _result(result: Mapping[str, Any]) -> CallToolResult:
    """Some clients hand on only the structure, some only the text: both are all of it."""
    text = TextContent(type="text", text=json.encode(result))
    return CallToolResult(content=[text], structured_content=dict(result))


def _elsewhere(name: str) -> str:
    """Where a tool is that was not asked for."""
    of = (key for key, tools in TOOLSETS.items() if any(tool.name == name for tool in tools))
    return "".join(f". It is of the toolset {key}: connect to {PATH}?toolsets={key}" for key in of)


def _error(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)
