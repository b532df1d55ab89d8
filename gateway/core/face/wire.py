"""Events of a run as A2A stream items, in JSON text.

Pure. The `data` of an event was serialised when it was appended; an item wraps it by concatenation
and never encodes it again (protobuf's JSON costs 29 us for 400 bytes, this 3). Which event becomes
which item is one table, the functions `message_of` and `TaskItems.items`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from gateway.core import extension, json, messages, redact
from gateway.core.clock import iso
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, InvalidMessageError, Message, TextPart
from gateway.core.status import TASK_STATES, RunStatus
from gateway.core.store.entry import Recorded

FINAL_RESPONSE: Final = "final-response"  # the artifact id of a run's answer
MESSAGE_TYPES: Final = (
    "agent_message",
    "message_added",
    "input_required",
    "auth_required",
    "rejected",
    "run_failed",
)
ARTIFACT_TYPE: Final = "artifact_added"
COMPLETED_TYPE: Final = "run_completed"
# Events whose text or parts leave as A2A parts, which are always complete.
SPOKEN_TYPES: Final = frozenset({*MESSAGE_TYPES, ARTIFACT_TYPE, COMPLETED_TYPE})
ASKING_TYPES: Final = frozenset({"input_required", "auth_required"})
OVERLONG: Final = "message"  # the name of the artifact that has a message's long texts whole
_CUT: Final = 4096  # characters of such a text that stay in the message
PIECE: Final = 1024 * 1024  # characters; longer texts leave as appended artifact parts

_HAS_REFS: Final = f'"{redact.REFS}"'
_URI: Final = json.encode(extension.URI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One A2A stream item as JSON text in UTF-8; `seq` when an event is complete with it."""

    body: bytes
    seq: int | None = None


def is_split(event: Recorded) -> bool:
    """True when the event's inline data is not enough for its A2A parts."""
    return event.type in SPOKEN_TYPES and _HAS_REFS in event.data


def message_of(run_id: str, seq: int, type_: str, data: Mapping[str, Any]) -> Message | None:
    """What an event says, None for events that say nothing. A caller's message keeps its id."""
    own_id = f"{run_id}:{seq}"
    match type_:
        case "agent_message" | "auth_required":
            return said(own_id, data.get("text"))
        case "rejected" | "run_failed":
            return said(own_id, data.get("message"))
        case "input_required":
            pending = DataPart(data={"pending": data.get("pending", [])})
            return Message(
                message_id=own_id,
                role="agent",
                parts=(TextPart(text=str(data.get("text", ""))), pending),
            )
        case "message_added":
            return _added(own_id, data)
        case _:
            return None


def without_overlong(message: Message, artifact_id: str) -> tuple[Message, JsonObject | None]:
    """The message with its texts over `PIECE` cut short, and the artifact that has them whole: a
    message travels in one item, an artifact in as many as it takes."""
    whole = [
        part for part in message.parts if isinstance(part, TextPart) and len(part.text) > PIECE
    ]
    if not whole:
        return message, None
    note = f"\n...[truncated, see artifact {artifact_id}]"
    parts = tuple(TextPart(text=p.text[:_CUT] + note) if p in whole else p for p in message.parts)
    artifact = {"artifactId": artifact_id, "name": OVERLONG}
    made = artifact | {"parts": [messages.part_to_wire(part) for part in whole]}
    return replace(message, parts=parts), made


def said(message_id: str, text: object) -> Message:
    """The agent's message of one text."""
    return Message(message_id=message_id, role="agent", parts=(TextPart(text=str(text or "")),))


def _added(own_id: str, data: Mapping[str, Any]) -> Message:
    role = "user" if data.get("role") == "user" else "agent"
    raw = json.as_object(data.get("message"))
    try:
        given = messages.from_wire(raw)
    except InvalidMessageError:
        given = None
    if given is not None and given.parts:
        message_id = given.message_id if role == "user" and given.message_id else own_id
        return Message(message_id=message_id, role=role, parts=given.parts, metadata=given.metadata)
    text = data.get("text")
    part = DataPart(data=raw) if raw and text is None else TextPart(text=str(text or ""))
    return Message(message_id=own_id, role=role, parts=(part,))


