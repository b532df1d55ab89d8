"""What the scripted agent keeps of a context beyond its process: what it said, and an open turn.

Knows files and no verb. This is its "vendor session": another process goes on from here.
"""

from pathlib import Path
from typing import Any

import anyio

from gateway.core import json
from gateway.core.json import JsonObject


class Memory:
    """The files of one session in `folder`."""

    def __init__(self, folder: Path, session: str) -> None:
        self._said = anyio.Path(folder / f"{session}.jsonl")
        self._turn = anyio.Path(folder / f"{session}.turn.json")

    async def said(self) -> list[str]:
        """The final responses of the turns that ended, oldest first."""
        if not await self._said.exists():
            return []
        text = await self._said.read_text(encoding="utf-8")
        return [str(json.decode(line)) for line in text.splitlines()]

    async def remember(self, response: str) -> None:
        async with await self._said.open("a", encoding="utf-8") as file:
            await file.write(json.encode(response) + "\n")

    async def keep_turn(self, state: JsonObject) -> None:
        """How far a turn has come that waits for somebody."""
        new = self._turn.with_suffix(".new")
        await new.write_text(json.encode(state), encoding="utf-8")
        await new.replace(self._turn)

    async def turn(self, run_id: str) -> JsonObject | None:
        """How far that run had come; None when nothing is known of it."""
        try:
            state: dict[str, Any] = json.decode_object(await self._turn.read_bytes())
        except (OSError, ValueError):
            return None
        return state if state.get("run_id") == run_id else None
