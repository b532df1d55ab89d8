"""The A2A operations of one agent: a caller and JSON parameters in, pieces of JSON text out.

Knows runs and A2A's forms, no transport. Streaming is `stream`'s, which shares `send`, `run` and
`task`. Nothing here goes through protobuf: its JSON costs 27 ms of blocked loop a MB of text.
"""

from typing import Final

from a2a.utils.errors import InvalidParamsError, TaskNotFoundError

from gateway.core import extension, json
from gateway.core.extension import CodingRequest, InvalidRequestError
from gateway.core.face import snapshot, wire
from gateway.core.face.caller import Caller, check_terms
from gateway.core.face.cards import Addressee, Face
from gateway.core.face.pacing import Pace
from gateway.core.face.params import SendParams, read_list, read_send, read_task
from gateway.core.face.push import PushConfigs, as_json, read_create, read_page, read_target
from gateway.core.face.snapshot import Spoken
from gateway.core.face.spoken import recall
from gateway.core.json import JsonObject
from gateway.core.life.slots import Queued
from gateway.core.messages import to_wire
from gateway.core.outcomes import Sent
from gateway.core.record import Result, Run
from gateway.core.status import RunStatus
from gateway.core.store.listing import RunQuery, encode_cursor
from gateway.core.tasks import Tasks

HISTORY_DEFAULT: Final = 100  # messages of a task when the caller names no number
# Bytes of a page of tasks, after which it ends with fewer than were asked for: artifacts have no
# bound, and the page's token says where to go on.
LIST_MAX: Final = 8 * 1024 * 1024


