"""get_event_artifact: a value that was too long for its event, page by page."""

from typing import Annotated, Final

from pydantic import Field

from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import ArtifactSlice
from mcp_bridge.tool import LONG, Call, Tool, reads

SLICE_BYTES: Final = 65_536


class GetEventArtifact(RunReference):
    seq: Annotated[int, Field(ge=1, description="The event.")]
    field_path: Annotated[
        str, Field(min_length=1, description="A key of its artifact_refs, such as /output.")
    ]
    offset: Annotated[int, Field(ge=0, description="Bytes to skip; default 0.")] = 0
    limit: Annotated[
        int, Field(ge=1, le=262_144, description="Most bytes; 1-262144, default 65536.")
    ] = SLICE_BYTES


async def get_event_artifact(call: Call, arguments: GetEventArtifact) -> ArtifactSlice:
    run = await find_run(call, arguments)
    found = await call.tasks.payload(
        call.principal,
        run.id,
        arguments.seq,
        arguments.field_path,
        offset=arguments.offset,
        limit=arguments.limit,
    )
    end = found.offset + len(found.content)
    return {
        "run_id": run.id,
        "seq": found.seq,
        "field_path": found.pointer,
        "mime": found.mime,
        "encoding": found.encoding,
        "relpath": found.relpath,
        "total_bytes": found.total_bytes,
        "offset": found.offset,
        "returned_bytes": len(found.content),
        "has_more": bool(found.content) and end < found.total_bytes,
        "content": found.content.decode(),
    }


GET_EVENT_ARTIFACT: Final = Tool(
    name="get_event_artifact",
    description="Read a field of an event that poll_events or get_run cut, by bytes. Next "
    "offset: offset + returned_bytes, while has_more.",
    arguments=GetEventArtifact,
    result=ArtifactSlice,
    run=get_event_artifact,
    annotations=reads(open_world=True),
    meta=LONG,
)
