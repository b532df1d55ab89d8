"""What a call says to an agent, as one message of the core. Pure but for the message's id."""

import uuid

from gateway.core import json, messages
from gateway.core.extension import Answer
from gateway.core.messages import DataPart, InvalidMessageError, Message, TextPart
from mcp_bridge.arguments import AgentMessage
from mcp_bridge.errors import RefusedError


def only_answers(message: Message) -> bool:
    """True for a message that is no task for a finished run: it answers requests and says nothing."""
    return not message.text.strip() and any(
        isinstance(part, DataPart)
        and {"request_id", "responses"} & json.as_object(part.data).keys()
        for part in message.parts
    )


def said(
    text: str | None, given: AgentMessage | None = None, answer: Answer | None = None
) -> Message:
    """The text, then the answer, then the parts given. Raises: RefusedError."""
    message = None if given is None else _read(given)
    words = (TextPart(text=text),) if text and text.strip() else ()
    answers = () if answer is None else (DataPart(data=answer.to_json()),)
    return Message(
        message_id=str(uuid.uuid4()),
        role="user" if message is None else message.role,
        parts=(*words, *answers, *(message.parts if message else ())),
        metadata=message.metadata if message else {},
    )


def _read(given: AgentMessage) -> Message:
    try:
        return messages.from_contract(given.model_dump(exclude_none=True), "")
    except InvalidMessageError as exc:
        raise RefusedError(f"input_message: {exc}") from exc
