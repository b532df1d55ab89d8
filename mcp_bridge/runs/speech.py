"""What a call says to an agent, as one message of the core. Pure but for the message's id."""

import uuid

from gateway.core import json, messages
from gateway.core.bounds import DATA_MAX, check_size, text_excess
from gateway.core.extension import Answer
from gateway.core.json import JsonObject
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
    text: str | None,
    given: AgentMessage | None = None,
    answer: Answer | None = None,
    *,
    called: str = "text",
) -> Message:
    """The text, then the answer, then the parts given; `called` is the text's argument.

    Raises: RefusedError, for what no server of ours would take from the gateway too.
    """
    message = None if given is None else _read(given)
    if text and (excess := text_excess(text)) is not None:
        raise RefusedError(f"{called} {excess}")
    if answer is not None:
        check_data("answer", answer.to_json())
    words = (TextPart(text=text),) if text and text.strip() else ()
    answers = () if answer is None else (DataPart(data=answer.to_json()),)
    return Message(
        message_id=str(uuid.uuid4()),
        role="user" if message is None else message.role,
        parts=(*words, *answers, *(message.parts if message else ())),
        metadata=message.metadata if message else {},
    )


def check_data(name: str, data: JsonObject | None) -> None:
    """Raises: RefusedError for an object that is too large to be passed on."""
    if data and (size := len(json.encode(data))) > DATA_MAX:
        raise RefusedError(
            f"{name} has {size} characters as JSON, it may have {DATA_MAX}; "
            "put it into a file in cwd and say its path"
        )


def _read(given: AgentMessage) -> Message:
    try:
        message = messages.from_contract(given.model_dump(exclude_none=True), "")
        check_size(message)
    except InvalidMessageError as exc:
        raise RefusedError(f"input_message: {exc}") from exc
    return message