class TaskItems:
    """Turns the events of one run into stream items.

    `extended`: the coding-run extension is active, so every event is an item and carries its seq
    and data; without it only what an A2A client understands is sent.
    """

    def __init__(self, run_id: str, context_id: str, *, extended: bool) -> None:
        self._run_id = run_id
        self._context_id = context_id
        self._extended = extended
        self._ids = f'"taskId":{json.encode(run_id)},"contextId":{json.encode(context_id)}'

    def items(
        self, event: Recorded, before: RunStatus, whole: JsonObject | None = None
    ) -> list[Item]:
        """The items of an event; `before` is the status the reader saw last, `whole` the event's
        data when `is_split(event)`."""
        if event.type not in SPOKEN_TYPES:
            if self._extended or event.status is not before:
                return [self._status(event, "")]
            return []
        data = json.decode_object(event.data) if whole is None else whole
        if event.type == ARTIFACT_TYPE:
            return list(self._artifact(event, data))
        if event.type == COMPLETED_TYPE:
            return [*self._final_response(data), self._status(event, "")]
        message = message_of(self._run_id, event.seq, event.type, data)
        if message is None:
            return [self._status(event, "")]
        short, overlong = without_overlong(message, f"{self._run_id}:{event.seq}")
        pieces = self._in_pieces(overlong, overlong["parts"], None) if overlong else ()
        return [*pieces, self._status(event, self._message(short))]

    def _message(self, message: Message) -> str:
        wire = messages.to_wire(message, task_id=self._run_id, context_id=self._context_id)
        return f',"message":{json.encode(wire)}'

    def _status(self, event: Recorded, message: str) -> Item:
        at = iso(event.ts)
        status = f'{{"state":"{TASK_STATES[event.status]}","timestamp":"{at}"{message}}}'
        metadata = self._metadata(event, at)
        body = f'{{"statusUpdate":{{{self._ids},"status":{status}{metadata}}}}}'
        return Item(body=body.encode(), seq=event.seq)

    def _metadata(self, event: Recorded, at: str) -> str:
        if not self._extended:
            return ""
        about = f'"seq":{event.seq},"ts":"{at}","type":"{event.type}","data":{event.data}'
        return f',"metadata":{{{_URI}:{{{about}}}}}'

    def _artifact(self, event: Recorded, data: JsonObject) -> Iterator[Item]:
        return self._in_pieces(artifact_of(data), data["parts"], event)

    def _in_pieces(
        self, artifact: JsonObject, all_parts: Iterable[JsonObject], event: Recorded | None
    ) -> Iterator[Item]:
        """An artifact in updates of bounded size; the last carries the event that it is."""
        pieces = _pieces(all_parts)
        for number, parts in enumerate(pieces):
            last = number == len(pieces) - 1
            metadata, seq = "", None
            if event is not None and last:
                metadata, seq = self._metadata(event, iso(event.ts)), event.seq
            yield self._update({**artifact, "parts": parts}, number > 0, last, metadata, seq)

    def _final_response(self, data: JsonObject) -> Iterator[Item]:
        """The answer precedes COMPLETED; only that second item carries the event's seq."""
        if answer := answer_parts(data.get("final_response"), data.get("structured_output")):
            yield from self._in_pieces(answer_of([]), answer, None)

    def _update(
        self, artifact: JsonObject, append: bool, last: bool, metadata: str, seq: int | None
    ) -> Item:
        flags = f'"append":{json.encode(append)},"lastChunk":{json.encode(last)}'
        body = f'{self._ids},"artifact":{json.encode(artifact)},{flags}{metadata}'
        item = f'{{"artifactUpdate":{{{body}}}}}'
        return Item(body=item.encode(), seq=seq)


def artifact_of(data: Mapping[str, Any]) -> JsonObject:
    """The A2A artifact of an artifact_added event, without its parts."""
    return json.merge_null(
        {
            "artifactId": data["artifact_id"],
            "name": data.get("name"),
            "description": data.get("description"),
        }
    )


def answer_of(parts: list[JsonObject]) -> JsonObject:
    """The A2A artifact of a run's answer."""
    return {"artifactId": FINAL_RESPONSE, "name": FINAL_RESPONSE, "parts": parts}


def answer_parts(final_response: str | None, structured_output: Any) -> list[JsonObject]:
    """The parts of a run's answer, none when it gave none."""
    parts: list[JsonObject] = []
    if final_response is not None:
        parts.append({"text": final_response})
    if structured_output is not None:
        parts.append({"data": structured_output})
    return parts


def _pieces(parts: Iterable[JsonObject]) -> list[list[JsonObject]]:
    """`parts` in as many updates as it takes to keep every text below `PIECE`; at least one."""
    pieces: list[list[JsonObject]] = []
    together: list[JsonObject] = []
    for part in parts:
        text = part.get("text")
        if not isinstance(text, str) or len(text) <= PIECE:
            together.append(part)
            continue
        if together:
            pieces.append(together)
        together = []
        pieces += [[{**part, "text": text[at : at + PIECE]}] for at in range(0, len(text), PIECE)]
    if together or not pieces:
        pieces.append(together)
    return pieces
