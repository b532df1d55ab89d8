"""The registry over HTTP, for the owner: agents listed, added, shown, changed, removed, checked.

    GET    /registry               {"agents": [AGENT…], "problems": [text…]}
    POST   /registry               201 AGENT; its card is fetched first, `force` stores it anyway
    GET    /registry/{name}        AGENT
    PATCH  /registry/{name}        AGENT after a change of enabled, labels, pool or credentials
    DELETE /registry/{name}        204; 409 while it has active runs, unless ?force=true
    POST   /registry/{name}/check  AGENT after a fresh look at it

An error is {"error": {"code", "message", "field"?}}. Knows HTTP and the registry; the Guard in front
lets the owner's token alone through.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.agents.entry import Entry
from gateway.agents.registration import (
    Described,
    Headers,
    Labels,
    Name,
    Registration,
    Secret,
    Standing,
    check_login,
    checked_headers,
    field_of,
)
from gateway.agents.registry import Registry
from gateway.agents.shown import active_runs, shown
from gateway.core.errors import CoreError, InvalidInputError
from gateway.core.extension import describe
from gateway.core.tasks import Tasks
from gateway.errors import (
    AgentCardError,
    AgentInUseError,
    AgentProtocolError,
    AgentUnauthorizedError,
    AgentUnreachableError,
    GatewayError,
    NameTakenError,
    NotYoursError,
    UnknownAgentError,
)

PATH: Final = "/registry"
_NAMED: Final = re.compile(r"/registry/([^/]{1,200})(/check)?")
_STATUS: Final = {
    UnknownAgentError.code: 404,
    NameTakenError.code: 409,
    AgentInUseError.code: 409,
    NotYoursError.code: 409,
    AgentUnreachableError.code: 424,
    AgentUnauthorizedError.code: 424,
    AgentProtocolError.code: 424,
    AgentCardError.code: 424,
}
_TRUE: Final = frozenset({"true", "1"})
_Asked = TypeVar("_Asked", bound=BaseModel)


class _NewAgent(Standing, Described):
    model_config = ConfigDict(strict=True)

    name: Name | None = None
    force: bool = False


class _Change(BaseModel):
    """What is not given stays; null takes a pool or credentials away."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    enabled: bool = True
    labels: Labels = Field(default_factory=dict[str, str])
    pool: Name | None = None
    auth_token: Secret | None = None
    headers: Headers | None = None

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str] | None) -> dict[str, str]:
        return checked_headers(value or {})


class Administration:
    """The ASGI app at /registry."""

    def __init__(self, tasks: Tasks, registry: Registry) -> None:
        self._tasks = tasks
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except CoreError as exc:
            answer = _refusal(exc)
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, method = str(request.scope["path"]), request.method
        if path == PATH:
            ways: dict[str, Callable[[], Awaitable[Response]]] = {
                "GET": self._list,
                "POST": lambda: self._add(request),
            }
        elif (match := _NAMED.fullmatch(path)) is None:
            return _error(404, "not_found", f"nothing is at {path[:200]}; agents are at {PATH}")
        elif match[2]:
            ways = {"POST": lambda: self._check(match[1])}
        else:
            ways = {
                "GET": lambda: self._show(match[1]),
                "PATCH": lambda: self._change(match[1], request),
                "DELETE": lambda: self._remove(match[1], request),
            }
        if (way := ways.get(method)) is None:
            text = f"{path} takes {', '.join(ways)}"
            answer = _error(405, "method_not_allowed", text)
            answer.headers["Allow"] = ", ".join(ways)
            return answer
        return await way()

    # -- to be asked -----------------------------------------------------------------------------

    async def _list(self) -> Response:
        directory = self._registry.directory
        active = self._active()
        agents = [shown(entry, active) for entry in directory.entries]
        return JSONResponse({"agents": agents, "problems": list(directory.problems)})

    async def _show(self, name: str) -> Response:
        return JSONResponse(shown(self._entry(name), self._active()))

    async def _check(self, name: str) -> Response:
        """What is found is the answer, also when it is that nobody is there."""
        entry = self._entry(name)
        try:
            await self._registry.look(entry.name)
        except GatewayError as exc:
            entry.watch.failed(exc)
        except InvalidInputError as exc:  # credentials that are gone
            entry.watch.faulty(str(exc))
        return JSONResponse(shown(entry, self._active()))

    # -- to be changed ---------------------------------------------------------------------------

    async def _add(self, request: Request) -> Response:
        asked = _read(_NewAgent, await request.body())
        check_login(asked)
        said = asked.model_dump(exclude={"name", "force"})
        registration = Registration.model_validate({**said, "kind": "registered"})
        entry = await self._registry.add(asked.name, registration, force=asked.force)
        return JSONResponse(shown(entry, self._active()), status_code=201)

    async def _change(self, name: str, request: Request) -> Response:
        asked = _read(_Change, await request.body())
        entry = self._entry(name)
        given = {field: getattr(asked, field) for field in asked.model_fields_set}
        if entry.registration is None and {"auth_token", "headers"} & given.keys():
            text = f"agent {name!r} is started here, with a token of its own"
            raise InvalidInputError(text, "auth_token" if "auth_token" in given else "headers")
        standing = entry.standing.model_copy(update=given)
        if isinstance(standing, Registration):
            check_login(standing)
            self._registry.learn(standing)
        self._registry.directory.change(entry, standing)
        return JSONResponse(shown(entry, self._active()))

    async def _remove(self, name: str, request: Request) -> Response:
        entry = self._entry(name)
        active = self._active()[entry.name]
        if active and request.query_params.get("force", "").lower() not in _TRUE:
            raise AgentInUseError(entry.name, active)
        self._registry.directory.remove(entry)
        return Response(status_code=204)

    def _entry(self, name: str) -> Entry:
        """Raises: UnknownAgentError."""
        directory = self._registry.directory
        directory.refresh()
        return directory.entry(name)

    def _active(self) -> Counter[str]:
        return active_runs(self._tasks.active)


def _read(kind: type[_Asked], body: bytes) -> _Asked:
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as exc:
        raise InvalidInputError(describe(exc), field_of(exc)) from exc


def _refusal(exc: CoreError) -> Response:
    field = exc.field if isinstance(exc, InvalidInputError) else None
    return _error(_STATUS.get(exc.code, 400), exc.code, str(exc), field)


def _error(status: int, code: str, message: str, field: str | None = None) -> Response:
    error = {"code": code, "message": message} | ({} if field is None else {"field": field})
    return JSONResponse({"error": error}, status_code=status)
