"""Every agent of the gateway as an A2A agent of its own, under /agents/<name>.

Knows routes and the registry. A face is made at its first request, so an agent that is registered
while the gateway runs is published at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.agents.card import Card
from gateway.agents.registry import Registry
from gateway.core.face.cards import Face, Skill, build_card
from gateway.core.face.routes import FaceApp
from gateway.core.json import JsonObject, objects
from gateway.core.tasks import Tasks

PREFIX: Final = "/agents/"


@dataclass(frozen=True, slots=True)
class _Published:
    """A face, and the agent's own card that its card was made of."""

    card: Card | None
    app: FaceApp


class Faces:
    """The ASGI app behind /agents/."""

    def __init__(self, tasks: Tasks, registry: Registry, *, base_url: str, version: str) -> None:
        self._tasks = tasks
        self._registry = registry
        self._base_url = base_url
        self._version = version
        self._published: dict[str, _Published] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].removeprefix(PREFIX).partition("/")[0]
        if name not in self._registry:
            text = f"no agent {name[:64]!r} here; known: {', '.join(self._registry.names())}"
            body = {"error": {"code": "unknown_agent", "message": text}}
            await JSONResponse(body, status_code=404)(scope, receive, send)
            return
        await self._app(name)(scope, receive, send)

    def _app(self, name: str) -> FaceApp:
        card, known = self._registry.card(name), self._published.get(name)
        if known is None or known.card != card:
            app = FaceApp(self._tasks, self._face(name, card))
            known = self._published[name] = _Published(card, app)
        return known.app

    def _face(self, name: str, card: Card | None) -> Face:
        """The agent's own words in our card: the interfaces are ours, the skills are its."""
        prefix = PREFIX + name
        described = card.description if card is not None else ""
        own = build_card(
            name=card.name if card is not None else name,
            description=described or f"Agent {name!r}, run and kept by a2a-gateway.",
            base_url=self._base_url + prefix,
            version=(card.version if card is not None else "") or self._version,
            skills=_skills(name, card.skills if card is not None else ()),
        )
        return Face(agent=name, card=own, prefix=prefix)


def _skills(name: str, given: Sequence[JsonObject]) -> list[Skill]:
    found = [
        Skill(
            id=str(skill.get("id") or name),
            name=str(skill.get("name") or name),
            description=str(skill.get("description") or ""),
            tags=_texts(skill.get("tags")),
            examples=_texts(skill.get("examples")),
        )
        for skill in objects(list(given))
    ]
    default = Skill(id=name, name=name, description=f"What {name} can do.", tags=("agent",))
    return found or [default]


def _texts(value: object) -> tuple[str, ...]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))
