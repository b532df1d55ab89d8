"""What a call says to an agent, as one message of the core. Pure but for the message's id."""

import uuid

from gateway.core import json, messages
from gateway.core.messages import DataPart, InvalidMessageError, Message, Part, TextPart
from mcp_bridge.arguments import AgentMessage, ContinueRun, SpawnRun
from mcp_bridge.errors import RefusedError


def task_of(arguments: SpawnRun) -> Message:
    """The prompt, then the parts of input_message. Raises: RefusedError."""
    return _message(arguments.prompt, arguments.input_message)


def follow_up_of(arguments: ContinueRun) -> Message:
    """The text, then the answer, then the parts of input_message. Raises: RefusedError."""
    between = () if arguments.answer is None else (DataPart(data=arguments.answer.to_json()),)
    return _message(arguments.text, arguments.input_message, between)


def only_answers(message: Message) -> bool:
    """True for a message that is no task for a finished run: it answers requests and says nothing."""
    return not message.text.strip() and any(
        isinstance(part, DataPart)
        and {"request_id", "responses"} & json.as_object(part.data).keys()
        for part in message.parts
    )


def _message(
    text: str | None, given: AgentMessage | None, between: tuple[Part, ...] = ()
) -> Message:
    message = None if given is None else _read(given)
    said = (TextPart(text=text),) if text and text.strip() else ()
    return Message(
        message_id=str(uuid.uuid4()),
        role="user" if message is None else message.role,
        parts=(*said, *between, *(message.parts if message else ())),
        metadata=message.metadata if message else {},
    )


def _read(given: AgentMessage) -> Message:
    try:
        return messages.from_contract(given.model_dump(exclude_none=True), "")
    except InvalidMessageError as exc:
        raise RefusedError(f"input_message: {exc}") from exc
