"""Fields that were split off an event, served as bytes.

Knows HTTP ranges, not what the bytes mean.
"""

import re
from collections.abc import AsyncGenerator
from typing import Final

from a2a.utils.errors import A2AError
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.core.errors import InvalidInputError
from gateway.core.face.caller import caller_of
from gateway.core.face.operations import Operations
from gateway.core.face.refusals import rest_error, translated
from gateway.core.store.entry import PayloadSlice

SLICE: Final = 256 * 1024  # bytes of one payload read: four chunk rows
SLICE_MAX: Final = 1024 * 1024  # bytes of one answer to a range or limit
_RANGE: Final = re.compile(r"bytes=(\d+)-(\d*)")


class PayloadRoute:
    """The whole of a field that was split off an event, or a range of its bytes.

    By `offset` and `limit`, or by a Range header, at most `SLICE_MAX` an answer, cut on character
    borders; without either the whole is streamed. It is an attachment: what an agent wrote is never
    rendered by a browser as a page of ours.
    """

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def answer(self, request: Request) -> Response:
        try:
            with translated("reading a payload"):
                return await self._slice(request)
        except A2AError as exc:
            return rest_error(exc)

    async def _slice(self, request: Request) -> Response:
        caller = caller_of(request.scope, request.receive)
        self._operations.admit(caller)
        run = await self._operations.run(caller, request.path_params["id"])
        seq: int = request.path_params["seq"]
        pointer = request.query_params.get("pointer", "")
        start, most, ranged = _asked_range(request)

        async def read(offset: int, limit: int) -> PayloadSlice:
            return await self._operations.tasks.payload(
                caller.principal, run.id, seq, pointer, offset=offset, limit=limit
            )

        first = await read(start, SLICE if most is None else min(most, SLICE_MAX))
        total = first.total_bytes
        headers = {
            "Accept-Ranges": "bytes",
            "Content-Disposition": "attachment",
            "X-Content-Type-Options": "nosniff",
            "X-Payload-Bytes": str(total),
            "X-Payload-Offset": str(first.offset),
        }
        if ranged:
            return _ranged(first, headers)
        if most is not None:
            return Response(first.content, media_type=first.mime, headers=headers)

        async def pieces() -> AsyncGenerator[bytes]:
            piece = first
            while piece.content:
                yield piece.content
                at = piece.offset + len(piece.content)
                if at >= total:
                    return
                piece = await read(at, SLICE)

        return StreamingResponse(pieces(), media_type=first.mime, headers=headers)


def _ranged(piece: PayloadSlice, headers: dict[str, str]) -> Response:
    """206 with the bytes that were read: whole characters, so up to three may be missing."""
    if not piece.content:
        headers = {**headers, "Content-Range": f"bytes */{piece.total_bytes}"}
        return Response(status_code=416, headers=headers)
    last = piece.offset + len(piece.content) - 1
    headers = {**headers, "Content-Range": f"bytes {piece.offset}-{last}/{piece.total_bytes}"}
    return Response(piece.content, status_code=206, media_type=piece.mime, headers=headers)


def _asked_range(request: Request) -> tuple[int, int | None, bool]:
    """(first byte, at most so many, asked by Range). Raises: InvalidInputError."""
    if (match := _RANGE.fullmatch(request.headers.get("Range", ""))) is not None:
        start = int(match[1])
        last = int(match[2]) if match[2] else None
        if last is not None and last < start:
            raise InvalidInputError("Range ends before it starts", "Range")
        return start, None if last is None else last - start + 1, True
    numbers: list[int | None] = []
    for name in ("offset", "limit"):
        text = request.query_params.get(name)
        if text is not None and not text.isdecimal():
            raise InvalidInputError(f"{name} is a number from 0", name)
        numbers.append(None if text is None else int(text))
    return numbers[0] or 0, numbers[1], False
