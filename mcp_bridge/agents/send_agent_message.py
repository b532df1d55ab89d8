"""send_agent_message: a message into another agent's inbox; answered when it is durable."""

from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from gateway.core import messages
from gateway.core.clock import iso
from gateway.core.messages import InvalidMessageError, Message, TextPart
from gateway.core.peers import Note, name_of
from mcp_bridge.agents.results import SentMessage
from mcp_bridge.arguments import Folder, RequestKey, Said, Text
from mcp_bridge.errors import RefusedError
from mcp_bridge.schemas import AnyObject, Arguments
from mcp_bridge.tool import Call, Tool, writes


class SendAgentMessage(Arguments):
    to_agent_name: Text
    from_agent_name: Annotated[Text, Field(description="Default: you, within a run.")] | None = None
    cwd: Annotated[Folder, Field(description="Of both; default: the sender's.")] | None = None
    text: str | None = None
    message: Said | None = None
    metadata: AnyObject | None = None
    request_key: RequestKey | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "SendAgentMessage":
        if (self.message is None) == (not (self.text or "").strip()):
            raise ValueError("Provide text or message, one of them")
        return self


async def send_agent_message(call: Call, arguments: SendAgentMessage) -> SentMessage:
    note = Note(
        to=arguments.to_agent_name.strip(),
        sender=(arguments.from_agent_name or "").strip() or None,
        within=call.within,
        cwd=arguments.cwd,
        message=_message(arguments),
        metadata=arguments.metadata or {},
        request_key=arguments.request_key,
    )
    letter, to = await call.tasks.peers.send(call.principal, note)
    answer: SentMessage = {
        "message_id": letter.id,
        "to_agent_name": name_of(to),
        "to_session_id": to.id,
        "seq": letter.seq,
        "created_at": iso(letter.created_at),
    }
    if letter.from_name is not None:
        answer["from_agent_name"] = letter.from_name
    return answer


def _message(arguments: SendAgentMessage) -> Message:
    if arguments.message is None:
        said: dict[str, Any] = {"role": "agent"}
        return Message(message_id="", parts=(TextPart(text=arguments.text or ""),), **said)
    try:
        return messages.from_contract(arguments.message.model_dump(exclude_none=True), "")
    except InvalidMessageError as exc:
        raise RefusedError(f"message: {exc}") from exc


SEND_AGENT_MESSAGE: Final = Tool(
    name="send_agent_message",
    description="Put text or a message (64 KB at most) into the inbox of another agent of the same "
    "folder, for its fetch_agent_messages. Starts no run: for that, spawn_run or continue_run.",
    arguments=SendAgentMessage,
    result=SentMessage,
    run=send_agent_message,
    annotations=writes(open_world=False),
)
