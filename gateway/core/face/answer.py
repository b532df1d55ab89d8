"""JSON text as an HTTP answer, without a codec's second look at it. Knows no operation."""

from collections.abc import Sequence
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway.core import extension
from gateway.core.face.caller import Caller
from gateway.core.face.pacing import TURN, turn

JSON: Final = b"application/json"
A2A_JSON: Final = b"application/a2a+json"  # specification 11.1, of the HTTP+JSON binding
_ACTIVATED: Final = (extension.EXTENSIONS_HEADER.lower().encode(), extension.URI.encode())


class JsonText(Response):
    """An answer made of pieces of JSON text; confirms our extension to a caller who uses it."""

    def __init__(
        self,
        pieces: Sequence[bytes],
        *,
        caller: Caller,
        media_type: bytes = JSON,
        status_code: int = 200,
    ) -> None:
        size = sum(map(len, pieces))
        # One write for what is small; large pieces are not copied again, and wait for the reader.
        self._pieces = pieces if size > TURN else [b"".join(pieces)]
        self.status_code = status_code
        self.raw_headers = [(b"content-type", media_type), (b"content-length", b"%d" % size)]
        if caller.extended:
            self.raw_headers.append(_ACTIVATED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        for piece in self._pieces[:-1]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await turn(len(piece))
        await send({"type": "http.response.body", "body": self._pieces[-1], "more_body": False})
