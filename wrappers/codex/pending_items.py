"""Items of a run that have begun and not ended, what its open commands said, and what was refused.

Pure.
"""

from collections.abc import Iterator

from gateway.core.json import JsonObject, as_object, merge_null


class PendingItems:
    """By item id: the item as it began, its author (a sub-agent's thread), a command's output."""

    def __init__(self) -> None:
        self._items: dict[str, tuple[JsonObject, str | None]] = {}
        self._output: dict[str, list[str]] = {}
        self._refused: set[str] = set()

    def begin(self, item: JsonObject, author: str | None) -> None:
        self._items[str(item.get("id"))] = (item, author)

    def end(self, item: JsonObject) -> JsonObject:
        """The item that ended; a tool's call that the caller refused is declined, not failed."""
        item_id = str(item.get("id"))
        self._items.pop(item_id, None)
        self._output.pop(item_id, None)
        if item_id in self._refused and item.get("status") == "failed":
            return {**item, "status": "declined"}
        return item

    def get(self, item_id: str) -> tuple[JsonObject, str | None]:
        return self._items.get(item_id, ({}, None))

    def has(self, kind: str) -> bool:
        return any(item.get("type") == kind for item, _ in self._items.values())

    def hear(self, item_id: str, text: str) -> None:
        """A piece of an open command's output; Codex tells the whole at its end alone."""
        if item_id in self._items:
            self._output.setdefault(item_id, []).append(text)

    def refuse(self, item_id: str | None) -> None:
        """The caller does not want this item's call."""
        if item_id is not None:
            self._refused.add(item_id)

    def about(self, params: JsonObject, author: str | None) -> tuple[JsonObject, JsonObject]:
        """The MCP tool's call that an approval is about (empty: none), and the approval's
        parameters with the tool's name: it says neither."""
        meta, found = as_object(params.get("_meta")), JsonObject()
        for item, by in self._items.values():
            known = item.get("type") == "mcpToolCall" and by == author
            if known and item.get("server") == params.get("serverName"):
                found = item
                if as_object(item.get("arguments")) == as_object(meta.get("tool_params")):
                    break
        named = merge_null({"tool_name": meta.get("tool_name") or found.get("tool")})
        return found, {**params, "_meta": {**meta, **named}}

    def drain(self) -> Iterator[tuple[JsonObject, str | None, str]]:
        """Every item that is open with its author and output; none is afterwards."""
        while self._items:
            item_id = next(iter(self._items))
            item, author = self._items.pop(item_id)
            yield item, author, "".join(self._output.pop(item_id, ()))
