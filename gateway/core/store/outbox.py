"""Who is told of a run's events by webhook, and how far: statements, and `Outbox` over an engine.

Knows no HTTP. The log itself holds what is to be sent: a config is a cursor in it (`sent_seq`), so
an append costs nothing more, and after a restart a delivery goes on where the last one ended.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from gateway.core.errors import InvalidInputError, RunNotFoundError
from gateway.core.store.dialect import clock, insert
from gateway.core.store.engine import Engine
from gateway.core.store.schema import push_configs, replicas, runs

CONFIGS_MAX: Final = 10  # of one run


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConfig:
    """A webhook of one run. `sent_seq`: the last event that was taken; `attempts` failed since.

    `created_at` tells a config from the one it replaced. `next_at` (unix microseconds) is when the
    next event may be sent; None when nothing is left to be sent, or it was given up (`last_error`).
    """

    run_id: str
    id: str
    url: str
    token: str | None = field(default=None, repr=False)
    scheme: str | None = None
    credentials: str | None = field(default=None, repr=False)
    created_at: int
    sent_seq: int = 0
    attempts: int = 0
    next_at: int | None = None
    last_error: str | None = None


def put_config(connection: sa.Connection, config: PushConfig) -> PushConfig:
    """Store a config, or replace the one of this id, whose cursor stays; returns it as stored.

    Raises: RunNotFoundError, InvalidInputError (the run has CONFIGS_MAX others).
    """
    if connection.scalar(sa.select(runs.c.id).where(runs.c.id == config.run_id)) is None:
        raise RunNotFoundError(config.run_id)
    others = connection.scalar(
        sa.select(sa.func.count())
        .select_from(push_configs)
        .where(push_configs.c.run_id == config.run_id, push_configs.c.id != config.id)
    )
    if (others or 0) >= CONFIGS_MAX:
        raise InvalidInputError(
            f"run {config.run_id} has {CONFIGS_MAX} push notification configs; delete one first",
            "id",
        )
    row = _row(config)
    kept = {name: row[name] for name in row if name not in ("run_id", "id", "sent_seq")}
    connection.execute(
        insert(connection, push_configs)
        .values(row)
        .on_conflict_do_update(index_elements=["run_id", "id"], set_=kept)
    )
    stored = get_config(connection, config.run_id, config.id)
    return config if stored is None else stored


def get_config(connection: sa.Connection, run_id: str, config_id: str) -> PushConfig | None:
    row = connection.execute(_these(run_id, config_id)).mappings().first()
    return None if row is None else PushConfig(**row)


def page_configs(
    connection: sa.Connection, run_id: str, after: str, limit: int
) -> Sequence[PushConfig]:
    """The run's configs with an id behind `after`, in the order of their ids."""
    found = connection.execute(
        sa.select(push_configs)
        .where(push_configs.c.run_id == run_id, push_configs.c.id > after)
        .order_by(push_configs.c.id)
        .limit(limit)
    )
    return [PushConfig(**row) for row in found.mappings()]


def drop_config(connection: sa.Connection, run_id: str, config_id: str) -> None:
    connection.execute(
        sa.delete(push_configs).where(
            push_configs.c.run_id == run_id, push_configs.c.id == config_id
        )
    )


def remove_config(connection: sa.Connection, config: PushConfig) -> None:
    """Delete exactly this config, not one that replaced it meanwhile."""
    connection.execute(
        sa.delete(push_configs).where(
            push_configs.c.run_id == config.run_id,
            push_configs.c.id == config.id,
            push_configs.c.created_at == config.created_at,
        )
    )


def due_configs(
    connection: sa.Connection, replica: str, after: tuple[str, str], limit: int
) -> list[PushConfig]:
    """Configs that `replica` has something left to send to, now or later; pages by (run, id)."""
    key = sa.tuple_(push_configs.c.run_id, push_configs.c.id)
    found = connection.execute(
        _due(connection, replica)
        .where(key > sa.tuple_(*after))
        .order_by(push_configs.c.run_id, push_configs.c.id)
        .limit(limit)
    )
    return [PushConfig(**row) for row in found.mappings()]


def due_config(
    connection: sa.Connection, replica: str, run_id: str, config_id: str
) -> PushConfig | None:
    """The config, when `replica` has something left to send to it."""
    row = (
        connection.execute(
            _due(connection, replica).where(
                push_configs.c.run_id == run_id, push_configs.c.id == config_id
            )
        )
        .mappings()
        .first()
    )
    return None if row is None else PushConfig(**row)


