"""continue_run: answer a run, steer it, or go on in its conversation."""

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema, model_validator

from gateway.core.answers import AnswerError, read_answers
from gateway.core.continuing import Continued, Word, go_on
from gateway.core.errors import RunEndedError
from gateway.core.extension import Answer
from gateway.core.json import JsonObject
from gateway.core.messages import Message
from gateway.core.record import Run
from mcp_bridge.arguments import RequestKey, Said
from mcp_bridge.errors import RefusedError
from mcp_bridge.runs import speech, views
from mcp_bridge.runs.references import RunReference, find_run
from mcp_bridge.runs.results import ContinuedRun
from mcp_bridge.schemas import FromText
from mcp_bridge.tool import LOAD, Call, Tool, writes

# Said in full by spawn_run: it would stand in the caller's context twice.
_AS_SPAWNED: Final = WithJsonSchema(
    {"type": "object", "description": "As spawn_run's; a data part may be an answer."}
)


class ContinueRun(RunReference):
    text: str | None = None
    answer: (
        Annotated[
            Answer,
            FromText,
            Field(
                description="To one pending request. permission, plan, url: option (an id), message: "
                "why. question, form: answers {id: text}, or message; option deny declines."
            ),
        ]
        | None
    ) = None
    input_message: Annotated[Said, _AS_SPAWNED] | None = None
    request_key: RequestKey | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "ContinueRun":
        if not (self.text or "").strip() and self.answer is None and self.input_message is None:
            raise ValueError("Provide text, answer or input_message")
        if self.text is not None and self.answer is not None:
            raise ValueError(
                "give text or answer, not both; a reason or free words go into answer.message"
            )
        return self


async def continue_run(call: Call, arguments: ContinueRun) -> ContinuedRun:
    run = await find_run(call, arguments)
    message = speech.said(arguments.text, arguments.input_message, arguments.answer)
    word = Word(
        message=message,
        key=arguments.request_key,
        is_answer=speech.only_answers(message),
        parent=call.parent,
    )
    understood = _understood(message, run)
    try:
        done = await go_on(call.tasks, run, word, by_name=arguments.run_id is None)
    except RunEndedError as exc:
        raise RefusedError(
            f"run {run.id} is already {exc.status}, nothing is pending; "
            "continue_run with text goes on in its conversation"
        ) from exc
    answer = _continued(done)
    queued = call.tasks.queue_state(done.run.id)
    if queued is not None and queued.blocked_by is not None:
        answer["blocked_by"] = queued.blocked_by
    if done.did == "answered":
        answer["answered"] = understood
    return answer


def _understood(message: Message, run: Run) -> list[JsonObject]:
    """What the words are taken for: a plain yes allows, other words deny with a reason."""
    try:
        return [answer.to_json() for answer in read_answers(message, run.pending)]
    except AnswerError:
        return []  # it answers nothing, or is refused


def _continued(done: Continued) -> ContinuedRun:
    run, resumed_from = done.run, done.resumed_from
    answer: ContinuedRun = {
        "run_id": run.id,
        "status": run.status.value,
        "session_id": run.context_id,
        "agent_name": views.agent_name(run),
        "mode": "live" if resumed_from is None else "resume",
        "did": done.did,
    }
    if resumed_from is not None:
        answer["resumed_from_run_id"] = resumed_from
    return answer


CONTINUE_RUN: Final = Tool(
    name="continue_run",
    description="Say something to a run: answers what it waits for, steers it while it works, "
    "or goes on in the conversation of an ended run as a new run (mode resume, new run_id). "
    "Give text, answer or input_message; next call poll_events.",
    arguments=ContinueRun,
    result=ContinuedRun,
    run=continue_run,
    annotations=writes(),
    meta=LOAD,
)
