"""What the gateway says of an agent: the agent's own words where it has any.

Pure but for looking at the registry; knows no route.
"""

from collections.abc import Sequence
from typing import Any, cast

from gateway.agents.card import Card
from gateway.agents.directory import REMOTE
from gateway.agents.registry import Registry
from gateway.core.face.cards import Skill
from gateway.core.json import JsonObject, objects


def backend_of(registry: Registry, name: str) -> str:
    """The backend of an agent's runs, as spawn_run names it."""
    entry = registry.directory.find(name)
    return name if entry is not None and entry.kind == "local" else REMOTE


def description_of(name: str, card: Card | None) -> str:
    described = card.description if card is not None else ""
    return described or f"Agent {name!r}, run and kept by a2a-gateway."


def skills_of(name: str, card: Card | None) -> list[Skill]:
    """Its own skills; one for all it can do where it names none, or was not called yet."""
    found = [
        Skill(
            id=str(skill.get("id") or name),
            name=str(skill.get("name") or name),
            description=str(skill.get("description") or ""),
            tags=_texts(skill.get("tags")),
            examples=_texts(skill.get("examples")),
        )
        for skill in objects(_given(card))
    ]
    default = Skill(id=name, name=name, description=f"What {name} can do.", tags=("agent",))
    return found or [default]


def _given(card: Card | None) -> list[JsonObject]:
    skills: Sequence[JsonObject] = card.skills if card is not None else ()
    return list(skills)


def _texts(value: object) -> tuple[str, ...]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(item for item in items if isinstance(item, str))