def note_sent(connection: sa.Connection, config: PushConfig, seq: int) -> bool:
    """The webhook took every event up to `seq`. False when the config was deleted or replaced, or
    somebody else is further: a cursor never goes back."""
    moved = connection.execute(
        _change(config)
        .where(push_configs.c.sent_seq < seq)
        .values(sent_seq=seq, attempts=0, last_error=None)
    )
    return moved.rowcount == 1


def note_failed(
    connection: sa.Connection, config: PushConfig, attempts: int, next_at: int | None, error: str
) -> bool:
    """A delivery failed `attempts` times; it is tried again at `next_at`, or never. False when the
    config was deleted or replaced."""
    noted = connection.execute(
        _change(config).values(attempts=attempts, next_at=next_at, last_error=error)
    )
    return noted.rowcount == 1


def note_done(connection: sa.Connection, config: PushConfig, seq: int) -> None:
    """The run ended and its last event `seq` was taken, or was not for a webhook."""
    connection.execute(_change(config).values(sent_seq=seq, next_at=None))


def _due(connection: sa.Connection, replica: str) -> sa.Select[Any]:
    """Who works on a run delivers its events; those of a run whose owner is gone, everybody who
    looks. So two replicas that start at once may both repeat an event, and none leaves one out."""
    alive = sa.select(replicas.c.id).where(replicas.c.expires_at > clock(connection))
    owned = runs.c.owner.is_(None) | (runs.c.owner == replica) | runs.c.owner.not_in(alive)
    return (
        sa.select(push_configs)
        .join(runs, runs.c.id == push_configs.c.run_id)
        .where(push_configs.c.next_at.is_not(None), owned)
    )


def _these(run_id: str, config_id: str) -> sa.Select[Any]:
    return sa.select(push_configs).where(
        push_configs.c.run_id == run_id, push_configs.c.id == config_id
    )


def _change(config: PushConfig) -> sa.Update:
    """An update of exactly this config, not of one that replaced it meanwhile."""
    return sa.update(push_configs).where(
        push_configs.c.run_id == config.run_id,
        push_configs.c.id == config.id,
        push_configs.c.created_at == config.created_at,
    )


def _row(config: PushConfig) -> dict[str, Any]:
    return {column.name: getattr(config, column.name) for column in push_configs.columns}


class Outbox:
    """The webhooks of one log. Who delivers is told of each change by `on_change`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._heard: Callable[[str, str, PushConfig | None], None] | None = None

    def on_change(self, heard: Callable[[str, str, PushConfig | None], None] | None) -> None:
        """Call `heard` with run, id and config when one was stored; with None when it was deleted."""
        self._heard = heard

    async def put(self, config: PushConfig) -> PushConfig:
        """Raises: RunNotFoundError, InvalidInputError (too many)."""
        stored = await self._engine.write(lambda connection: put_config(connection, config))
        self._tell(stored.run_id, stored.id, stored)
        return stored

    async def get(self, run_id: str, config_id: str) -> PushConfig | None:
        return await self._engine.read(lambda connection: get_config(connection, run_id, config_id))

    async def page(self, run_id: str, after: str, limit: int) -> Sequence[PushConfig]:
        return await self._engine.read(
            lambda connection: page_configs(connection, run_id, after, limit)
        )

    async def drop(self, run_id: str, config_id: str) -> None:
        await self._engine.write(lambda connection: drop_config(connection, run_id, config_id))
        self._tell(run_id, config_id, None)

    async def due(self, replica: str, after: tuple[str, str], limit: int) -> list[PushConfig]:
        return await self._engine.read(
            lambda connection: due_configs(connection, replica, after, limit)
        )

    async def due_now(self, replica: str, run_id: str, config_id: str) -> PushConfig | None:
        return await self._engine.read(
            lambda connection: due_config(connection, replica, run_id, config_id)
        )

    @property
    def shared(self) -> bool:
        """Other processes may store configs too."""
        return self._engine.shared

    async def sent(self, config: PushConfig, seq: int) -> bool:
        return await self._engine.write(lambda connection: note_sent(connection, config, seq))

    async def failed(
        self, config: PushConfig, attempts: int, next_at: int | None, error: str
    ) -> bool:
        return await self._engine.write(
            lambda connection: note_failed(connection, config, attempts, next_at, error)
        )

    async def remove(self, config: PushConfig) -> None:
        """Delete exactly this config, on the word of its webhook; nobody is told."""
        await self._engine.write(lambda connection: remove_config(connection, config))

    async def done(self, config: PushConfig, seq: int) -> None:
        await self._engine.write(lambda connection: note_done(connection, config, seq))

    def _tell(self, run_id: str, config_id: str, config: PushConfig | None) -> None:
        if self._heard is not None:
            self._heard(run_id, config_id, config)
