"""An agent as its owner sees it: JSON, without any secret. Pure.

Knows entries and runs; nothing of HTTP.
"""

from collections import Counter
from collections.abc import Iterable

from gateway.agents.card import CARD_PATH, Card
from gateway.agents.entry import Entry
from gateway.core.json import JsonObject
from gateway.core.record import Run


def shown(entry: Entry, active: Counter[str]) -> JsonObject:
    """`active`: how many runs have not ended, by the agent that has them."""
    registration = entry.registration
    known = entry.known
    url = registration.agent_url if registration is not None else known and known.base_url
    return {
        "name": entry.name,
        "kind": entry.kind,
        "url": url,
        "card_path": registration.agent_card_path if registration is not None else CARD_PATH,
        "enabled": entry.standing.enabled,
        "labels": entry.standing.labels,
        "pool": entry.standing.pool,
        "credentials": registration.credentials if registration is not None else None,
        "health": entry.watch.health.shown(entry.said),
        "active_runs": active[entry.name],
        "card": None if known is None else _card(known.card),
    }


def active_runs(runs: Iterable[Run]) -> Counter[str]:
    """The runs of each agent, by its name; those that wait for a pool's choice by the pool's."""
    return Counter(run.agent if run.remote is None else run.remote.agent for run in runs)


def _card(card: Card) -> JsonObject:
    return {
        "name": card.name,
        "description": card.description,
        "version": card.version,
        "protocol": card.interface.version,
        "binding": card.interface.binding,
        "streaming": card.streaming,
        "coding_run": card.extension,
        "skills": [
            {key: _text(skill.get(key)) for key in ("id", "name", "description")}
            for skill in card.skills
        ],
        "extensions": list(card.extensions),
    }


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
