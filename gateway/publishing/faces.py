"""Every agent of the gateway as an A2A agent of its own, under /agents/<name>; their list above it.

Knows routes and the registry. A face is made at its first request, so an agent that is registered
while the gateway runs is published at once.
"""

from dataclasses import dataclass
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.agents.card import Card
from gateway.agents.registry import Registry
from gateway.core.errors import InvalidInputError
from gateway.core.face.cards import Face, build_card
from gateway.core.face.guard import CARD_PATH
from gateway.core.face.routes import FaceApp
from gateway.core.json import JsonObject
from gateway.core.tasks import Tasks
from gateway.errors import GatewayError
from gateway.publishing.words import backend_of, description_of, skills_of

PREFIX: Final = "/agents/"


@dataclass(frozen=True, slots=True)
class _Published:
    """A face, and the agent's own card that its card was made of."""

    card: Card | None
    app: FaceApp


class Faces:
    """The ASGI app at /agents and below."""

    def __init__(self, tasks: Tasks, registry: Registry, *, base_url: str, version: str) -> None:
        self._tasks = tasks
        self._registry = registry
        self._base_url = base_url
        self._version = version
        self._published: dict[str, _Published] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix(PREFIX.rstrip("/")).strip("/").partition("/")[0]
        if name in self._registry:
            await self._app(name)(scope, receive, send)
            return
        if not name and scope["method"] in ("GET", "HEAD"):
            answer = JSONResponse({"agents": [self._listed(name) for name in self._names()]})
        else:
            text = f"no agent {name[:64]!r} here; known: {', '.join(self._names()) or 'none'}"
            body = {"error": {"code": "unknown_agent", "message": text}}
            answer = JSONResponse(body, status_code=404)
        await answer(scope, receive, send)

    def _names(self) -> list[str]:
        return self._registry.directory.usable()

    def _listed(self, name: str) -> JsonObject:
        """What one chooses an agent by, and where its card is."""
        card = self._registry.card(name)
        skills = skills_of(name, card)
        return {
            "name": name,
            "description": description_of(name, card),
            "skills": [{"id": item.id, "name": item.name} for item in skills],
            "url": self._base_url + PREFIX + name,
            "cardUrl": self._base_url + PREFIX + name + CARD_PATH,
        }

    def _app(self, name: str) -> FaceApp:
        card, known = self._registry.card(name), self._published.get(name)
        if known is None or known.card != card:
            app = FaceApp(self._tasks, self._face(name, card))
            known = self._published[name] = _Published(card, app)
        return known.app

    def _face(self, name: str, card: Card | None) -> Face:
        """The agent's own words in our card: the interfaces are ours, the skills are its."""
        prefix = PREFIX + name
        own = build_card(
            name=card.name if card is not None else name,
            description=description_of(name, card),
            base_url=self._base_url + prefix,
            version=(card.version if card is not None else "") or self._version,
            skills=skills_of(name, card),
        )
        return Face(
            agent=name,
            card=own,
            prefix=prefix,
            backend=backend_of(self._registry, name),
            check=lambda _: check(self._registry, name),
        )


def check(registry: Registry, name: str) -> None:
    """Refuse a first message for an agent that takes none. Raises: InvalidInputError."""
    try:
        registry.check(name)
    except GatewayError as exc:
        raise InvalidInputError(str(exc), "agent") from exc
