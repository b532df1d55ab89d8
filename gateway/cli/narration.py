"""A run's events told to a person: one entry each, in safe text. Pure; knows no terminal.

An entry is a word, what happened, and lines below it. Styles are names that rich knows; whoever
prints without colour leaves them out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.cli import plain
from gateway.cli.plain import objects, safe, string
from gateway.core import json
from gateway.core.json import JsonObject, as_object

LINE_MAX: Final = 200  # characters of a line that stands for something longer
BRIEF_LINES: Final = 8  # of a command's output where only progress is shown
SAID_LINES: Final = 4  # of a message there, beside its first
_REFS: Final = "artifact_refs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`head` is one line, `body` any number of them."""

    word: str
    head: str
    body: tuple[str, ...] = ()
    style: str = ""

    def text(self, margin: str = "") -> str:
        below = margin + " " * (WORD + 1)
        return "\n".join(
            [
                f"{margin}{self.word:<{WORD}} {self.head}".rstrip(),
                *(below + one for one in self.body),
            ]
        )


WORD: Final = 9  # the longest word


class Narrator:
    """Tells the events of one run in order. `brief` cuts what is long, for progress."""

    def __init__(self, *, brief: bool = False) -> None:
        self._brief = brief
        self._seen: set[str] = set()  # commands whose output was told as it came

    def entry(self, event: JsonObject) -> Entry | None:
        """What to print of an event; None when there is nothing new in it."""
        type_, data = string(event.get("type")), as_object(event.get("data"))
        tell = _TELLERS.get(type_)
        if tell is None:
            return Entry(word=plain.line(type_, WORD), head=plain.line(json.encode(data), LINE_MAX))
        entry = tell(data)
        if type_ == "command_updated":
            self._seen.add(string(data.get("tool_use_id")))
            if not (entry.head or entry.body):
                return None  # a sign of life
        if type_ == "command_finished" and string(data.get("tool_use_id")) in self._seen:
            entry = Entry(word=entry.word, head=entry.head, style=entry.style)
        return self._fitted(entry, event, data)

    def _fitted(self, entry: Entry, event: JsonObject, data: JsonObject) -> Entry:
        body = entry.body
        if self._brief and entry.word == "agent" and len(body) > SAID_LINES:
            body = (*body[:SAID_LINES], "…")  # the whole follows as the answer, or is in the log
        if self._brief and len(body) > BRIEF_LINES and entry.word in _CUT_WHEN_BRIEF:
            body = (f"… {len(body) - BRIEF_LINES} lines before", *body[-BRIEF_LINES:])
        refs = as_object(data.get(_REFS)) if not self._brief else {}
        whole = tuple(
            f"(cut; whole, {plain.size(int(as_object(ref).get('total_bytes') or 0))}: "
            f"runs artifact {plain.short_id(string(event.get('run_id')))} {event.get('seq')} "
            f"{plain.line(pointer)})"
            for pointer, ref in refs.items()
        )
        return Entry(word=entry.word, head=entry.head, body=(*body, *whole), style=entry.style)


def lines(text: object) -> tuple[str, ...]:
    """The lines of a text, made safe; empty ones at its end are left out."""
    return tuple(safe(string(text)).rstrip().splitlines())


def _said(word: str, text: object, style: str = "") -> Entry:
    head, *body = lines(text) or ("",)
    return Entry(word=word, head=head, body=tuple(body), style=style)


def _started(data: JsonObject) -> Entry:
    about = ("model", "requested_model", "thread_id", "backend_session_id", "agent_url")
    told = [f"{key} {plain.line(str(data[key]), 60)}" for key in about if data.get(key)]
    return Entry(word="started", head=", ".join(told), style="dim")


def _status(data: JsonObject) -> Entry:
    status = plain.line(string(data.get("status")))
    if resolved := data.get("resolved"):
        by = f" by {plain.line(str(data['by']))}" if data.get("by") else ""
        return Entry(
            word="request",
            head=f"{plain.line(str(resolved))} {plain.line(str(data.get('how') or 'resolved'))}{by}",
            style="dim",
        )
    said = [plain.line(str(data[key]), LINE_MAX) for key in ("reason", "message") if data.get(key)]
    if data.get("cancel_requested_at"):
        said.append("a cancel was asked for")
    style = "red" if status == "cancelled" else "dim"
    return Entry(word="status", head=": ".join([status, *said]), style=style)


def _message(data: JsonObject) -> Entry:
    role = plain.line(string(data.get("role")), WORD) or "message"
    text = data.get("text")
    if not text:  # an answer is a data part
        parts = [
            part.get("data", part) for part in objects(as_object(data.get("message")).get("parts"))
        ]
        text = " ".join(json.encode(part) for part in parts)[:LINE_MAX]
    return _said(role, text)


def _command(data: JsonObject) -> str:
    return "$ " + (plain.line(string(data.get("command")), LINE_MAX) or "(a command)")


def _command_started(data: JsonObject) -> Entry:
    return Entry(word="command", head=_command(data), style="cyan")


def _command_updated(data: JsonObject) -> Entry:
    return _said("output", data.get("output"), "dim")


def _command_finished(data: JsonObject) -> Entry:
    code, status = data.get("exit_code"), plain.line(string(data.get("status")))
    ended = f"exit {code}" if isinstance(code, int) else status or "ended"
    good = code in (None, 0) and status in ("", "completed", "background")
    return Entry(
        word="finished",
        head=f"{_command(data)}: {ended}",
        body=lines(data.get("output")),
        style="dim" if good else "red",
    )


def _files(data: JsonObject) -> Entry:
    changes = objects(data.get("changes"))
    told = [
        f"{plain.line(string(c.get('kind'))) or 'change'} {plain.line(string(c.get('path')))}"
        for c in changes
    ]
    if len(changes) == 1:
        return Entry(word="file", head=told[0], body=lines(changes[0].get("diff")), style="cyan")
    return Entry(word="files", head=f"{len(changes)} changed", body=tuple(told), style="cyan")


def _tool_started(data: JsonObject) -> Entry:
    given = data.get("input") or data.get("arguments")
    shown = "" if not given else " " + _value(given)
    return Entry(word="tool", head=_tool(data) + shown, style="cyan")


def _tool_finished(data: JsonObject) -> Entry:
    status = plain.line(string(data.get("status"))) or "ended"
    result = data.get("output") or data.get("result")
    shown = "" if not result else f": {_value(result)}"
    style = "dim" if status == "completed" else "red"
    return Entry(word="tool", head=f"{_tool(data)} {status}{shown}", style=style)


def _tool(data: JsonObject) -> str:
    return plain.line(string(data.get("tool"))) or "(a tool)"


def _value(value: Any) -> str:
    return plain.line(value if isinstance(value, str) else json.encode(value), LINE_MAX)


def _artifact(data: JsonObject) -> Entry:
    name = plain.line(string(data.get("name")) or string(data.get("artifact_id")))
    parts = objects(data.get("parts"))
    body = lines(data.get("text")) or tuple(_part(part) for part in parts)
    return Entry(word="artifact", head=name, body=body, style="green")


def _part(part: JsonObject) -> str:
    if "text" in part:
        return plain.line(string(part["text"]), LINE_MAX)
    about = [string(part.get(key)) for key in ("filename", "mediaType", "url")]
    told = " ".join(plain.line(one, LINE_MAX) for one in about if one)
    return told or plain.line(json.encode(part), LINE_MAX)


def _todo(data: JsonObject) -> Entry:
    items = objects(data.get("items"))
    done = sum(bool(item.get("completed")) for item in items)
    body = (
        f"[{'x' if item.get('completed') else ' '}] {plain.line(string(item.get('text')), LINE_MAX)}"
        for item in items
    )
    return Entry(word="todo", head=f"{done} of {len(items)} done", body=tuple(body), style="dim")


def _asks(data: JsonObject) -> Entry:
    return _said("asks", data.get("text"), "yellow")


def _login(data: JsonObject) -> Entry:
    return _said("login", data.get("text"), "yellow")


def _rejected(data: JsonObject) -> Entry:
    return _said("rejected", _with_reason(data), "red")


def _failed(data: JsonObject) -> Entry:
    return _said("failed", _with_reason(data), "red")


def _with_reason(data: JsonObject) -> str:
    reason = f" ({data['reason']})" if data.get("reason") else ""
    return f"{string(data.get('message'))}{reason}"


def _completed(data: JsonObject) -> Entry:
    text = data.get("final_response")
    if text is None and data.get("structured_output") is not None:
        text = json.encode(data["structured_output"])
    return _said("completed", text, "green")


_CUT_WHEN_BRIEF: Final = frozenset({"output", "finished", "thought", "file", "artifact"})
_TELLERS: Final[Mapping[str, Callable[[JsonObject], Entry]]] = {
    "run_started": _started,
    "status_changed": _status,
    "agent_message": lambda data: _said("agent", data.get("text")),
    "message_added": _message,
    "reasoning": lambda data: _said("thought", data.get("text"), "dim"),
    "command_started": _command_started,
    "command_updated": _command_updated,
    "command_finished": _command_finished,
    "file_changed": _files,
    "tool_started": _tool_started,
    "tool_finished": _tool_finished,
    "artifact_added": _artifact,
    "todo_updated": _todo,
    "input_required": _asks,
    "auth_required": _login,
    "rejected": _rejected,
    "run_completed": _completed,
    "run_failed": _failed,
}
EVENT_WORDS: Final = frozenset(_TELLERS)
