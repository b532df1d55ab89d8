"""What the scripted agent keeps of a context beyond its process: what it said, and an open turn.

Knows files and no verb. This is its "vendor session": another process goes on from here.
"""

from pathlib import Path
from typing import Any

from anyio import to_thread

from gateway.core import json
from gateway.core.json import JsonObject


class Memory:
    """The files of one session in `folder`; `fresh`: it has none yet."""

    def __init__(self, folder: Path, session: str, *, fresh: bool = False) -> None:
        self._said = folder / f"{session}.jsonl"
        self._turn = folder / f"{session}.turn.json"
        self._fresh = fresh

    async def recall(self, run_id: str) -> tuple[list[str], JsonObject | None]:
        """The final responses of the turns that ended, oldest first; and how far this run had
        come, None when nothing is known of it."""
        if self._fresh:
            return [], None
        return await to_thread.run_sync(self._recall, run_id)

    def _recall(self, run_id: str) -> tuple[list[str], JsonObject | None]:
        said = self._said.read_text(encoding="utf-8") if self._said.exists() else ""
        try:
            state: dict[str, Any] = json.decode_object(self._turn.read_bytes())
        except (OSError, ValueError):
            state = {}
        known = state if state.get("run_id") == run_id else None
        return [str(json.decode(line)) for line in said.splitlines()], known

    async def remember(self, response: str) -> None:
        await to_thread.run_sync(self._remember, json.encode(response) + "\n")

    def _remember(self, line: str) -> None:
        with self._said.open("a", encoding="utf-8") as file:
            file.write(line)

    async def keep_turn(self, state: JsonObject) -> None:
        """How far a turn has come that waits for somebody."""
        await to_thread.run_sync(self._keep_turn, json.encode(state))

    def _keep_turn(self, state: str) -> None:
        new = self._turn.with_suffix(".new")
        new.write_text(state, encoding="utf-8")
        new.replace(self._turn)
