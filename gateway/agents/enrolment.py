"""Where wrappers register themselves: POST /agents, and DELETE /agents/<name> when they stop.

Knows the registry and HTTP. The register token, in a file of its own, opens these two and nothing
else; what it brings is a token made for this gateway, which is stored (0600) and never shown.
"""

import hashlib
import hmac
import re
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.agents.directory import REMOTE
from gateway.agents.registration import Enrolled, checked_url
from gateway.agents.registry import Registry
from gateway.core.errors import CoreError, InvalidInputError
from gateway.core.extension import describe
from gateway.errors import NameTakenError

PATH: Final = "/agents"
PRINCIPAL: Final = "registrar"
_NAMED: Final = re.compile(r"/agents/([A-Za-z0-9][A-Za-z0-9._-]{0,63})")
_Asked = TypeVar("_Asked", bound=BaseModel)
_STATUS: Final = {NameTakenError.code: 409}

# Letters that no reference (`env:`, `file:`) has: a registration must not make us read a file.
_Secret = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{32,256}$")]


class Enrolment(BaseModel):
    """What a wrapper says of itself. `key` proves next time that it is the same one."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    agent_url: Annotated[str, Field(max_length=2000)]
    token: _Secret
    key: _Secret

    @field_validator("agent_url")
    @classmethod
    def _url(cls, value: str) -> str:
        return checked_url(value)

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value == REMOTE:
            raise ValueError("is a backend, not an agent")
        return value


class Farewell(BaseModel):
    """A wrapper that stops."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    key: _Secret


def is_enrolment(scope: Scope) -> bool:
    """Whether a request is one of the two."""
    if scope["type"] != "http":
        return False
    method, path = scope["method"], scope["path"]
    return (method == "POST" and path == PATH) or (
        method == "DELETE" and _NAMED.fullmatch(path) is not None
    )


class Registrars:
    """Who holds the register token."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def holder(self, token: bytes, scope: Scope) -> str | None:
        """For `Guard`: the principal of a registration, nobody of any other request."""
        right = hmac.compare_digest(token, self._token)
        return PRINCIPAL if right and is_enrolment(scope) else None


class Enrolments:
    """The ASGI app behind both."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            if request.method == "POST":
                answer = self._enrol(await request.body())
            else:
                answer = self._stopped(request.url.path, await request.body())
        except CoreError as exc:
            body = {"error": {"code": exc.code, "message": str(exc)}}
            answer = JSONResponse(body, status_code=_STATUS.get(exc.code, 400))
        await answer(scope, receive, send)

    def _enrol(self, body: bytes) -> Response:
        asked = _read(Enrolment, body)
        enrolled = Enrolled(
            agent_url=asked.agent_url, auth_token=asked.token, key_digest=_digest(asked.key)
        )
        self._registry.enrol(asked.name, enrolled)
        use = {"backend": REMOTE, "backend_config": {"agent": asked.name}}
        return JSONResponse({"name": asked.name, "spawn_run": use})

    def _stopped(self, path: str, body: bytes) -> Response:
        """Its runs stay, and go on when it registers again: so its name does, and its URL."""
        asked = _read(Farewell, body)
        name = path.rpartition("/")[2]
        known = self._registry.registration(name) if name in self._registry else None
        if not isinstance(known, Enrolled):
            raise InvalidInputError(f"no agent registered itself as {name!r}", "name")
        gone = known.model_copy(update={"key_digest": _digest(asked.key), "stopped": True})
        self._registry.enrol(name, gone)
        return JSONResponse({"name": name, "stopped": True})


def _read(kind: type[_Asked], body: bytes) -> _Asked:
    try:
        return kind.model_validate_json(body)
    except ValidationError as exc:
        where = ".".join(str(part) for part in exc.errors(include_url=False)[0]["loc"])
        raise InvalidInputError(describe(exc), where or None) from exc


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
