"""One webhook's way through the log: each event in order, tried until it is taken or given up.

Knows when to try again, not how a request looks, and nothing of other webhooks.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from gateway.core.addresses import AddressRefusedError
from gateway.core.clock import Clock
from gateway.core.errors import ReplayError, RunNotFoundError
from gateway.core.face import wire
from gateway.core.face.wire import Item, TaskItems
from gateway.core.push.webhook import Answer, WebhookError, Webhooks
from gateway.core.record import Run
from gateway.core.status import RunStatus
from gateway.core.store.entry import Recorded
from gateway.core.store.outbox import PushConfig
from gateway.core.tasks import Tasks

SECOND: Final = 1_000_000  # of the clock

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a webhook is waited for: delays double from `first_s` to `longest_s`.

    One that asks for a longer wait (Retry-After) gets it, up to `asked_s`. With these numbers an
    event is tried for about a day: 17 minutes of doubling, then every 10 minutes.
    """

    first_s: float = 1.0
    longest_s: float = 600.0
    asked_s: float = 3600.0
    attempts: int = 153

    def delay_s(self, attempt: int, asked_s: float | None, jitter: float) -> float | None:
        """Seconds before the next try after failed `attempt` (from 1); None to give up.

        `jitter` is from 0 to 1: a receiver that comes back does not meet everybody at once.
        """
        if attempt >= self.attempts:
            return None
        own = min(self.first_s * 2 ** min(attempt - 1, 32), self.longest_s)
        return max(own * (0.75 + jitter / 2), min(asked_s or 0.0, self.asked_s))


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every delivery works with."""

    tasks: Tasks
    webhooks: Webhooks
    clock: Clock
    patience: Patience
    jitter: Callable[[], float]


class _OverError(Exception):
    """Nothing more goes to this webhook from here: it was given up, or is not ours any more."""


class Delivery:
    """The delivery of one config, from its cursor on."""

    def __init__(self, config: PushConfig, means: Means) -> None:
        self._config = config
        self._means = means
        self._outbox = means.tasks.log.outbox
        self._attempts = config.attempts  # failed since something was taken

    async def work(self) -> None:
        """Deliver until the run has ended and all is taken, or the webhook is given up.

        Raises: StorageError; then what was noted stands, and a new Delivery goes on from there.
        """
        config = self._config
        try:
            run = await self._means.tasks.log.get(config.run_id)
            if run is None:
                return
            if config.attempts and config.next_at is not None:
                await asyncio.sleep(max(0, config.next_at - self._means.clock()) / SECOND)
            await self._outbox.done(config, await self._through(run))
        except (_OverError, RunNotFoundError):
            return
        except ReplayError as exc:
            await self._give_up(str(exc))

    async def _through(self, run: Run) -> int:
        """Deliver to the run's end; returns its last seq."""
        last, seen = self._config.sent_seq, await self._seen(run)
        items = TaskItems(run.id, run.context_id, extended=False)
        follow = self._means.tasks.follow(run.principal, run.id, after=last)
        async with aclosing(follow):
            async for events in follow:
                for event in events:
                    await self._event(run, event, items, seen)
                    last, seen = event.seq, event.status
        return last

    async def _seen(self, run: Run) -> RunStatus:
        """The status the webhook was told last."""
        sent = self._config.sent_seq
        try:
            found = await self._means.tasks.log.read(run.id, sent - 1, 1) if sent else []
        except ReplayError:  # the last one it took is no longer kept; what follows may well be
            found = []
        return found[0].status if found and found[0].seq == sent else RunStatus.QUEUED

    async def _event(self, run: Run, event: Recorded, items: TaskItems, seen: RunStatus) -> None:
        """Every item of an event; one that a plain client is told nothing of has none."""
        split = wire.is_split(event)
        whole = await self._means.tasks.whole(run, event) if split else None
        found = items.items(event, seen, whole)
        for number, item in enumerate(found):
            piece = f"-{number}" if number else ""
            await self._item(f"{run.id}-{event.seq}{piece}", item)
        if found and not await self._outbox.sent(self._config, event.seq):
            raise _OverError

    async def _item(self, event_id: str, item: Item) -> None:
        """Raises: _OverError."""
        while (failure := await self._try(event_id, item)) is not None:
            error, asked_s = failure
            self._attempts += 1
            patience = self._means.patience
            delay_s = patience.delay_s(self._attempts, asked_s, self._means.jitter())
            if delay_s is None:
                await self._give_up(f"given up after {self._attempts} attempts: {error}")
                raise _OverError
            if self._attempts == 1:
                self._warn(f"{error}; it is tried again")
            next_at = self._means.clock() + int(delay_s * SECOND)
            if not await self._outbox.failed(self._config, self._attempts, next_at, error):
                raise _OverError
            await asyncio.sleep(delay_s)
        self._attempts = 0

    async def _try(self, event_id: str, item: Item) -> tuple[str, float | None] | None:
        """One attempt: None when it was taken, else what happened and the wait that was asked for.

        Whatever else is answered may be a receiver that is being repaired, so it is tried again: a
        skipped event would be a lie, and only 410 says that nobody will ever listen there.
        Redirects are not followed: they could lead where the URL itself must not.
        """
        try:
            answer = await self._post(event_id, item)
        except WebhookError as exc:
            return str(exc), None
        except AddressRefusedError as exc:
            await self._give_up(str(exc))
            raise _OverError from exc
        if answer.gone:
            await self._outbox.remove(self._config)
            self._warn("it is gone (410); its config was deleted")
            raise _OverError
        return None if answer.taken else (f"it answered {answer.status}", answer.wait_s)

    async def _post(self, event_id: str, item: Item) -> Answer:
        def at_s() -> int:
            return self._means.clock() // SECOND

        return await self._means.webhooks.post(self._config, event_id, item.body, at_s)

    async def _give_up(self, error: str) -> None:
        self._warn(f"{error}; nothing more is sent to it")
        await self._outbox.failed(self._config, self._attempts, None, error)

    def _warn(self, text: str) -> None:
        """Never with the URL: it may hold a secret."""
        logger.warning("run %s: webhook %r: %s", self._config.run_id, self._config.id, text)
