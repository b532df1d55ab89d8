"""Who is there: every agent of the gateway by its name, and the pools they stand in.

Knows what is said of agents and the files it is kept in (the home's registry.json, 0600, and the
file of fixed agents); calls nobody.
"""

import hmac
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.agents.entry import Entry
from gateway.agents.fixed import FixedFile
from gateway.agents.registration import (
    Enrolled,
    Registration,
    Standing,
    name_for,
    stored_standing,
)
from gateway.agents.watch import Watch
from gateway.core.errors import InvalidInputError
from gateway.errors import NameTakenError, NotYoursError, UnknownAgentError
from gateway.home import Home, read_private, write_private

REMOTE: Final = "remote_a2a"  # the backend of agents by URL

logger = logging.getLogger(__name__)


class Directory:
    """The agents of one gateway. `watch` makes the watch of the agent with a name."""

    def __init__(
        self,
        home: Home,
        *,
        local: tuple[str, ...],
        watch: Callable[[str], Watch],
        fixed: Path | None = None,
    ) -> None:
        self._file = home.registry
        self._watch = watch
        self._fixed = FixedFile(fixed or home.agents_file)
        self._entries: dict[str, Entry] = {}
        self.problems: tuple[str, ...] = ()  # of the file of fixed agents, for its owner
        for name in local:
            self._put(name, Standing())
        for name, stored in (read_private(self._file) or {}).items():
            try:
                standing = stored_standing(stored)
            except ValidationError:
                logger.warning("registry.json: %r is not readable and was left out", name)
                continue
            if isinstance(standing, Registration) == (name not in local):
                self._put(name, standing)
        self.refresh()

    # -- to be asked -----------------------------------------------------------------------------

    def __contains__(self, name: str) -> bool:
        self.refresh()
        return name in self._entries or bool(self.pool(name))

    @property
    def entries(self) -> list[Entry]:
        """By name."""
        self.refresh()
        return [self._entries[name] for name in sorted(self._entries)]

    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]

    def usable(self) -> list[str]:
        """What a run may name: agents that are enabled and have not stopped, and their pools."""
        there = [entry for entry in self.entries if entry.said is None]
        pools = {entry.standing.pool for entry in there}
        return sorted({entry.name for entry in there} | {pool for pool in pools if pool})

    def entry(self, name: str) -> Entry:
        """Raises: UnknownAgentError."""
        if (entry := self._entries.get(name)) is None:
            raise UnknownAgentError(name, self.usable())
        return entry

    def find(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def pool(self, name: str) -> list[Entry]:
        """Every agent of a pool by name, whatever its state; empty when there is no such pool."""
        if name in self._entries:
            return []
        found = [entry for entry in self._entries.values() if entry.standing.pool == name]
        return sorted(found, key=lambda entry: entry.name)

    # -- to be changed ---------------------------------------------------------------------------

    def free(self, name: str | None, registration: Registration) -> str:
        """The name that a new agent gets. Raises: NameTakenError, InvalidInputError (the pool)."""
        self.refresh()
        name = name or name_for(registration, self._entries)
        known = self._entries.get(name)
        if known is not None and known.kind == "implicit" and _same(known, registration):
            known = None  # a run brought it here by its URL; now its owner says what it is
        if known is not None or self.pool(name) or name == REMOTE:
            raise NameTakenError(name)
        self._check_pool(name, registration.pool)
        return name

    def add(self, entry: Entry) -> None:
        """Raises: as `free`."""
        if isinstance(entry.standing, Registration):
            self.free(entry.name, entry.standing)
        self._entries[entry.name] = entry
        self.store()

    def change(self, entry: Entry, standing: Standing) -> None:
        """Raises: NotYoursError, InvalidInputError (the pool)."""
        if entry.kind == "configured":
            text = f"agent {entry.name!r} is kept in the file of fixed agents; change it there"
            raise NotYoursError(text)
        self._check_pool(entry.name, standing.pool)
        before, entry.standing = entry.registration, standing
        if before is not None and before.login != getattr(standing, "login", None):
            entry.known = None
            entry.watch.forget()
        self.store()

    def remove(self, entry: Entry) -> None:
        """Raises: NotYoursError."""
        if entry.kind in ("configured", "local"):
            where = (
                "the file of fixed agents"
                if entry.kind == "configured"
                else "the setting A2A_GATEWAY_LOCAL_AGENTS"
            )
            text = f"agent {entry.name!r} comes from {where}; remove it there, or disable it"
            raise NotYoursError(text)
        del self._entries[entry.name]
        entry.watch.forget()
        self.store()

    def register(self, registration: Registration) -> str:
        """The name of an agent that a run gave by URL; the credentials it was last given with are
        kept. One that has a name of its own is meant, unless other credentials came along."""
        self.refresh()
        taken: set[str] = set()
        for entry in self._entries.values():
            known = entry.registration
            if known is None or not known.same_agent(registration):
                taken.add(entry.name)
            elif entry.kind != "implicit":
                if not entry.stopped and not registration.has_credentials:
                    return entry.name
                taken.add(entry.name)
            else:
                registration = registration.with_credentials_of(known)
                registration = registration.model_copy(update=_kept(known))
                if known == registration:
                    return entry.name
        name = name_for(registration, taken)
        if (old := self._entries.get(name)) is not None:
            old.standing, old.known = registration, None
        else:
            self._put(name, registration)
        self.store()
        return name

    def enrol(self, name: str, enrolled: Enrolled) -> Entry:
        """An agent that registers itself, or says that it stopped; what its owner said of it
        stays. Raises: NameTakenError, unless the name is free or its own."""
        self.refresh()
        entry = self._entries.get(name)
        known = entry.standing if entry is not None else None
        if entry is not None or self.pool(name):
            own = isinstance(known, Enrolled) and hmac.compare_digest(
                known.key_digest, enrolled.key_digest
            )
            if not own:
                raise NameTakenError(name)
        if known is not None:
            enrolled = enrolled.model_copy(update=_kept(known))
        for other in self._entries.values():  # whoever was at this URL is there no more
            if isinstance(there := other.standing, Enrolled) and there.same_agent(enrolled):
                other.standing = there.model_copy(update={"stopped": True})
        if entry is None:
            entry = self._put(name, enrolled)
        entry.standing, entry.known = enrolled, None
        entry.watch.forget()  # runs that wait for it go on at once
        self.store()
        return entry

    def _check_pool(self, name: str, pool: str | None) -> None:
        """Raises: InvalidInputError, when the pool's name means something else."""
        if pool is not None and (pool in self._entries or pool in (name, REMOTE)):
            raise InvalidInputError(f"pool: {pool!r} is the name of an agent", "pool")

    def refresh(self) -> None:
        """Take the file of fixed agents over when it has changed; 2 us when it has not."""
        if (fixed := self._fixed.changed()) is None:
            return
        taken = [name for name in fixed.agents if not self._take(name, fixed.agents[name])]
        if fixed.whole:  # of a file that cannot be read, what it said before stands
            for entry in list(self._entries.values()):
                if entry.kind == "configured" and entry.name not in fixed.agents:
                    del self._entries[entry.name]
                    entry.watch.forget()
        also = [f"agents.{name}: another agent or a pool here has that name" for name in taken]
        self.problems = (*fixed.problems, *also)
        for problem in self.problems:
            logger.warning("%s", problem)

    def _take(self, name: str, registration: Registration) -> bool:
        """An agent of the file; False when its name, or its pool's, means something else."""
        known = self._entries.get(name)
        if known is not None and known.kind != "configured":
            return False
        if (known is None and self.pool(name)) or registration.pool in self._entries:
            return False
        if known is None or known.standing != registration:
            entry = self._put(name, registration)
            entry.known = None
            entry.watch.forget()
        return True

    def store(self) -> None:
        stored = {
            entry.name: entry.standing.model_dump(mode="json", exclude_defaults=True)
            for entry in self._entries.values()
            if entry.kind != "configured"
        }
        write_private(self._file, {name: said for name, said in stored.items() if said})

    def _put(self, name: str, standing: Standing) -> Entry:
        """An agent by this name, with what is known of it where it was here before."""
        if (entry := self._entries.get(name)) is None:
            entry = self._entries[name] = Entry(
                name=name, standing=standing, watch=self._watch(name)
            )
        entry.standing = standing
        return entry


def _same(entry: Entry, registration: Registration) -> bool:
    return entry.registration is not None and entry.registration.same_agent(registration)


def _kept(known: Standing) -> dict[str, Any]:
    """What its owner said of an agent, and nobody else changes."""
    return {"enabled": known.enabled, "labels": known.labels, "pool": known.pool}
