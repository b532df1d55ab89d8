"""Files that Claude Code's tools and commands changed -> file changes with unified diffs.

Pure: reads no file. Diffs are without file names. A sub-agent's edit is known by its input alone:
the line numbers of its diff count from the start of the replaced text.
"""

import difflib
import itertools
from collections.abc import Sequence
from typing import Final, cast

from gateway.core.events import Event, FileChanged
from gateway.core.json import JsonObject, as_object, merge_null
from wrappers.claude.values import objects

FILE_TOOLS: Final = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
# Characters before and after, above which no diff is worked out: this many take difflib 0.04 s.
COMPARED_MAX: Final = 500_000
_KINDS: Final = {"created": "add", "deleted": "delete"}
_NO_NEWLINE: Final = "\\ No newline at end of file"
_CREATED: Final = "File created"  # how the text of a Write begins that made a new file


def changed_by_tool(
    tool: str, given: JsonObject, text: str, details: JsonObject, by: JsonObject
) -> list[Event]:
    """The change of a file tool that succeeded. `given` is its input, `text` its result's; `by`
    says which call it was."""
    path = details.get("filePath") or details.get("notebook_path")
    if path is not None:
        change = _of_result(str(path), details)
    else:
        path = given.get("file_path") or given.get("notebook_path")
        if path is None:
            return []
        change = _of_input(tool, str(path), given, text)
    return [FileChanged(changes=[merge_null(change)], status="completed", extra=by)]


def changed_by_command(details: JsonObject, by: JsonObject) -> list[Event]:
    """What Claude Code saw a command change in a git work tree: diffs of the first few files, the
    names of others."""
    seen = as_object(details.get("bashEditDiff"))
    changes: list[JsonObject] = [
        merge_null(
            {
                "path": file.get("filePath"),
                "kind": next((kind for key, kind in _KINDS.items() if file.get(key)), "update"),
                "diff": diff_of(file.get("hunks")) or None,
            }
        )
        for file in objects(seen.get("files"))
    ]
    told = {change.get("path") for change in changes}
    names = seen.get("changedFiles")
    others = cast("list[object]", names) if isinstance(names, list) else []
    changes += [{"path": name, "kind": "update"} for name in others if name not in told]
    return [FileChanged(changes=changes, status="completed", extra=by)] if changes else []


def _of_result(path: str, details: JsonObject) -> JsonObject:
    if details.get("type") == "create":
        return {"path": path, "kind": "add", "diff": _diff("", str(details.get("content") or ""))}
    if "updated_file" in details:  # a notebook
        diff = _diff(str(details.get("original_file") or ""), str(details["updated_file"]))
        return {"path": path, "kind": "update", "diff": diff}
    return {"path": path, "kind": "update", "diff": diff_of(details.get("structuredPatch")) or None}


def _of_input(tool: str, path: str, given: JsonObject, text: str) -> JsonObject:
    match tool:
        case "Write" if text.startswith(_CREATED):
            return {"path": path, "kind": "add", "diff": _diff("", str(given.get("content") or ""))}
        case "Edit":
            old, new = (_ended(given.get(key)) for key in ("old_string", "new_string"))
            return {"path": path, "kind": "update", "diff": _diff(old, new)}
        case _:
            return {"path": path, "kind": "update"}


def _ended(text: object) -> str:
    """A piece of a file as whole lines."""
    text = str(text or "")
    return text if text.endswith("\n") or not text else f"{text}\n"


def diff_of(hunks: object) -> str:
    """The diff text of `structuredPatch` hunks."""
    lines: list[str] = []
    for hunk in objects(hunks):
        old = f"-{hunk.get('oldStart', 0)},{hunk.get('oldLines', 0)}"
        new = f"+{hunk.get('newStart', 0)},{hunk.get('newLines', 0)}"
        lines.append(f"@@ {old} {new} @@")
        lines += [str(line) for line in cast("Sequence[object]", hunk.get("lines") or ())]
    return "".join(f"{line}\n" for line in lines)


def _diff(old: str, new: str) -> str | None:
    """None where nothing differs, or there is too much to compare."""
    if old == new or len(old) + len(new) > COMPARED_MAX:
        return None
    told = difflib.unified_diff(_lines(old), _lines(new), n=3)
    hunks = itertools.islice(told, 2, None)  # without the two lines that name the files
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}\n" for line in hunks)


def _lines(text: str) -> list[str]:
    """Lines with their ends. Not splitlines(): a line of a file ends at a line feed alone."""
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines
