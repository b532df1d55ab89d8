"""A run, its result, its session and its events as the files of a run folder say them.

Pure: values in, JSON out. The names of files and keys are a contract (`runs/<run_id>/run.json` …);
run and session documents are camelCase, events are as `poll_events` shows them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.core import json, messages, redact
from gateway.core.clock import iso
from gateway.core.json import JsonObject
from gateway.core.messages import InvalidMessageError, Message
from gateway.core.record import Run, Session
from gateway.core.store.entry import Recorded

HAS_REFS: Final = f'"{redact.REFS}"'
# JSON lets these stand in a string as they are, and readers that split lines as Unicode does
# (Python's splitlines, Node's readline) end a line at them.
_LINE_ENDS: Final = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}


def run_document(run: Run, result: JsonObject | None) -> JsonObject:
    """`run.json`. Times are ISO 8601; `error` is the text, its code stands in the last event."""
    document: JsonObject = {
        "runId": run.id,
        "backend": run.backend,
        "role": run.request.role,
        "sessionId": run.context_id,
        "agentName": _agent_name(run.nickname, run.context_id),
        "status": run.status.value,
        "cwd": run.request.cwd,
        "prompt": _prompt(run.message),
    }
    if run.request.profile is not None:
        document["profile"] = run.request.profile.source
    return {
        **document,
        "metadata": run.metadata,
        "remoteRef": run.remote and run.remote.ref,
        "startedAt": iso(run.started_at or run.created_at),
        "updatedAt": iso(run.updated_at),
        "completedAt": None if run.completed_at is None else iso(run.completed_at),
        "lastSeq": run.last_seq,
        "summary": run.summary,
        "result": result,
        "error": None if run.error is None else run.error.message,
    }


def result_document(run: Run, made: Mapping[int, JsonObject]) -> JsonObject | None:
    """`result.json`: what a run came to, None when nothing. `made`: the inline data of the events
    that hold its artifacts, by seq."""
    result = run.result
    if result is None:
        return None
    document: JsonObject = {"finalResponse": result.final_response}
    if result.structured_output is not None:
        document["structuredOutput"] = result.structured_output
    if result.usage is not None:
        document["usage"] = result.usage
    if result.artifacts:
        document["artifacts"] = [_artifact(item, made) for item in result.artifacts]
    return document


def session_document(session: Session) -> JsonObject:
    """`sessions/<session_id>.json`."""
    return {
        "sessionId": session.id,
        "backend": session.backend,
        "cwd": session.cwd,
        "agentName": _agent_name(session.nickname, session.id),
        "backendSessionId": session.backend_session_id,
        "remoteRef": session.remote and session.remote.ref,
        "createdAt": iso(session.created_at),
        "updatedAt": iso(session.updated_at),
        "metadata": session.metadata,
    }


class EventLines:
    """The lines of one run's `events.jsonl`."""

    def __init__(self, run: Run) -> None:
        ids = {"run_id": run.id, "session_id": run.context_id, "backend": run.backend}
        self._ids = json.encode(ids)[1:-1] + ',"type":"'
        self._second = (-1, "")  # unix seconds, and how a time within it begins

    def lines(self, events: Sequence[Recorded]) -> tuple[bytes, bool]:
        """Events, each with a newline behind it, and whether something was split off one of them.

        Their data goes as it was stored; only the files of what was split off are added.
        """
        text = self._joined(events)
        if split := HAS_REFS in text:
            text = self._joined([_with_paths(event) for event in events])
        if not text.isascii():
            text = text.translate(_LINE_ENDS)
        return text.encode(), split

    def _joined(self, events: Sequence[Recorded]) -> str:
        # Formatted by `%`, the second's text kept: 0.4 us an event, half of an f-string with `iso`.
        ids, lines = self._ids, list[str]()
        second, begin = self._second
        for seq, ts, type_, _, data in events:
            if ts // 1_000_000 != second:
                second, begin = ts // 1_000_000, iso(ts)[:-7]
                self._second = (second, begin)
            values = (seq, begin, ts % 1_000_000, ids, type_, data)
            lines.append('{"seq":%d,"ts":"%s%06dZ",%s%s","data":%s}\n' % values)  # noqa: UP031
        return "".join(lines)


def _with_paths(event: Recorded) -> Recorded:
    if HAS_REFS not in event.data:
        return event
    data = json.decode_object(event.data)
    if refs := redact.refs_of(data):
        path = redact.relpath(event.seq, event.type)
        data[redact.REFS] = {pointer: {**ref, "relpath": path} for pointer, ref in refs.items()}
    return event._replace(data=json.encode(data))


def _agent_name(nickname: str | None, context_id: str) -> str:
    return nickname or f"agent-{context_id[:8]}"


def _prompt(message: Message) -> str:
    """What was asked for in one text; a part that is none is named by its JSON or its file."""
    said: list[str] = []
    for part in messages.to_contract(message)["parts"]:
        match part["type"]:
            case "text":
                said.append(part["text"])
            case "data":
                said.append(json.encode(part["data"]))
            case _:
                said.append(f"Attached file: {part.get('name') or part.get('uri') or 'unnamed'}")
    return "\n".join(said)


def _artifact(item: JsonObject, made: Mapping[int, JsonObject]) -> JsonObject:
    """An artifact with its parts as far as they stand in its event: what was split off stays in
    that event's files alone, `artifactRefs` says which, and `seq` is the event's."""
    data = made.get(item.get("seq", 0), {})
    document: JsonObject = {
        "artifactId": item.get("artifact_id"),
        "name": item.get("name"),
        "description": item.get("description"),
        "parts": _parts(data.get("parts")),
        "metadata": json.as_object(data.get("metadata")),
        "seq": item.get("seq"),
    }
    if refs := redact.refs_of(data):
        path = redact.relpath(item["seq"], "artifact_added")
        document["artifactRefs"] = {at: {**ref, "relpath": path} for at, ref in refs.items()}
    return document


def _parts(wire: Any) -> Sequence[JsonObject]:
    """A2A parts in the contract's form; one that cannot be read stays as it is."""
    parts: list[JsonObject] = []
    for part in json.objects(wire):
        try:
            read = messages.part_from_wire(part)
        except InvalidMessageError:
            parts.append(part)
            continue
        parts += messages.to_contract(Message(message_id="", role="agent", parts=(read,)))["parts"]
    return parts
