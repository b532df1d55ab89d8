"""Runs as resources: `run://{run_id}` is what get_run shows, `run://{run_id}/result` what came out.

Knows no HTTP. A bonus for clients whose person picks resources; models have the tools. Nothing is
subscribed to: poll_events is how changes are waited for.
"""

import re
from typing import Final

from mcp import MCPError
from mcp.types import (
    INVALID_PARAMS,
    Annotations,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from gateway.core import json
from gateway.core.clock import iso
from gateway.core.errors import CoreError, InvalidInputError, ReplayError, RunNotFoundError
from gateway.core.record import Run
from gateway.core.redact import refs_of
from gateway.core.store.listing import RunQuery
from mcp_bridge import pages
from mcp_bridge.errors import text_of
from mcp_bridge.runs import views
from mcp_bridge.runs.get_run import GetRun, get_run
from mcp_bridge.tool import Call

# What clients hand on whole is 40,000 characters at the least, but for Codex's 12,000.
RESOURCE_BYTES: Final = 32_768
# Clients list all pages when they connect, and put what they find before a person.
LISTED: Final = 100
PAGE: Final = 25
TITLE_MAX: Final = 100  # characters
# Until 2025-11-25 (server/resources, "Error Handling"); the code was retired after it.
RESOURCE_NOT_FOUND: Final = -32002
JSON: Final = "application/json"
TEXT: Final = "text/plain"

_URI: Final = re.compile(r"run://(?P<run_id>[^/?#\s]{1,128})(?P<result>/result)?/?")
_CURSOR: Final = re.compile(r"(?P<shown>[0-9]{1,3})\.(?P<rest>.+)")


def templates() -> ListResourceTemplatesResult:
    run = ResourceTemplate(
        name="run",
        uri_template="run://{run_id}",
        description="A run: status, summary, pending questions, result or error.",
        mime_type=JSON,
    )
    result = ResourceTemplate(
        name="result",
        uri_template="run://{run_id}/result",
        description="The result of a completed run: its final response as text, or its "
        "structured output as JSON.",
    )
    return ListResourceTemplatesResult(resource_templates=[run, result])


async def list_resources(call: Call, cursor: str | None) -> ListResourcesResult:
    """The newest runs, page by page, LISTED in all. Raises: MCPError."""
    shown, rest = _read_cursor(cursor)
    query = RunQuery(limit=min(PAGE, LISTED - shown), cursor=rest)
    try:
        page = await call.tasks.list_runs(call.principal, query)
    except InvalidInputError as exc:
        raise _no_cursor() from exc
    shown += len(page.runs)
    more = page.next_cursor is not None and shown < LISTED
    return ListResourcesResult(
        resources=[_listed(run) for run in page.runs],
        next_cursor=f"{shown}.{page.next_cursor}" if more else None,
    )


async def read_resource(call: Call, uri: str, not_found: int) -> ReadResourceResult:
    """One resource, of at most RESOURCE_BYTES and a word about the rest; `not_found` is the code
    of the caller's era. Raises: MCPError."""
    try:
        run_id, is_result = _parse(uri)
        if is_result:
            return await _result(call, uri, run_id)
        whole = await get_run(call, GetRun(run_id=run_id, max_bytes=RESOURCE_BYTES))
        return ReadResourceResult(contents=[_content(uri, JSON, json.encode(whole))])
    except (RunNotFoundError, _NoResourceError) as exc:
        raise MCPError(not_found, text_of(exc), {"uri": uri[:200]}) from exc


class _NoResourceError(CoreError):
    """Nothing is there under the URI; the text says what is."""

    code = "refused"


def _parse(uri: str) -> tuple[str, bool]:
    """The run's id, and whether its result is meant. Raises: _NoResourceError."""
    named = _URI.fullmatch(uri)
    if named is None:
        raise _NoResourceError(
            f"no resource {uri[:200]!r}; there are run://{{run_id}} and run://{{run_id}}/result"
        )
    return named["run_id"], named["result"] is not None


async def _result(call: Call, uri: str, run_id: str) -> ReadResourceResult:
    run = await call.tasks.get(call.principal, run_id)
    result = views.result_of(run)
    if "structured_output" in result:
        value = result["structured_output"]
        whole = json.encode(value)
        shown = json.encode(pages.clip(value, RESOURCE_BYTES))
        contents = [_content(uri, JSON, shown)]
        read = 0  # what is left is no whole JSON: it is read again from its start
        pointer = "/structured_output"
    elif "final_response" in result:
        whole = result["final_response"]
        shown = whole.encode()[:RESOURCE_BYTES].decode(errors="ignore")
        contents = [_content(uri, TEXT, shown)]
        read = len(shown.encode())
        pointer = "/final_response"
    else:
        raise _NoResourceError(
            f"run {run.id} has no result, it is {run.status}; run://{run.id} shows what it has"
        )
    if shown != whole:
        contents.append(_content(uri, TEXT, await _rest(call, run, pointer, whole, read)))
    return ReadResourceResult(contents=[*contents])


async def _rest(call: Call, run: Run, pointer: str, whole: str, read: int) -> str:
    """Where what was cut can be read."""
    total = len(whole.encode())
    try:
        page = await call.tasks.events(call.principal, run.id, after=run.last_seq - 1, limit=1)
        kept = bool(page.events) and pointer in refs_of(views.event_data(page.events[-1]))
    except ReplayError:  # events go before their run
        kept = False
    if kept:
        how = f"get_event_artifact(run_id={run.id!r}, seq={run.last_seq}, field_path={pointer!r}"
        return f"[cut; {total} bytes in all. Read on: {how}, offset={read})]"
    return f"[cut; {total} bytes in all. More: get_run(run_id={run.id!r}, max_bytes=262144)]"


def _content(uri: str, mime: str, text: str) -> TextResourceContents:
    return TextResourceContents(uri=uri, mime_type=mime, text=text)


def _listed(run: Run) -> Resource:
    title = " ".join(f"{views.agent_name(run)}: {run.summary}".split())
    where = f" in {run.request.cwd}" if run.request.cwd else ""
    return Resource(
        uri=f"run://{run.id}",
        name=run.id,
        title=title[:TITLE_MAX],
        description=f"{run.status} run of {run.backend}{where}",
        mime_type=JSON,
        annotations=Annotations(last_modified=iso(run.updated_at)),
    )


def _read_cursor(cursor: str | None) -> tuple[int, str | None]:
    """How many runs were shown, and where the list goes on."""
    if cursor is None:
        return 0, None
    parts = _CURSOR.fullmatch(cursor)
    if parts is None or int(parts["shown"]) >= LISTED:
        raise _no_cursor()
    return int(parts["shown"]), parts["rest"]


def _no_cursor() -> MCPError:
    return MCPError(INVALID_PARAMS, "cursor is none of this list; leave it out to start anew")
