"""Commands and tools of one run with all they printed, not only what the CLI tells of it.

Knows no run: events in, events out. What is still running is followed, what is kept is read.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.core.events import CommandFinished, CommandStarted, CommandUpdated, Event
from wrappers.claude.following import Following
from wrappers.claude.kept import Kept


class Outputs:
    """`config` is the CLI's own folder, `environment` what it runs with; `say` hears what a
    running command prints, until `close`."""

    def __init__(
        self,
        session: str,
        config: Path,
        environment: Mapping[str, str],
        say: Callable[[CommandUpdated], None],
    ) -> None:
        self._kept = Kept(config)
        self._following = Following(session, environment, say)

    async def whole(self, event: Event) -> Event:
        match event:
            case CommandStarted():
                self._following.began(event)
            case CommandFinished():
                event = await self._following.ended(event)
            case _:
                pass
        return await self._kept.whole(event)

    async def close(self) -> None:
        await self._following.close()
