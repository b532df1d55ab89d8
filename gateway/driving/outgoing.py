"""Runs, answers and follow-ups -> the A2A params that carry them to an agent. Pure.

Knows both kinds of agents: those with the coding-run extension get structure, all others get words.
"""

import hashlib
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from gateway.core import json, messages
from gateway.core.extension import PREDECESSOR_KEY, URI, Answer, CodingRequest, write_request
from gateway.core.hops import one_more
from gateway.core.json import JsonObject
from gateway.core.messages import DataPart, Message, Part, TextPart
from gateway.core.record import Remote, Run

_SCHEMA_NOTE: Final = (
    "Give your final answer as JSON only, valid against this JSON Schema, with no other text:"
)


def minted_context(run: Run) -> str:
    """The context id of a session's first run at an agent with the extension.

    Derived from the run's own random id, so a send that is repeated after a crash names the same
    context although nothing was written down before it.
    """
    return str(uuid5(NAMESPACE_URL, f"urn:a2a-gateway:context:{run.id}"))


def first_params(run: Run, context_id: str) -> JsonObject:
    """SendStreamingMessage of a run, for an agent with the extension; repeating it is harmless."""
    request = run.request.model_copy(
        update={"run_id": run.id, "session_id": run.context_id, "request_key": run.id}
    )
    metadata = {**one_more(_foreign_keys(run.message)), **write_request(request)}
    message = Message(
        message_id=first_message_id(run), role="user", parts=run.message.parts, metadata=metadata
    )
    return _params(message, context_id=context_id)


def follow_up_params(
    message: Message, request_key: str, task_id: str, context_id: str | None
) -> JsonObject:
    """SendMessage of a follow-up, for an agent with the extension."""
    request = CodingRequest(request_key=request_key)
    marked = Message(
        message_id=message.message_id,
        role="user",
        parts=message.parts,
        metadata={**_foreign_keys(message), URI: request.to_json()},
    )
    return _params(marked, task_id=task_id, context_id=context_id, at_once=True)


def request_key_of(run: Run, message: Message) -> str | None:
    """The key of a follow-up: the caller's own under this run, so its repetitions stay one."""
    given = json.as_object(message.metadata.get(URI)).get("request_key")
    if not isinstance(given, str):
        return None
    return hashlib.sha256(f"{run.id}\n{given}".encode()).hexdigest()


def answer_message(answers: list[Answer], message: Message) -> Message:
    """Answers as the extension's data parts, under the caller's message id."""
    return Message(
        message_id=message.message_id,
        role="user",
        parts=tuple(DataPart(data=answer.to_json()) for answer in answers),
        metadata=message.metadata,
    )


# -- agents without the extension ----------------------------------------------------------------


def foreign_first_params(
    run: Run, context_id: str | None, modes: tuple[str, ...], history: int | None
) -> JsonObject:
    """The first message of a run for an agent that knows A2A alone: profile and schema in words."""
    parts: list[Part] = []
    if (profile := run.request.profile) is not None:
        parts.append(TextPart(text=f"Profile source: {profile.source}\n\n{profile.text}"))
    parts += run.message.parts
    if (schema := run.request.output_schema) is not None:
        parts.append(TextPart(text=f"{_SCHEMA_NOTE}\n{json.encode(schema)}"))
    about = {"cwd": run.request.cwd, "run_id": run.id, "session_id": run.context_id}
    message = Message(
        message_id=first_message_id(run),
        role="user",
        parts=tuple(parts),
        metadata={**one_more(_foreign_keys(run.message)), PREDECESSOR_KEY: json.merge_null(about)},
    )
    return _params(message, context_id=context_id, modes=modes, history=history)


def foreign_follow_up_params(
    message: Message,
    answers: list[Answer],
    task_id: str,
    context_id: str | None,
    *,
    modes: tuple[str, ...] = (),
    history: int | None = None,
) -> JsonObject:
    """A follow-up in words: an answer's structure means nothing to such an agent."""
    parts = message.parts
    if any(isinstance(part, DataPart) for part in parts) and answers:
        parts = tuple(TextPart(text=in_words(answer)) for answer in answers)
    said = Message(
        message_id=message.message_id,
        role="user",
        parts=parts,
        metadata=_foreign_keys(message),
    )
    return _params(said, task_id=task_id, context_id=context_id, modes=modes, history=history)


def repair_params(
    run: Run, fault: str, message_id: str, remote: Remote, modes: tuple[str, ...]
) -> JsonObject:
    """The request for an answer that fits, in the context of a task that has ended."""
    schema = json.encode(run.request.output_schema)
    text = f"Your answer does not fit the JSON Schema: {fault}. {_SCHEMA_NOTE}\n{schema}"
    message = Message(message_id=message_id, role="user", parts=(TextPart(text=text),))
    params = _params(message, context_id=remote.context_id, modes=modes, history=None)
    if remote.task_id is not None:
        params["message"]["referenceTaskIds"] = [remote.task_id]
    return params


def in_words(answer: Answer) -> str:
    """What an answer says, for an agent that takes words alone."""
    if answer.answers:
        values: list[Any] = list(answer.answers.values())
        return "\n".join(
            value if isinstance(value, str) else json.encode(value) for value in values
        )
    words = [text for text in (answer.choice, answer.message) if text]
    return ": ".join(words) or "ok"


def first_message_id(run: Run) -> str:
    """What a run's first message is looked for by, should its answer be lost."""
    return f"run-{run.id}"


def _foreign_keys(message: Message) -> JsonObject:
    """The caller's metadata without what the gateway writes there itself."""
    return {k: v for k, v in message.metadata.items() if k not in (URI, PREDECESSOR_KEY)}


def _params(
    message: Message,
    *,
    task_id: str | None = None,
    context_id: str | None = None,
    at_once: bool = False,
    modes: tuple[str, ...] = (),
    history: int | None = 0,
) -> JsonObject:
    configuration = json.merge_null(
        {
            "acceptedOutputModes": list(modes) or None,
            "historyLength": history,
            "returnImmediately": at_once or None,
        }
    )
    wire = messages.to_wire(message, task_id=task_id, context_id=context_id)
    return {"message": wire, "configuration": configuration}
