"""The headers of a request in A2A. Pure.

Knows no binding.
"""

from typing import Final

from gateway.core.extension import EXTENSIONS_HEADER, VERSION_HEADER
from gateway.link.endpoint import V03

JSON: Final = "application/json"
SSE: Final = "text/event-stream"


def said(accept: str, version: str, extensions: tuple[str, ...]) -> dict[str, str]:
    """What goes with a request; 0.3 names the extensions' header with an X before it."""
    headers = {"Content-Type": JSON, "Accept": accept, VERSION_HEADER: version}
    if extensions:
        headers[EXTENSIONS_HEADER] = ",".join(extensions)
        if version == V03:
            headers[f"X-{EXTENSIONS_HEADER}"] = headers[EXTENSIONS_HEADER]
    return headers
