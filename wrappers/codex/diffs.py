"""Diffs of a run: those of single changes, and all of a turn's as an artifact.

Pure.
"""

from typing import Final

from gateway.core.events import ArtifactAdded
from gateway.core.json import JsonObject, as_object, merge_null

MEDIA_TYPE: Final = "text/x-diff"


def changes(item: JsonObject) -> list[JsonObject]:
    """The changes of a patch as {path, kind, diff, move_path?}; `diff` has hunks alone."""
    return [_change(as_object(change)) for change in item.get("changes") or ()]


def _change(change: JsonObject) -> JsonObject:
    kind = as_object(change.get("kind"))
    name, moved, diff = kind.get("type"), kind.get("move_path"), change.get("diff")
    if isinstance(diff, str):
        diff = _hunks(name, diff.removesuffix(f"\n\nMoved to: {moved}"))
    about = {"path": change.get("path"), "kind": name, "diff": diff, "move_path": moved}
    return merge_null(about)


def _hunks(kind: object, diff: str) -> str:
    """Codex gives a diff of what it updates, and the mere text of what it adds or deletes."""
    if kind not in ("add", "delete") or not diff:
        return diff
    lines = diff.removesuffix("\n").split("\n")
    old, new, sign = (0, len(lines), "+") if kind == "add" else (len(lines), 0, "-")
    head = f"@@ -{min(old, 1)},{old} +{min(new, 1)},{new} @@\n"
    tail = "" if diff.endswith("\n") else "\\ No newline at end of file\n"
    return head + "".join(f"{sign}{line}\n" for line in lines) + tail


class TurnDiffs:
    """What every turn of the run, a sub-agent's too, has changed in all; the last word counts."""

    def __init__(self) -> None:
        self._turns: dict[tuple[str | None, str | None], str] = {}  # author, turn -> its diff

    def take(self, author: str | None, turn: str | None, diff: str) -> None:
        self._turns[author, turn] = diff

    def artifacts(self) -> list[ArtifactAdded]:
        """One of the agent's own turns, one of each sub-agent's; none of nothing."""
        whole: dict[str | None, str] = {}
        for (author, _), diff in self._turns.items():
            whole[author] = whole.get(author, "") + diff
        return [_artifact(author, diff) for author, diff in whole.items() if diff]


def _artifact(author: str | None, diff: str) -> ArtifactAdded:
    part: JsonObject = {"text": diff, "mediaType": MEDIA_TYPE}
    by = "" if author is None else " by a sub-agent"
    return ArtifactAdded(
        artifact_id="turn-diff" if author is None else f"turn-diff-{author}",
        name="turn.diff",
        description=f"All file changes of the run{by} as one diff",
        parts=[part],
        text=diff,
        extra=merge_null({"agent": author}),
    )
