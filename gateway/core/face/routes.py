"""One agent's A2A face as an ASGI app: card, JSON-RPC, REST, payloads.

Knows paths only. A call goes from here to `jsonrpc` or `rest`, which unwrap it, to `operations` or
`stream`, which read its parameters and carry it out.
"""

from collections.abc import Sequence
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from gateway.core.face.cards import JSONRPC_PATH, REST_PATH, Face
from gateway.core.face.guard import CARD_PATH, HEALTH_PATH, OLD_CARD_PATH
from gateway.core.face.jsonrpc import JsonRpc
from gateway.core.face.operations import Operations
from gateway.core.face.payloads import PayloadRoute
from gateway.core.face.rest import old_rest_routes, rest_routes
from gateway.core.face.stream import Streams
from gateway.core.tasks import Tasks

__all__ = ["Face", "FaceApp", "health_route"]

CARD_CACHE: Final = "public, max-age=60"  # then one conditional GET, answered 304


def health_route(name: str, version: str) -> Route:
    """Readiness, once a server, for anybody."""

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "name": name, "version": version})

    return Route(HEALTH_PATH, health)


class FaceApp:
    """Everything under `face.prefix`, and `others` that the server answers beside it.

    Most calls are JSON-RPC, and found by their path: to try forty routes one after another, inside
    Starlette's two middlewares, costs a send 26 us of 400.
    """

    def __init__(self, tasks: Tasks, face: Face, others: Sequence[BaseRoute] = ()) -> None:
        operations = Operations(tasks, face)
        streams = Streams(operations)
        self._rpc = JsonRpc(operations, streams)
        base = face.prefix + JSONRPC_PATH
        # Clients that join paths with a slash must not meet a redirect: it loses their body.
        self._rpc_paths = frozenset({base, base + "/"})
        rpc = [Route(path, self._rpc, methods=["POST"]) for path in sorted(self._rpc_paths)]
        self._app = Starlette(routes=[*others, *rpc, *_routes(face, operations, streams)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        direct = scope["type"] == "http" and scope["method"] == "POST"
        if direct and scope["path"] in self._rpc_paths:
            await self._rpc(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _routes(face: Face, operations: Operations, streams: Streams) -> list[BaseRoute]:
    card = CardRoute(face).answer
    return [
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
