"""Payloads as rows: cut into chunks on the way in, read by byte range on the way out.

Statements like those of `statements`: synchronous functions of a connection.
"""

from typing import Any

import sqlalchemy as sa

from gateway.core import characters, json, redact
from gateway.core.errors import PayloadNotFoundError
from gateway.core.redact import Payload
from gateway.core.store.entry import Entry, PayloadSlice
from gateway.core.store.schema import chunks, events


def chunk_rows_of(run_id: str, entry: Entry) -> list[dict[str, Any]]:
    """The rows of an event's payloads."""
    return [
        {
            "run_id": run_id,
            "seq": entry.recorded.seq,
            "pointer": payload.pointer,
            "at": at,
            "data": piece,
        }
        for payload in entry.payloads
        for at, piece in characters.cut(payload.content)
    ]


def read_payload(
    connection: sa.Connection, run_id: str, seq: int, pointer: str, offset: int, limit: int
) -> PayloadSlice:
    """A byte range of a split field. Raises: PayloadNotFoundError."""
    event = connection.execute(
        sa.select(events).where(events.c.run_id == run_id, events.c.seq == seq)
    ).first()
    refs = redact.refs_of(json.decode_object(event.data if event else "{}"))
    if event is None or pointer not in refs:
        raise PayloadNotFoundError(seq, pointer, sorted(refs))
    at, content = _range(connection, run_id, seq, pointer, offset, limit)
    return PayloadSlice(
        seq=seq,
        pointer=pointer,
        mime=refs[pointer]["mime"],
        encoding="utf-8",
        total_bytes=refs[pointer]["total_bytes"],
        offset=at,
        content=content,
        relpath=redact.relpath(seq, event.type),
    )


def read_payloads(connection: sa.Connection, run_id: str, seq: int) -> list[Payload]:
    """Every stored payload of an event, whole."""
    whole: dict[str, bytearray] = {}
    found = connection.execute(
        sa.select(chunks)
        .where(chunks.c.run_id == run_id, chunks.c.seq == seq)
        .order_by(chunks.c.pointer, chunks.c.at)
    )
    for row in found:
        whole.setdefault(row.pointer, bytearray()).extend(row.data)
    data = connection.scalar(
        sa.select(events.c.data).where(events.c.run_id == run_id, events.c.seq == seq)
    )
    refs = redact.refs_of(json.decode_object(data or "{}"))
    return [
        Payload(pointer=pointer, mime=refs[pointer]["mime"], content=bytes(content))
        for pointer, content in whole.items()
        if pointer in refs
    ]


def _range(
    connection: sa.Connection, run_id: str, seq: int, pointer: str, offset: int, limit: int
) -> tuple[int, bytes]:
    """(offset, bytes) of whole characters; at least one where there is one."""
    here = (chunks.c.run_id == run_id, chunks.c.seq == seq, chunks.c.pointer == pointer)
    first = connection.scalar(
        sa.select(sa.func.max(chunks.c.at)).where(*here, chunks.c.at <= offset)
    )
    found = connection.execute(
        sa.select(chunks.c.at, chunks.c.data)
        .where(*here, chunks.c.at >= (first or 0), chunks.c.at < offset + limit + 3)
        .order_by(chunks.c.at)
    ).all()
    if not found:
        return offset, b""
    content = b"".join(row.data for row in found)
    start, end = characters.character_range(content, offset - found[0].at, limit)
    return found[0].at + start, content[start:end]
