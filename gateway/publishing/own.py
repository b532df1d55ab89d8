"""The gateway itself as an A2A agent, at its root: its skills are its agents.

Knows routes and the registry. A message says which agent it is for by the agent's name or by a
skill that one agent alone has; where there is one agent only, it need not.
"""

from typing import Final

from a2a.types import AgentCard
from starlette.types import Receive, Scope, Send

from gateway.agents.card import Card
from gateway.agents.registry import Registry
from gateway.core.errors import InvalidInputError
from gateway.core.face.cards import JSONRPC_PATH, REST_PATH, Addressee, Face, Skill, build_card
from gateway.core.face.guard import CARD_PATH, OLD_CARD_PATH
from gateway.core.face.routes import FaceApp
from gateway.core.tasks import Tasks
from gateway.publishing.faces import check
from gateway.publishing.words import backend_of, description_of, skills_of
from gateway.settings import APPLICATION

_PATHS: Final = (CARD_PATH, OLD_CARD_PATH, JSONRPC_PATH, REST_PATH, "/tasks")
_DESCRIPTION: Final = (
    "Runs coding agents and keeps their runs, whatever happens to links and processes. Each skill "
    "is an agent: name it as metadata.skill of the first message, or send to the agent's own card."
)
_NAMED_MAX: Final = 64  # characters of a caller's word that are said back


def is_own(scope: Scope) -> bool:
    """Requests for the gateway's own card and interfaces."""
    path: str = scope["path"]
    return any(path == known or path.startswith(known + "/") for known in _PATHS)


class OwnFace:
    """The ASGI app at the root; its card follows the agents there are."""

    def __init__(self, tasks: Tasks, registry: Registry, *, base_url: str, version: str) -> None:
        self._registry = registry
        self._base_url = base_url
        self._version = version
        self._shown = self._agents()
        self._face = Face(agent=APPLICATION, card=self._card(), choose=self._choose)
        self._app = FaceApp(tasks, self._face)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (agents := self._agents()) != self._shown:
            self._shown, self._face.card = agents, self._card()
        await self._app(scope, receive, send)

    def _agents(self) -> list[tuple[str, Card | None]]:
        names = self._registry.directory.usable()
        return [(name, self._registry.card(name)) for name in names]

    def _card(self) -> AgentCard:
        return build_card(
            name=APPLICATION,
            description=_DESCRIPTION,
            base_url=self._base_url,
            version=self._version,
            skills=[_skill(name, card) for name, card in self._agents()],
        )

    def _choose(self, named: str | None) -> Addressee:
        """Raises: InvalidInputError, with the names there are."""
        agents = self._agents()
        names = [name for name, _ in agents]
        meant = names if named is None else self._pooled(_meant(agents, named))
        if len(meant) != 1:
            raise InvalidInputError(_unclear(named, names, meant), "metadata.skill")
        check(self._registry, meant[0])
        return Addressee(agent=meant[0], backend=backend_of(self._registry, meant[0]))

    def _pooled(self, meant: list[str]) -> list[str]:
        """A pool, where what is meant is it and its members."""
        pools = [name for name in meant if self._registry.is_pool(name)]
        if len(pools) != 1 or set(meant) - set(pools) - set(self._registry.members(pools[0])):
            return meant
        return pools


def _meant(agents: list[tuple[str, Card | None]], named: str) -> list[str]:
    """The agent of that name, else those that have a skill of that id."""
    if any(name == named for name, _ in agents):
        return [named]
    return [
        name
        for name, card in agents
        if card is not None and any(skill.id == named for skill in skills_of(name, card))
    ]


def _unclear(named: str | None, names: list[str], meant: list[str]) -> str:
    if not names:
        return "this gateway has no agent; register one (a2a-gateway agents add)"
    known = ", ".join(meant or names)
    why = "which agent is meant?" if named is None else f"no agent or skill {named[:_NAMED_MAX]!r};"
    if meant and named is not None:
        why = f"several agents have a skill {named[:_NAMED_MAX]!r};"
    return f"{why} name one as metadata.skill of the message, or send to /agents/<name>: {known}"


def _skill(name: str, card: Card | None) -> Skill:
    """An agent as a skill: its name is the id, and what it can do is said in the words."""
    own = skills_of(name, card)
    said = [description_of(name, card), *(skill.description for skill in own if card is not None)]
    return Skill(
        id=name,
        name=card.name if card is not None else name,
        description=" ".join(dict.fromkeys(text for text in said if text)),
        tags=tuple(dict.fromkeys(("agent", *(tag for skill in own for tag in skill.tags)))),
        examples=tuple(example for skill in own for example in skill.examples),
    )
