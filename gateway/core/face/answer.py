"""JSON text as an HTTP answer, without a codec's second look at it. Knows no operation."""

from typing import Final

from starlette.responses import Response

from gateway.core import extension
from gateway.core.face.caller import Caller

JSON: Final = "application/json"
A2A_JSON: Final = "application/a2a+json"  # specification 11.1, of the HTTP+JSON binding
_ACTIVATED: Final = (extension.EXTENSIONS_HEADER.lower().encode(), extension.URI.encode())


class JsonText(Response):
    """An answer made of pieces of JSON text; confirms our extension to a caller who uses it."""

    def __init__(
        self, *pieces: str, caller: Caller, media_type: str = JSON, status_code: int = 200
    ) -> None:
        self.status_code = status_code
        self.background = None
        self.body = b"".join([piece.encode() for piece in pieces])
        self.raw_headers = [
            (b"content-type", media_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
        ]
        if caller.extended:
            self.raw_headers.append(_ACTIVATED)
