"""Puts what runs ask to the client's person, and says to the runs what the person answers.

Knows no HTTP. It takes protocol 2026-07-28, in which a result may ask and the client calls again
with what was said. A client of the handshake era would have to be asked by a request of ours, for
whose answer a stateless server has no place: over stdio the relay asks it in our stead, over HTTP
its agent reads `pending` and answers by continue_run, as every agent does whose client has nobody.

Nothing is sealed and little is remembered: what comes back is checked as continue_run checks it,
so a gateway that started anew meanwhile takes it too.
"""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from mcp.types import ClientCapabilities, ElicitRequest, ElicitResult

from gateway.core.continuing import Word, go_on
from gateway.core.errors import CoreError
from gateway.core.extension import Answer, PendingRequest
from gateway.core.json import JsonObject, as_object
from gateway.core.record import Run
from mcp_bridge.errors import text_of
from mcp_bridge.face import elicitation
from mcp_bridge.face.elicitation import UnusableError
from mcp_bridge.runs import speech, views
from mcp_bridge.tool import Call

# Times one call asks: clients give up after ten (SDK), and the next call asks on.
ROUNDS: Final = 5
LEFT_MAX: Final = 4096  # requests that somebody left to the agent, the oldest forgotten first

_Left: TypeAlias = int  # the hash of client, run and request, each as long as a client likes


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Whom a client can ask: `client` is its name, `links` says that it opens URLs."""

    client: str
    links: bool


def person_of(capabilities: ClientCapabilities | None, client: str) -> Person | None:
    """The person behind a client that asks by forms; one that names no way has forms."""
    able = None if capabilities is None else capabilities.elicitation
    if able is None or (able.form is None and able.url is not None):
        return None
    return Person(client=client, links=able.url is not None)


class Asking:
    """Remembers what each client's person left to the agent, in this process."""

    def __init__(self) -> None:
        self._left: OrderedDict[_Left, None] = OrderedDict()

    async def questions(
        self, call: Call, person: Person, page: Mapping[str, Any]
    ) -> dict[str, ElicitRequest]:
        """What a page of poll_events leaves to ask, by the key of its answer."""
        found: dict[str, ElicitRequest] = {}
        for run_id in _asking(page):
            run = await call.tasks.get(call.principal, run_id)
            for request in run.pending:
                if _left(person, run.id, request.request_id) in self._left:
                    continue
                if form := elicitation.asked(request, _who(run, request), links=person.links):
                    found[f"{run.id}:{request.request_id}"] = form
        return found

    async def answers(
        self, call: Call, person: Person, said: Mapping[str, Any]
    ) -> list[JsonObject]:
        """Hands on what the person said; what became of each, for the page that follows."""
        outcomes: list[JsonObject] = []
        for key, response in said.items():
            run_id, _, request_id = key.partition(":")
            outcome: JsonObject = {"run_id": run_id[:64], "request_id": request_id[:128]}
            try:
                outcome["did"] = await self._answer(call, run_id, request_id, response)
            except CoreError as exc:
                outcome |= {"did": exc.code, "text": text_of(exc)}
            except UnusableError as exc:
                outcome |= {"did": "unusable", "text": str(exc)}
            if outcome["did"] in ("decline", "cancel", "unusable"):
                self._leave(_left(person, run_id, request_id))
            outcomes.append(outcome)
        return outcomes

    async def _answer(self, call: Call, run_id: str, request_id: str, response: object) -> str:
        """What was done with it. Raises: CoreError, UnusableError."""
        run = await call.tasks.get(call.principal, run_id)
        if not isinstance(response, ElicitResult):
            raise UnusableError("the client sent no answer to a form")
        if response.action != "accept":
            return response.action
        request = next((one for one in run.pending if one.request_id == request_id), None)
        if request is None:  # answered elsewhere meanwhile, or withdrawn: the core says which
            answer = Answer(request_id=request_id, answers=dict(response.content or {}))
        else:
            answer = elicitation.answered(request, response.content)
        message = speech.said(None, answer=answer)
        word = Word(message=message, is_answer=True, parent=call.parent)
        return (await go_on(call.tasks, run, word)).did

    def _leave(self, left: _Left) -> None:
        self._left[left] = None
        if len(self._left) > LEFT_MAX:
            self._left.popitem(last=False)


def _left(person: Person, run_id: str, request_id: str) -> _Left:
    return hash((person.client, run_id, request_id))


def rounds(state: str | None) -> int:
    """How often this call has asked. The client hands it back and may say anything."""
    return int(state) if state is not None and re.fullmatch("[0-9]", state) else 0


def _asking(page: Mapping[str, Any]) -> list[str]:
    """The runs of a page, one or several, that wait for an answer."""
    states = [page] if "run_id" in page else page.get("runs", [])
    return [str(state["run_id"]) for state in map(as_object, states) if state.get("pending")]


def _who(run: Run, request: PendingRequest) -> str:
    where = f" in {run.request.cwd}" if run.request.cwd else ""
    sub_agent = f" ({request.agent})" if request.agent else ""
    return f"Agent {views.agent_name(run)}{sub_agent}{where}"
