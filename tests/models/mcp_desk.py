"""A real MCP server over stdio that does little, and asks the one who uses its tools.

Knows no agent: started by path as an MCP server of an agent's own. Its tools:

    echo(text)     says it again; annotated as harmless, so nobody is asked for permission
    book(room)     not annotated: an agent asks for permission
    count(to)      tells of its progress          broken()    always fails
    sign(who)      asks for a form to be filled   visit(url)  asks for a page to be visited
"""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations

HARMLESS = ToolAnnotations(read_only_hint=True)
FORM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Name", "description": "Who signs"},
        "copies": {"type": "integer", "minimum": 1, "maximum": 9},
        "ink": {"type": "string", "enum": ["black", "blue"]},
        "urgent": {"type": "boolean", "default": False},
    },
    "required": ["name"],
}

server = MCPServer("desk")


@server.tool(annotations=HARMLESS)
async def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
async def book(room: str) -> str:
    """Book a room."""
    return f"booked {room}"


@server.tool(annotations=HARMLESS)
async def count(to: int, context: Context) -> int:
    """Count, and tell of it."""
    for number in range(1, to + 1):
        await context.report_progress(number, to, f"at {number}")
    return to


@server.tool(annotations=HARMLESS)
async def broken() -> str:
    """Fail."""
    raise ValueError("the desk is broken")


@server.tool(annotations=HARMLESS)
async def sign(who: str, context: Context) -> str:
    """Have a form filled in."""
    answer = await context.session.elicit_form(
        f"Please sign, {who}", FORM, context.request_context.request_id
    )
    return f"{answer.action} {answer.content}"


@server.tool(annotations=HARMLESS)
async def visit(url: str, context: Context) -> str:
    """Have a page visited."""
    answer = await context.session.elicit_url(
        "Log in there", url, "visit-1", context.request_context.request_id
    )
    return answer.action


if __name__ == "__main__":
    server.run()
