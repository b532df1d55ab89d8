"""The running gateway as commands ask it: tools at /mcp, agents at /registry, over plain HTTP.

Knows no tool and no MCP library (1.5 s to import): a tool is called by one JSON-RPC request. Finding
and starting the gateway is the relay's code. It is imported inline, because another distribution
ships a package called mcp_bridge, and `doctor` has to be able to say so.
"""

import re
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import quote

from gateway.cli.errors import CommandError
from gateway.cli.settings import environment
from gateway.core import json
from gateway.core.json import JsonObject, as_object

if TYPE_CHECKING:
    from mcp_bridge.relaying.endpoint import Gateway

MAX_BYTES: Final = 262_144  # the most a tool's answer may have: here no model reads it
REGISTRY: Final = "/registry"
ANSWER_S: Final = 60.0  # a registration fetches the agent's card
RETURN_S: Final = 15.0  # a gateway that is started anew takes 1-3 s; a loaded machine longer
LOOK_EVERY_S: Final = 0.1
COMMANDS: Final = {
    "spawn_run": "a2a-gateway run",
    "get_run": "a2a-gateway runs show",
    "poll_events": "a2a-gateway runs tail",
    "continue_run": "a2a-gateway runs continue",
    "cancel_run": "a2a-gateway runs cancel",
    "list_runs (ListTasks)": "a2a-gateway runs list",
    "list_runs": "a2a-gateway runs list",
    "get_event_artifact": "a2a-gateway runs artifact",
}
_TOOL: Final = re.compile("|".join(map(re.escape, COMMANDS)))
HIDDEN: Final = (
    "the package mcp_bridge is not a2a-gateway's; uninstall the distribution mcp-bridge and "
    "install a2a-gateway again"
)


class LostError(CommandError):
    """The gateway went away during a call; whether it did what it was asked is not known."""


class GoneError(LostError):
    """No gateway answers, so nothing was asked."""


