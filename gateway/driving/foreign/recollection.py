"""What of a foreign agent's run stands in our own log already, for who takes it up again.

Knows the log. Messages and artifacts were told under the digest of what the agent sent, so a task
that shows them again adds only what came while nobody listened.
"""

from dataclasses import dataclass, field
from typing import Any, Final

from gateway.core import json, redact
from gateway.core.events import ArtifactAdded, AuthRequired, InputRequired, MessageAdded
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.store.entry import Recorded
from gateway.core.store.log import RunLog
from gateway.driving.foreign.artifacts import digest, output_of, read_parts, text_of

PAGE: Final = 500  # events
REPAIR: Final = "schema_repair"  # the reason of a message that asks for a better answer
_TYPES: Final = (MessageAdded.type, ArtifactAdded.type, InputRequired.type, AuthRequired.type)


@dataclass(slots=True, kw_only=True)
class Known:
    """`said`: digests of messages, `artifacts`: id -> digest, `asked`: digest of the last
    question, `questions`: how many there were, `unheard`: the message id of the last follow-up
    when nothing of the agent came after it, `repair`: that of the one for a better answer."""

    said: set[int] = field(default_factory=set[int])
    artifacts: dict[str, str] = field(default_factory=dict[str, str])
    asked: str | None = None
    questions: int = 0
    unheard: str | None = None
    repair: str | None = None
    last_text: str | None = None
    text: str | None = None
    output: Any = None


def mark_of(raw: JsonObject) -> str:
    """The digest of a message: of its id and parts, since some agents use an id twice."""
    return digest([raw.get("messageId"), raw.get("parts")])


async def known_of(log: RunLog, run: Run) -> Known:
    """What the log says of `run` as far as it is kept."""
    known = Known()
    spoken: Recorded | None = None
    made: Recorded | None = None
    after = run.first_seq - 1
    while page := await log.read(run.id, after, PAGE, _TYPES):
        for event in page:
            data = json.decode_object(event.data)
            _learn(known, event.type, data)
            if event.type == MessageAdded.type and data.get("role") == "agent" and "text" in data:
                spoken = event
            elif event.type == ArtifactAdded.type:
                made = event
        after = page[-1].seq
    if spoken is not None:
        known.last_text = (await _whole(log, run, spoken)).get("text") or None
    if made is not None and known.repair is None:
        parts = read_parts(await _whole(log, run, made))
        known.text, known.output = text_of(parts), output_of(parts)
    return known


def _learn(known: Known, type_: str, data: JsonObject) -> None:
    mark = data.get("digest")
    if data.get("sent_as") is not None:
        known.unheard = str(data["sent_as"])
        if data.get("reason") == REPAIR:
            known.repair = known.unheard
        return
    if type_ == MessageAdded.type:
        if isinstance(mark, str):
            known.said.add(int(mark, 16))
    elif type_ == ArtifactAdded.type:
        known.artifacts[str(data.get("artifact_id"))] = str(mark or "")
    else:
        known.asked = mark if isinstance(mark, str) else None
        known.questions += 1
    known.unheard = None


async def _whole(log: RunLog, run: Run, event: Recorded) -> JsonObject:
    data = json.decode_object(event.data)
    if not redact.refs_of(data):
        return data
    return redact.join(data, await log.payloads(run.id, event.seq))
