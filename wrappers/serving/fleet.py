"""The wrappers of one process, from the first bound socket to the end of the last.

One process for several agents: one signal ends all of them, and none can outlive the others. Knows
each by `serve` alone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from gateway.core.logs import mask_logs
from gateway.core.secrets import Mask, is_secret_name
from wrappers.agents import AGENTS
from wrappers.serving.ending import Ending
from wrappers.serving.exposure import check_exposure
from wrappers.serving.idle import Idle
from wrappers.serving.notify import READY, STOPPING, notify
from wrappers.serving.ready import Ready
from wrappers.serving.serve import serve
from wrappers.serving.shared import FAILURE, Says, Shared
from wrappers.settings import WrapperSettings


class EndedError(Exception):
    """The wrappers ended although nobody asked them to; the text says why."""


async def serve_all(
    names: Sequence[str],
    settings: WrapperSettings,
    source: Mapping[str, str],
    says: Says,
    on_stop: Callable[[str], None],
) -> None:
    """Serve these agents until a signal, or idleness; `on_stop` gets the reason.

    Where one cannot start, or cannot go on, all end. Raises: EndedError, exposure.ExposureError,
    and what `serve` does.
    """
    check_exposure(settings)
    # A command that prints its environment prints these; they reach no log.
    mask = Mask(value for name, value in source.items() if is_secret_name(name))
    mask_logs(mask)
    ending = Ending()
    idle = Idle(after_s=settings.idle_exit_s, ending=ending)
    shared = Shared(
        settings=settings,
        source=source,
        mask=mask,
        ending=ending,
        idle=idle,
        says=replace(says, ready=_counting(says.ready, len(names), source)),
        agents=len(names),
    )
    with ending.by_signals():
        beside = [
            asyncio.create_task(idle.watch()),
            asyncio.create_task(_announce_end(ending, source, on_stop)),
        ]
        try:
            outcomes = await asyncio.gather(
                *(_one(name, shared) for name in names), return_exceptions=True
            )
        finally:
            for task in beside:
                task.cancel()
            for task in beside:
                with suppress(asyncio.CancelledError):
                    await task
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
    if ending.failure is not None:
        raise EndedError(ending.failure)


async def _one(name: str, shared: Shared) -> None:
    try:
        await serve(name, AGENTS[name], shared)
    finally:
        shared.ending.begin(FAILURE)  # none goes on alone


async def _announce_end(
    ending: Ending, source: Mapping[str, str], on_stop: Callable[[str], None]
) -> None:
    await ending.begun.wait()
    notify(source, STOPPING)
    if ending.reason != FAILURE:
        on_stop(ending.reason)


def _counting(
    ready: Callable[[Ready], None], agents: int, source: Mapping[str, str]
) -> Callable[[Ready], None]:
    """`ready`, and systemd is told when the last of them is."""
    waited_for = agents

    def counted(one: Ready) -> None:
        nonlocal waited_for
        ready(one)
        waited_for -= 1
        if waited_for == 0:
            notify(source, READY)

    return counted
