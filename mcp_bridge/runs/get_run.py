"""get_run: the state and outcome of one run."""

from typing import Final

from gateway.core.errors import ReplayError
from gateway.core.json import as_object
from gateway.core.record import Run
from gateway.core.redact import refs_of
from gateway.core.status import RunStatus
from mcp_bridge import pages
from mcp_bridge.arguments import MaxBytes
from mcp_bridge.runs import views
from mcp_bridge.runs.reasons import login_text
from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import WholeRun
from mcp_bridge.schemas import RESULT_BYTES
from mcp_bridge.tool import LONG, Call, Tool, reads

RESPONSE: Final = "/final_response"
_LARGER: Final = "get_run with a larger max_bytes"


class GetRun(RunReference):
    max_bytes: MaxBytes = RESULT_BYTES


async def get_run(call: Call, arguments: GetRun) -> WholeRun:
    run = await find_run(call, arguments)
    whole = views.whole_run(run, call.tasks.liveness(run), await call.tasks.queued(run))
    if run.status is RunStatus.AUTH_REQUIRED:
        whole["summary"] = await login_text(call, run)
    if pages.size(whole) > arguments.max_bytes and run.status is RunStatus.COMPLETED:
        try:
            await _shorten_result(call, run, whole)
        except ReplayError:  # events go before their run; what it answered is kept with the run
            _fill(run, whole, arguments.max_bytes, _LARGER)
        else:
            if RESPONSE in whole.get("result", {}).get("truncated", {}).get("fields", {}):
                rest = f"get_event_artifact seq {run.last_seq}, field_path {RESPONSE}, offset {{}}"
                _fill(run, whole, arguments.max_bytes, rest)
    return pages.clip(whole, arguments.max_bytes)


async def _shorten_result(call: Call, run: Run, whole: WholeRun) -> None:
    """The result as the terminal event holds it inline, and where the rest is."""
    page = await call.tasks.events(call.principal, run.id, after=run.last_seq - 1, limit=1)
    data = views.event_data(page.events[-1])
    result = whole.get("result", {})
    if "final_response" in result:
        result["final_response"] = str(data.get("final_response"))
    if "structured_output" in result:
        result["structured_output"] = data.get("structured_output")
    if "usage" in whole:
        whole["usage"] = as_object(data.get("usage"))
    fields = {pointer: ref["total_bytes"] for pointer, ref in refs_of(data).items()}
    if fields:
        result["truncated"] = {"seq": run.last_seq, "fields": fields}
        whole["result"] = result


def _fill(run: Run, whole: WholeRun, most: int, rest: str) -> None:
    """As much of a long final response as there is room for; `rest`: how to read on, from {}."""
    result, response = whole.get("result", {}), run.result and run.result.final_response
    if not response:
        return
    content = response.encode()

    def fits(room: int) -> bool:
        shown = content[:room].decode(errors="ignore")
        read = len(shown.encode())
        said = f"{read} of {len(content)} bytes; the rest: {rest.format(read)}"
        result["final_response"] = f"{shown}\n...[{said}]"
        return pages.size(whole) <= most

    least, room = 0, min(most, len(content))
    while least < room:  # what JSON escapes takes more room than its bytes
        half = (least + room + 1) // 2
        least, room = (half, room) if fits(half) else (least, half - 1)
    if not fits(least):
        result["final_response"] = f"...[{len(content)} bytes: {rest.partition(' ')[0]}]"


GET_RUN: Final = Tool(
    name="get_run",
    description="State and outcome of one run: status, summary, result (final_response, "
    "structured_output, artifacts), error, pending questions, usage. Does not wait: that is "
    "poll_events.",
    arguments=GetRun,
    result=WholeRun,
    run=get_run,
    annotations=reads(open_world=False),
    meta=LONG,
)
