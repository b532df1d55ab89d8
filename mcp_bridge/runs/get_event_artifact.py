"""get_event_artifact: a value that was too long for its event, page by page."""

from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from gateway.core import characters, json, pointers, redact
from gateway.core.errors import PayloadNotFoundError
from gateway.core.record import Run
from gateway.core.store.entry import PayloadSlice
from mcp_bridge.errors import RefusedError
from mcp_bridge.runs import views
from mcp_bridge.runs.lines import count_lines, first_lines, line_start
from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import ArtifactSlice
from mcp_bridge.tool import LONG, Call, Tool, reads

SLICE_BYTES: Final = 65_536


class GetEventArtifact(RunReference):
    seq: Annotated[int, Field(ge=1)]
    field_path: Annotated[
        str,
        Field(
            min_length=1, description="A key of artifact_refs or truncated.fields, such as /output."
        ),
    ]
    offset: Annotated[int, Field(ge=0, description="Bytes to skip; default 0.")] = 0
    limit: Annotated[
        int, Field(ge=1, le=262_144, description="Most bytes; 1-262144, default 65536.")
    ] = SLICE_BYTES
    from_line: (
        Annotated[
            int, Field(description="Instead of offset: 1 is the first line, -20 the 20th last.")
        ]
        | None
    ) = None
    lines: Annotated[int, Field(ge=1)] | None = None

    @field_validator("from_line")
    @classmethod
    def _no_line_0(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("lines are numbered from 1, or from -1 at the end")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> "GetEventArtifact":
        if self.from_line is not None and self.offset:
            raise ValueError("give offset or from_line, not both")
        return self


async def get_event_artifact(call: Call, arguments: GetEventArtifact) -> ArtifactSlice:
    run = await find_run(call, arguments)
    seq, pointer = arguments.seq, arguments.field_path

    async def read(offset: int, limit: int) -> PayloadSlice:
        try:
            return await call.tasks.payload(
                call.principal, run.id, seq, pointer, offset=offset, limit=limit
            )
        except PayloadNotFoundError:
            return _slice(await _uncut(call, run, arguments), offset, limit)

    offset = arguments.offset
    if arguments.from_line is not None:
        offset = await line_start(read, arguments.from_line)
    found = await read(offset, arguments.limit)
    content = first_lines(found.content, arguments.lines)
    answer: ArtifactSlice = {
        "run_id": run.id,
        "seq": found.seq,
        "field_path": found.pointer,
        "mime": found.mime,
        "encoding": found.encoding,
        "relpath": found.relpath,
        "total_bytes": found.total_bytes,
        "offset": found.offset,
        "returned_bytes": len(content),
        "has_more": bool(content) and found.offset + len(content) < found.total_bytes,
        "content": content.decode(),
    }
    if arguments.from_line is not None or arguments.lines is not None:
        answer["returned_lines"] = count_lines(content)
    if answer["has_more"]:
        answer["next_offset"] = answer["offset"] + answer["returned_bytes"]
    return answer


async def _uncut(call: Call, run: Run, arguments: GetEventArtifact) -> PayloadSlice:
    """A field that stands in its event whole. Raises: RefusedError, PayloadNotFoundError."""
    seq, pointer = arguments.seq, arguments.field_path
    if seq > run.last_seq:
        raise RefusedError(f"run {run.id} has no event {seq}; its last is {run.last_seq}")
    page = await call.tasks.events(call.principal, run.id, after=seq - 1, limit=1)
    data = views.event_data(page.events[0])
    try:
        value = pointers.at(data, pointer) if pointer.startswith("/") else None
    except (LookupError, ValueError, TypeError):
        value = None
    if value is None:
        raise PayloadNotFoundError(seq, pointer, sorted(f"/{key}" for key in data))
    text = value if isinstance(value, str) else json.encode(value)
    return PayloadSlice(
        seq=seq,
        pointer=pointer,
        mime="text/plain" if isinstance(value, str) else "application/json",
        encoding="utf-8",
        total_bytes=len(text.encode()),
        offset=0,
        content=text.encode(),
        relpath=redact.relpath(seq, page.events[0].type),
    )


def _slice(whole: PayloadSlice, offset: int, limit: int) -> PayloadSlice:
    start, end = characters.character_range(whole.content, offset, limit)
    return replace(whole, offset=start, content=whole.content[start:end])


GET_EVENT_ARTIFACT: Final = Tool(
    name="get_event_artifact",
    description="Read a field of an event that poll_events or get_run cut, by bytes or by lines. "
    "Go on at next_offset.",
    arguments=GetEventArtifact,
    result=ArtifactSlice,
    run=get_event_artifact,
    annotations=reads(open_world=True),
    meta=LONG,
)