class Operations:
    """One face's operations. Each sees only runs of the caller, and of this face's agent.

    Their parameters are JSON as a client sent it; all raise A2AError or CoreError.
    """

    def __init__(self, tasks: Tasks, face: Face) -> None:
        self.tasks = tasks
        self.face = face
        self.push = PushConfigs(tasks, face)

    # -- what unary and streaming calls share ----------------------------------------------------

    def admit(self, caller: Caller) -> None:
        """Refuse who does not speak this face's terms."""
        check_terms(caller, self.face.required)

    async def run(self, caller: Caller, run_id: str) -> Run:
        """Raises: TaskNotFoundError, CoreError."""
        run = await self.tasks.get(caller.principal, run_id)
        if self.face.choose is None and run.agent != self.face.agent:
            raise TaskNotFoundError(f"no task {run_id!r} at this agent", {"code": "run_not_found"})
        return run

    async def send(self, caller: Caller, asked: SendParams) -> Sent:
        """Hand a message to Tasks, in this face's terms."""
        try:
            request = extension.read_request(asked.message.metadata)
        except InvalidRequestError as exc:
            raise InvalidParamsError(str(exc), {"code": "invalid_input"}) from exc
        run: Run | None = None
        addressee = Addressee(agent=self.face.agent, backend=self.face.backend)
        if asked.task_id is not None:
            run = await self.run(caller, asked.task_id)
        else:
            addressee = await self._addressee(caller, asked, request)
            if request.agent is not None:
                request = request.model_copy(update={"agent": None})
            if self.face.check is not None:
                self.face.check(request)
        push = await self.push.before_send(asked.push, run)
        sent = await self.tasks.send(
            principal=caller.principal,
            agent=addressee.agent,
            message=asked.message,
            request=request,
            run_id=asked.task_id,
            context_id=asked.context_id,
            backend=addressee.backend,
            metadata=asked.metadata,
        )
        await self.push.after_send(push, sent.run)
        return sent

    async def _addressee(
        self, caller: Caller, asked: SendParams, request: CodingRequest
    ) -> Addressee:
        """Whose a first message is. Raises: InvalidParamsError, InvalidInputError."""
        face = self.face
        if face.choose is None:
            if request.agent not in (None, face.agent):
                text = f"this is agent {face.agent!r}, not {request.agent!r}; send it there"
                raise InvalidParamsError(text, {"code": "invalid_input", "field": "agent"})
            return Addressee(agent=face.agent, backend=face.backend)
        named = request.agent or _skill(asked.message.metadata) or _skill(asked.metadata or {})
        if named is None and asked.context_id is not None:
            session = await self.tasks.session(caller.principal, asked.context_id)
            if session is not None:
                return Addressee(agent=session.agent, backend=session.backend)
        return face.choose(named)

    async def reply(self, caller: Caller, asked: SendParams, run: Run) -> bytes | None:
        """The whole answer to a message that its agent answers with a message; None for a task."""
        direct = self.face.direct
        if direct is None or caller.extended or asked.task_id or not direct(asked.message):
            return None
        run = await caller.hold(run.id, self.tasks.settled(caller.principal, run.id))
        answer = (run.result or Result()).final_response
        if run.status is not RunStatus.COMPLETED or answer is None:
            return None
        said = to_wire(wire.said(f"{run.id}:{run.last_seq}", answer), context_id=run.context_id)
        return json.dump({"message": said})

    async def task(
        self, caller: Caller, run: Run, *, history: int | None = None, artifacts: bool = True
    ) -> list[bytes]:
        """The A2A task of a run, complete: what was split off its events is read back."""
        length = HISTORY_DEFAULT if history is None else history
        told = await recall(self.tasks, [run], length=length, artifacts=artifacts)
        queued = await self.tasks.queued(run) if caller.extended else None
        return await self._printed(caller, run, told[run.id], length, artifacts, queued)

    async def _printed(
        self,
        caller: Caller,
        run: Run,
        spoken: list[Spoken],
        length: int,
        artifacts: bool,
        queued: Queued | None = None,
    ) -> list[bytes]:
        pieces: list[bytes] = []
        pace = Pace()
        for piece in snapshot.task_pieces(
            run,
            spoken,
            history_length=length,
            artifacts=artifacts,
            log_id=self.tasks.log.log_id if caller.extended else None,
            standing=None if run.terminal or not caller.extended else self._standing(run, queued),
        ):
            pieces.append(piece)
            if pace.over(len(piece)):
                await pace.rest()
        return pieces

    def _standing(self, run: Run, queued: Queued | None) -> JsonObject:
        """What is computed beside an active run's status."""
        queued = queued or self.tasks.queue_state(run.id)
        return self.tasks.liveness(run).to_json() | ({} if queued is None else queued.to_json())

    # -- the unary operations --------------------------------------------------------------------

    async def send_message(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        asked = read_send(params)
        run = (await self.send(caller, asked)).run
        if (reply := await self.reply(caller, asked, run)) is not None:
            return [reply]
        if not asked.return_immediately:
            run = await caller.hold(run.id, self.tasks.settled(caller.principal, run.id))
        return [b'{"task":', *await self.task(caller, run, history=asked.history), b"}"]

    async def get_task(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        asked = read_task(params)
        return await self.task(caller, await self.run(caller, asked.id), history=asked.history)

    async def list_tasks(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        asked = read_list(params)
        # Of all agents together runs are kept in the order of their beginning alone.
        whole = self.face.choose is not None and asked.context_id is None
        if whole and asked.changed_after is not None:
            text = "statusTimestampAfter needs a contextId here, or ask at one of the agents"
            raise InvalidParamsError(text, {"code": "invalid_input"})
        query = RunQuery(
            agent=self.face.agent if self.face.choose is None else None,
            context_id=asked.context_id,
            statuses=() if asked.status is None else (asked.status,),
            updated_after=asked.changed_after,
            order="created" if whole else "status",
            limit=asked.page_size,
            cursor=asked.page_token,
            with_total=True,
        )
        page = await self.tasks.list_runs(caller.principal, query)
        told = await recall(self.tasks, page.runs, length=asked.history, artifacts=asked.artifacts)
        pieces = [b'{"tasks":[']
        following, size = page.next_cursor or "", 0
        for number, run in enumerate(page.runs):
            if size > LIST_MAX:
                following = encode_cursor(query, page.runs[number - 1])
                break
            pieces.append(b"," if number else b"")
            pieces += await self._printed(caller, run, told[run.id], asked.history, asked.artifacts)
            size = sum(len(piece) for piece in pieces)
        about = {"nextPageToken": following, "pageSize": asked.page_size}
        ending = json.dump(about | {"totalSize": page.total or 0})
        return [*pieces, b"],", ending[1:]]

    async def cancel_task(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        asked = read_task(params)
        await self.run(caller, asked.id)
        run = await caller.hold(asked.id, self.tasks.cancel(caller.principal, asked.id))
        return await self.task(caller, run)

    async def extended_card(self, caller: Caller, params: object) -> list[bytes]:
        del params
        self.admit(caller)
        return [self.face.page.body]

    # -- push notification configs ---------------------------------------------------------------

    async def create_push(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        task_id, asked = read_create(params)
        return [json.dump(as_json(await self.push.create(await self.run(caller, task_id), asked)))]

    async def get_push(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        task_id, config_id = read_target(params)
        return [json.dump(as_json(await self.push.get(await self.run(caller, task_id), config_id)))]

    async def list_push(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        task_id, size, token = read_page(params)
        found, following = await self.push.page(await self.run(caller, task_id), size, token)
        configs = [as_json(config) for config in found]
        return [json.dump({"configs": configs, "nextPageToken": following})]

    async def delete_push(self, caller: Caller, params: object) -> list[bytes]:
        self.admit(caller)
        task_id, config_id = read_target(params)
        await self.push.delete(await self.run(caller, task_id), config_id)
        return [b"{}"]


def _skill(metadata: JsonObject) -> str | None:
    """The skill or agent that a client names who does not know our extension."""
    named = metadata.get("skill") or metadata.get("agent")
    return named if isinstance(named, str) else None