class Link:
    """One gateway; found at the first call, and started then unless `start` is False."""

    def __init__(self, home: Path | None = None, *, start: bool = True) -> None:
        try:
            # Inline: the reason is in the module's docstring.
            from mcp_bridge import within  # noqa: PLC0415
            from mcp_bridge.relaying import endpoint, exchange  # noqa: PLC0415
        except ImportError as exc:
            raise CommandError(HIDDEN) from exc
        self._endpoint, self._exchange = endpoint, exchange
        self._environ = environ = environment(home)
        self._gateway: Gateway = endpoint.Gateway(environ, may_start=start)
        # A run's agent may use this command too: what it starts is that run's child.
        self._handshake = exchange.Handshake(within.within(environ))

    def tool(self, name: str, /, **arguments: Any) -> JsonObject:
        """The result of a tool; arguments that are None are left out. Raises: CommandError."""
        self._address()  # so that what keeps a gateway from starting is said as such
        given = {key: value for key, value in arguments.items() if value is not None}
        params = {"name": name, "arguments": given}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = self._handshake.headers(body)
        exchange = self._exchange.Exchange(self._gateway, json.dump(body), headers)
        answer: JsonObject = {}
        try:
            for item in exchange.items():
                answer = as_object(json.decode(item))
        except (self._exchange.ExchangeError, ValueError) as exc:
            raise LostError(in_commands(str(exc))) from exc
        if not answer:  # a stream that was cut between two items ends like any other
            raise LostError(in_commands(self._exchange.WENT_AWAY))
        if "error" in answer:
            raise CommandError(in_commands(str(as_object(answer["error"]).get("message"))))
        result = as_object(answer.get("result"))
        if result.get("isError") or "structuredContent" not in result:
            said = in_commands(_text(result).removeprefix(f"{name}: "))
            raise CommandError(said or f"{name} gave no answer; the gateway's log says why")
        return as_object(result["structuredContent"])

    def start_no_more(self) -> None:
        """From now on wait for a gateway that ended: somebody may have meant to stop it."""
        self._gateway = self._endpoint.Gateway(self._environ, may_start=False)

    def came_back(self) -> bool:
        """Wait for a gateway that went away: somebody starts it anew, or meant to stop it."""
        home = self._endpoint.state_home(self._environ)
        until = time.monotonic() + RETURN_S
        while time.monotonic() < until:
            address = self._endpoint.published(home)
            if address is not None and self._endpoint.healthy(address):
                return True
            time.sleep(LOOK_EVERY_S)
        return False

    def registry(
        self, method: str, name: str = "", action: str = "", body: JsonObject | None = None
    ) -> JsonObject:
        """What the gateway answers about its agents. Raises: CommandError."""
        below = REGISTRY + (f"/{quote(name, safe='')}" if name else "") + action
        return self.http(method, below, body)

    def http(self, method: str, below: str, body: JsonObject | None = None) -> JsonObject:
        """The JSON object at a path of the gateway. Raises: CommandError."""
        for again in (True, False):
            address = self._address()
            connection = address.connection(ANSWER_S)
            headers = {"Content-Type": "application/json"}
            if address.token is not None:
                headers["Authorization"] = f"Bearer {address.token}"
            content = None if body is None else json.dump(body)
            try:
                connection.request(method, address.path(below), content, headers)
                response = connection.getresponse()
                return _read(response.status, response.read(), method, below)
            except (OSError, HTTPException) as exc:
                self._gateway.lost(address)
                # Only what nobody can have taken is sent again.
                if not (again and isinstance(exc, ConnectionRefusedError)):
                    raise CommandError(f"the gateway went away at {address.url}") from exc
            finally:
                connection.close()
        raise AssertionError("unreachable")

    def _address(self) -> Any:
        try:
            return self._gateway.address()
        except self._endpoint.GatewayGoneError as exc:
            said = str(exc).replace(f"set {self._endpoint.HOME_VARIABLE}", "choose another --home")
            raise GoneError(said) from exc

    def runs(self, **filters: Any) -> Iterator[JsonObject]:
        """Runs, newest first, page by page."""
        cursor: str | None = None
        while True:
            page = self.tool("list_runs", limit=200, max_bytes=MAX_BYTES, cursor=cursor, **filters)
            yield from cast("list[JsonObject]", page["runs"])
            if (cursor := page.get("next_cursor")) is None:
                return

    def payload(self, run_id: str, seq: int, pointer: str) -> Iterator[bytes]:
        """All of a field that an event only refers to, piece by piece."""
        offset = 0
        while True:
            piece = self.tool(
                "get_event_artifact",
                run_id=run_id,
                seq=seq,
                field_path=pointer,
                offset=offset,
                limit=MAX_BYTES,
            )
            yield str(piece["content"]).encode("utf-8", "surrogatepass")
            offset = int(piece["offset"]) + int(piece["returned_bytes"])
            if not piece["has_more"]:
                return


def in_commands(text: str) -> str:
    """What a tool's refusal tells a model to call next, as what a person types."""
    return _TOOL.sub(lambda found: COMMANDS[found[0]], text)


def _read(status: int, content: bytes, method: str, below: str) -> JsonObject:
    """The object of an answer. Raises: CommandError."""
    try:
        answer = json.decode_object(content) if content.strip() else {}
    except ValueError as exc:
        if status < 400:
            raise CommandError(f"the gateway answered {method} {below} with no JSON") from exc
        answer = {}
    if status < 400:
        return answer
    error = as_object(answer.get("error"))
    said = error.get("message") or f"the gateway refused {method} {below} (HTTP {status})"
    field = error.get("field")
    raise CommandError(f"{field}: {said}" if field and field not in str(said) else str(said))


def _text(result: JsonObject) -> str:
    parts = cast("list[Any]", result.get("content") or [])
    return " ".join(str(as_object(part).get("text", "")) for part in parts)
