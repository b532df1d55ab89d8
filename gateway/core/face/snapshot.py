"""A run as an A2A task at one moment: status, history and artifacts, in JSON text, UTF-8.

Pure: it is told what the run's events said (`Spoken`) and reads nothing. The text comes in pieces,
one a message or artifact, so that whoever joins a large task can let others run in between.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gateway.core import extension, json, messages
from gateway.core.clock import iso
from gateway.core.face import wire
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.record import Result, Run
from gateway.core.status import TASK_STATES, WAITING, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """An event whose words a task shows, with its complete data."""

    seq: int
    type: str
    data: JsonObject


def task_pieces(
    run: Run,
    spoken: Sequence[Spoken],
    *,
    history_length: int,
    artifacts: bool = True,
    log_id: str | None = None,
    standing: JsonObject | None = None,
) -> Iterator[bytes]:
    """The A2A task of a run. `log_id`: the extension is active, so its facts are added,
    and `standing`: how alive an active run looks, or where it is queued."""
    current = status_message(run, spoken)
    ids = f'"id":{json.encode(run.id)},"contextId":{json.encode(run.context_id)}'
    status = f'"state":"{TASK_STATES[run.status]}","timestamp":"{iso(run.status_at)}"'
    yield f'{{{ids},"status":{{{status}'.encode()
    if current is not None:
        yield b',"message":'
        yield _message(current, run)
    yield b"}"
    if artifacts:
        yield from _listed("artifacts", _artifacts(run, spoken))
    history = history_of(run, spoken, current, history_length)
    yield from _listed("history", (_message(message, run) for message in history))
    if log_id is not None:
        facts = {
            extension.LOG_ID_KEY: log_id,
            extension.LAST_SEQ_KEY: run.last_seq,
            **(standing or {}),
        }
        yield b',"metadata":' + json.dump({extension.URI: facts})
    yield b"}"


def status_message(run: Run, spoken: Sequence[Spoken]) -> Message | None:
    """What the run's present status says: the question it waits with, or why it ended."""
    if run.status in (RunStatus.FAILED, RunStatus.REJECTED) and run.error is not None:
        return wire.said(f"{run.id}:{run.last_seq}", run.error.message)
    if run.status not in WAITING:
        return None
    asked = next((event for event in reversed(spoken) if event.type in wire.ASKING_TYPES), None)
    if asked is None:
        return None
    data = asked.data
    if run.status is RunStatus.INPUT_REQUIRED:
        # Others of the list may have been answered since. The event has them whole, the run may not.
        left = {request.request_id for request in run.pending}
        data = {**data, "pending": [r for r in data["pending"] if r["request_id"] in left]}
    return wire.message_of(run.id, asked.seq, asked.type, data)


def history_of(
    run: Run, spoken: Sequence[Spoken], current: Message | None, length: int
) -> list[Message]:
    """The last `length` messages before `current`, the one that the status carries."""
    found = [run.message]
    for event in spoken:
        message = wire.message_of(run.id, event.seq, event.type, event.data)
        if message is not None and (current is None or message.message_id != current.message_id):
            found.append(wire.without_overlong(message, f"{run.id}:{event.seq}")[0])
    return found[-length:] if length else []


def _artifacts(run: Run, spoken: Sequence[Spoken]) -> Iterator[bytes]:
    """The run's artifacts, the newest of each id, and its answer as the last."""
    found: dict[str, JsonObject] = {}
    for event in spoken:
        if event.type == wire.ARTIFACT_TYPE:
            artifact = wire.artifact_of(event.data) | {"parts": event.data["parts"]}
            found.pop(artifact["artifactId"], None)
            found[artifact["artifactId"]] = artifact
        elif (message := wire.message_of(run.id, event.seq, event.type, event.data)) is not None:
            overlong = wire.without_overlong(message, f"{run.id}:{event.seq}")[1]
            if overlong is not None:
                found[overlong["artifactId"]] = overlong
    result = run.result or Result()
    if run.status is RunStatus.COMPLETED and (
        answer := wire.answer_parts(result.final_response, result.structured_output)
    ):
        found.pop(wire.FINAL_RESPONSE, None)
        found[wire.FINAL_RESPONSE] = wire.answer_of(answer)
    return (json.dump(artifact) for artifact in found.values())


def _listed(name: str, items: Iterator[bytes]) -> Iterator[bytes]:
    """A member with a list; nothing at all for an empty one, as protobuf prints it."""
    opening = f',"{name}":['.encode()
    for item in items:
        yield opening
        yield item
        opening = b","
    if opening == b",":
        yield b"]"


def _message(message: Message, run: Run) -> bytes:
    return json.dump(messages.to_wire(message, task_id=run.id, context_id=run.context_id))
