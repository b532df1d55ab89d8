"""What Codex says twice: the start of an answer that was cut off and asked for again.

Pure.
"""

from collections import defaultdict
from typing import Final, TypeAlias

from gateway.core.json import JsonObject

Said: TypeAlias = tuple[object, ...]
_TOLD_AGAIN: Final = frozenset({"agentMessage", "reasoning"})


class Repeats:
    """Per thread (None: the agent's own) the messages of the answer that is being given.

    After a cut its items come once more, under new ids.
    """

    def __init__(self) -> None:
        self._now: dict[str | None, list[Said]] = defaultdict(list)
        self._again: dict[str | None, list[Said]] = defaultdict(list)

    def whole(self, author: str | None) -> None:
        """An answer is complete: nothing of it will come again."""
        self._now.pop(author, None)
        self._again.pop(author, None)

    def cut(self, author: str | None) -> None:
        """An answer broke off; Codex asks for it again."""
        self._again[author] = [*self._now.pop(author, ()), *self._again[author]]

    def seen(self, item: JsonObject, author: str | None) -> bool:
        """Whether this item was told before the cut."""
        if item.get("type") not in _TOLD_AGAIN:
            return False
        said = (item["type"], item.get("text"), str(item.get("summary")), str(item.get("content")))
        self._now[author].append(said)
        if said not in self._again[author]:
            return False
        self._again[author].remove(said)
        return True
