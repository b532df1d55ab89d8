"""A run as an A2A task: status, history and artifacts at one moment, in protobuf.

Pure: it is told what the run's events said (`Spoken`) and reads nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from a2a.types import Artifact, Part, Task, TaskStatus
from a2a.types import Message as ProtoMessage
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.core import extension, messages
from gateway.core.face import wire
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, Message, TextPart
from gateway.core.record import Result, Run
from gateway.core.status import TASK_STATES, WAITING, RunStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """An event whose words a task shows, with its complete data."""

    seq: int
    type: str
    data: JsonObject


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
        # Others of the list may have been answered since.
        data = {**data, "pending": [request.to_json() for request in run.pending]}
    return wire.message_of(run.id, asked.seq, asked.type, data)


def history_of(run: Run, spoken: Sequence[Spoken], length: int) -> list[Message]:
    """The last `length` messages before the one that the status carries."""
    current = status_message(run, spoken)
    found = [run.message]
    for event in spoken:
        message = wire.message_of(run.id, event.seq, event.type, event.data)
        if message is not None and (current is None or message.message_id != current.message_id):
            found.append(message)
    return found[-length:] if length else []


def artifacts_of(run: Run, spoken: Sequence[Spoken]) -> list[Artifact]:
    """The run's artifacts, the newest of each id, and its answer as the last."""
    found: dict[str, Artifact] = {}
    for event in spoken:
        if event.type == wire.ARTIFACT_TYPE:
            data = event.data
            artifact = Artifact(
                artifact_id=data["artifact_id"],
                name=data.get("name") or "",
                description=data.get("description") or "",
                parts=[_proto_part(messages.part_from_wire(part)) for part in data["parts"]],
            )
            found.pop(artifact.artifact_id, None)
            found[artifact.artifact_id] = artifact
    result = run.result or Result()
    if run.status is RunStatus.COMPLETED and (
        answer := wire.answer_parts(result.final_response, result.structured_output)
    ):
        parts = [_proto_part(messages.part_from_wire(part)) for part in answer]
        found[wire.FINAL_RESPONSE] = Artifact(
            artifact_id=wire.FINAL_RESPONSE, name=wire.FINAL_RESPONSE, parts=parts
        )
    return list(found.values())


def task_of(
    run: Run,
    spoken: Sequence[Spoken],
    *,
    history_length: int,
    artifacts: bool = True,
    log_id: str | None = None,
) -> Task:
    """The A2A task of a run. `log_id`: the extension is active, so its facts are added."""
    status = TaskStatus(state=TASK_STATES[run.status], timestamp=timestamp(run.updated_at))
    if (current := status_message(run, spoken)) is not None:
        status.message.CopyFrom(_proto_message(current, run))
    task = Task(
        id=run.id,
        context_id=run.context_id,
        status=status,
        history=[_proto_message(one, run) for one in history_of(run, spoken, history_length)],
        artifacts=artifacts_of(run, spoken) if artifacts else [],
    )
    if log_id is not None:
        facts = {extension.LOG_ID_KEY: log_id, extension.LAST_SEQ_KEY: run.last_seq}
        task.metadata.CopyFrom(ParseDict({extension.URI: facts}, Struct()))
    return task


def timestamp(at: int) -> Timestamp:
    """Unix microseconds as protobuf."""
    return Timestamp(seconds=at // 1_000_000, nanos=at % 1_000_000 * 1000)


def _proto_message(message: Message, run: Run) -> ProtoMessage:
    """Built by constructors: through JSON it would cost ten times as much."""
    proto = ProtoMessage(
        message_id=message.message_id,
        role=messages.ROLES.get(message.role, "ROLE_USER"),
        parts=[_proto_part(part) for part in message.parts],
        task_id=run.id,
        context_id=run.context_id,
    )
    if message.metadata:
        proto.metadata.CopyFrom(ParseDict(message.metadata, Struct()))
    return proto


def _proto_part(part: messages.Part) -> Part:
    match part:
        case TextPart(text=text):
            return Part(text=text)
        case DataPart(data=data):
            return Part(data=ParseDict(data, Value()))
        case _:
            return ParseDict(messages.part_to_wire(part), Part())
