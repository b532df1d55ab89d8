"""One agent's A2A face as Starlette routes: card, JSON-RPC, REST, payloads.

Knows paths only. A call goes from here to `jsonrpc` or `rest`, which unwrap it, to `operations` or
`stream`, which read its parameters and carry it out.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gateway.core.face.cards import JSONRPC_PATH, REST_PATH, Face
from gateway.core.face.guard import CARD_PATH, HEALTH_PATH, OLD_CARD_PATH
from gateway.core.face.jsonrpc import JsonRpc
from gateway.core.face.operations import Operations
from gateway.core.face.payloads import PayloadRoute
from gateway.core.face.rest import old_rest_routes, rest_routes
from gateway.core.face.stream import Streams
from gateway.core.tasks import Tasks

__all__ = ["Face", "face_routes", "health_route"]

CARD_CACHE: Final = "public, max-age=60"  # then one conditional GET, answered 304


def health_route(name: str, version: str) -> Route:
    """Readiness, once a server, for anybody."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "name": name, "version": version})

    return Route(HEALTH_PATH, health)


def face_routes(tasks: Tasks, face: Face) -> list[BaseRoute]:
    """The routes of one agent under `face.prefix`."""
    operations = Operations(tasks, face)
    streams = Streams(operations)
    rpc = JsonRpc(operations, streams)
    base = face.prefix + JSONRPC_PATH
    card = CardRoute(face).answer
    return [
        # Clients that join paths with a slash must not meet a redirect: it loses their body.
        Route(base, rpc, methods=["POST"]),
        Route(base + "/", rpc, methods=["POST"]),
        *[
            Route(face.prefix + path + slash, card)
            for path in (CARD_PATH, OLD_CARD_PATH)
            for slash in ("", "/")
        ],
        *rest_routes(face.prefix + REST_PATH, operations, streams),
        *old_rest_routes(face.prefix + REST_PATH, operations, streams),
        Route(
            face.prefix + "/tasks/{id}/events/{seq:int}/payload", PayloadRoute(operations).answer
        ),
    ]


class CardRoute:
    """The public card, and under its former name the one that clients of 0.3 understand.

    One card for both would carry the top-level fields of 0.3, which are no part of 1.0's schema;
    and a request for a card says neither version.
    """

    def __init__(self, face: Face) -> None:
        self._face = face

    async def answer(self, request: Request) -> Response:
        old = request.url.path.rstrip("/").endswith(OLD_CARD_PATH)
        page = self._face.old_page if old else self._face.page
        headers = {"ETag": page.etag, "Cache-Control": CARD_CACHE}
        asked = [tag.strip() for tag in request.headers.get("If-None-Match", "").split(",")]
        if "*" in asked or page.etag in [tag.removeprefix("W/") for tag in asked]:
            return Response(status_code=304, headers=headers)
        return Response(page.body, media_type="application/json", headers=headers)
