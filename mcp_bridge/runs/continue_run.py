"""continue_run: answer a run, steer it, or go on in its conversation."""

from typing import Annotated, Final

from pydantic import Field, WithJsonSchema, model_validator

from gateway.core.continuing import Continued, Word, go_on
from gateway.core.extension import Answer
from mcp_bridge.arguments import RequestKey, Said
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
                description="To one pending request: an option's id, or answers by question "
                "id, or a message."
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
    done = await go_on(call.tasks, run, word, by_name=arguments.run_id is None)
    return _continued(done)


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
