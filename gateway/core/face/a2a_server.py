"""The unary A2A methods over Tasks, for every transport of the SDK.

Knows protobuf and runs, no HTTP. Streaming is `stream`'s, which shares `send`, `run` and `task`.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Final, NoReturn, TypeVar

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers import RequestHandler
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.types import Message as ProtoMessage
from a2a.utils.errors import (
    PushNotificationNotSupportedError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from a2a.utils.proto_utils import validate_proto_required_fields
from a2a.utils.task import validate_history_length, validate_page_size
from google.protobuf.json_format import MessageToDict

from gateway.core import extension, messages
from gateway.core.face import snapshot
from gateway.core.face.caller import Caller, check_terms
from gateway.core.face.cards import Face
from gateway.core.face.refusals import going_away, translated
from gateway.core.face.spoken import recall
from gateway.core.json import JsonObject
from gateway.core.record import Run
from gateway.core.status import STATUS_OF_STATE
from gateway.core.store.listing import RunQuery
from gateway.core.tasks import Sent, Tasks

HISTORY_DEFAULT: Final = 100  # messages of a task when the caller names no number
PAGE_DEFAULT: Final = 50  # specification 3.1.4
CALLER: Final = "caller"  # key in a call context's state

T = TypeVar("T")


class A2AServer(RequestHandler):
    """One face's operations. Each sees only runs of the caller, and of this face's agent."""

    def __init__(self, tasks: Tasks, face: Face) -> None:
        self.tasks = tasks
        self.face = face

    # -- what unary and streaming calls share ----------------------------------------------------

    async def run(self, caller: Caller, run_id: str) -> Run:
        """Raises: TaskNotFoundError, CoreError."""
        run = await self.tasks.get(caller.principal, run_id)
        if run.agent != self.face.agent:
            raise TaskNotFoundError(f"no task {run_id!r} at this agent", {"code": "run_not_found"})
        return run

    async def send(self, caller: Caller, params: SendMessageRequest) -> Sent:
        """Hand a message to Tasks, in this face's terms."""
        check_terms(caller, self.face.required)
        validate_proto_required_fields(params)
        validate_history_length(params.configuration)
        if params.configuration.HasField("task_push_notification_config"):
            raise PushNotificationNotSupportedError
        message = messages.from_proto(params.message)
        request = extension.read_request(message.metadata)
        run_id = params.message.task_id or None
        if run_id is not None:
            await self.run(caller, run_id)
        elif self.face.check is not None:
            self.face.check(request)
        return await self.tasks.send(
            principal=caller.principal,
            agent=self.face.agent,
            message=message,
            request=request,
            run_id=run_id,
            context_id=params.message.context_id or None,
            metadata=_plain(params.metadata) if params.HasField("metadata") else None,
        )

    async def task(
        self, caller: Caller, run: Run, *, history: int | None = None, artifacts: bool = True
    ) -> Task:
        """The A2A task of a run, complete: what was split off its events is read back."""
        length = HISTORY_DEFAULT if history is None else history
        spoken = await recall(self.tasks, run, length=length, artifacts=artifacts)
        return snapshot.task_of(
            run,
            spoken,
            history_length=length,
            artifacts=artifacts,
            log_id=self.tasks.log.log_id if caller.extended else None,
        )

    # -- the SDK's methods -----------------------------------------------------------------------

    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Task | ProtoMessage:
        with translated("SendMessage"):
            caller = _caller(context)
            sent = await self.send(caller, params)
            run = sent.run
            if not params.configuration.return_immediately:
                run = await unless_closing(
                    caller, run.id, self.tasks.settled(caller.principal, run.id)
                )
            return await self.task(caller, run, history=_history(params.configuration))

    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        with translated("GetTask"):
            caller = self._admit(context, params)
            validate_history_length(params)
            run = await self.run(caller, params.id)
            return await self.task(caller, run, history=_history(params))

    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        with translated("ListTasks"):
            caller = self._admit(context, params)
            validate_history_length(params)
            size = PAGE_DEFAULT
            if params.HasField("page_size"):
                validate_page_size(params.page_size)
                size = params.page_size
            page = await self.tasks.list_runs(caller.principal, self._query(params, size))
            listed = [
                await self.task(
                    caller, run, history=_history(params) or 0, artifacts=params.include_artifacts
                )
                for run in page.runs
            ]
            return ListTasksResponse(
                tasks=listed,
                next_page_token=page.next_cursor or "",
                page_size=size,
                total_size=page.total,
            )

    def _query(self, params: ListTasksRequest, size: int) -> RunQuery:
        status = STATUS_OF_STATE.get(TaskState.Name(params.status))
        since: int | None = None
        if params.HasField("status_timestamp_after"):
            since = params.status_timestamp_after.ToMicroseconds()
        return RunQuery(
            agent=self.face.agent,
            context_id=params.context_id or None,
            statuses=() if status is None else (status,),
            updated_after=since,
            limit=size,
            cursor=params.page_token or None,
            with_total=True,
        )

    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        with translated("CancelTask"):
            caller = self._admit(context, params)
            await self.run(caller, params.id)
            run = await self.tasks.cancel(caller.principal, params.id)
            return await self.task(caller, run)

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        with translated("GetExtendedAgentCard"):
            self._admit(context, params)
            return self.face.card

    def _admit(self, context: ServerCallContext, params: Any) -> Caller:
        caller = _caller(context)
        check_terms(caller, self.face.required)
        validate_proto_required_fields(params)
        return caller

    # -- not here --------------------------------------------------------------------------------

    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        _not_here()
        yield Task()

    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        _not_here()
        yield Task()

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        raise PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        raise PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        raise PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        raise PushNotificationNotSupportedError


async def unless_closing(caller: Caller, run_id: str, work: Coroutine[Any, Any, T]) -> T:
    """The outcome of `work`; when the server ends first, an error that says how to go on.

    Without it a server waits for its blocking callers, and they for it.
    """
    waiting = asyncio.ensure_future(work)
    closing = asyncio.ensure_future(caller.closing.wait())
    try:
        await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise going_away(run_id)
        return waiting.result()
    finally:
        waiting.cancel()
        closing.cancel()


def _not_here() -> NoReturn:
    raise UnsupportedOperationError("streaming calls have routes of their own")


def _caller(context: ServerCallContext) -> Caller:
    return context.state[CALLER]


def _history(params: Any) -> int | None:
    return params.history_length if params.HasField("history_length") else None


def _plain(struct: Any) -> JsonObject:
    return messages.whole_numbers(MessageToDict(struct))
