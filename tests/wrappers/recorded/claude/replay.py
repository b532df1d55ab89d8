"""A recorded conversation with Claude Code -> the steps that its mapping makes of it, without the CLI.

Knows no process. Only what is read of the CLI's lines is in a log: its messages, its requests for
permission, and of the wrapper what was said, answered and interrupted.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from claude_agent_sdk import Message, ToolPermissionContext
from claude_agent_sdk._internal.message_parser import parse_message

from gateway.core.events import Event
from gateway.core.json import JsonObject, as_object
from tests.wrappers.recorded.logs import step_json
from wrappers.adapter import Ask, Step, Withdraw
from wrappers.claude.asks import pending_request
from wrappers.claude.events import Reading
from wrappers.claude.outcome import Totals, cancelled, conclude, usage_of
from wrappers.claude.tools import Todos

CLI, WRAPPER = "cli", "wrapper"


def kept(who: str, line: JsonObject) -> bool:
    """Does a line belong into a log? Handshakes and replies do not."""
    match line.get("type"):
        case "control_request":
            subtype = as_object(line.get("request")).get("subtype")
            return subtype in ("can_use_tool", "interrupt")
        case "control_response":
            return who == WRAPPER
        case _:
            return True


class Replay:
    """The steps of one run; `schema` is the output schema that its caller asked for."""

    def __init__(self, *, schema: JsonObject | None) -> None:
        self.reading = Reading(todos=Todos())
        self._schema = schema
        self._interrupted = False
        self._asked: dict[str, str] = {}  # control requests -> the request ids of ours
        self._now = 0.0

    def steps(self, log: Iterable[JsonObject]) -> list[JsonObject]:
        """What became of a log, in the form of `logs.step_json`."""
        return [step_json(step) for step in self._steps(log)]

    def _steps(self, log: Iterable[JsonObject]) -> Iterator[Step]:
        for entry in log:
            ((who, line),) = entry.items()
            self._now += 1.0  # whatever is thinned out by time is not thinned out here
            yield from self._heard(line) if who == CLI else self._said(line)
        yield from self.reading.interrupt()
        yield from self._ends()

    def _said(self, line: JsonObject) -> Iterator[Step]:
        match line["type"]:
            case "user":
                self.reading.awaited.add(line["uuid"])
            case "control_request":
                self._interrupted = True
            case _:
                response = as_object(line["response"])
                verdict = as_object(response.get("response"))
                asked = self._asked.pop(str(response.get("request_id")), None)
                if asked is not None and verdict.get("behavior") == "deny":
                    self.reading.calls.declined.add(asked)
                    self._interrupted = self._interrupted or bool(verdict.get("interrupt"))
        yield from ()

    def _heard(self, line: JsonObject) -> Iterator[Step]:
        match line["type"]:
            case "control_request":
                request = as_object(line["request"])
                step = Ask(request=_pending(request))
                self._asked[line["request_id"]] = step.request.request_id
                yield step
            case "control_cancel_request":
                asked = self._asked.pop(line["request_id"], None)
                if asked is not None:
                    yield Withdraw(request_id=asked)
            case _:
                message = read(line)
                if message is not None:
                    yield from self.reading.feed(message, self._now)

    def _ends(self) -> list[Event]:
        reading = self.reading
        if self._interrupted and reading.auth is None:
            return [cancelled(usage_of(reading.results, Totals()))]
        return conclude(reading, schema=self._schema, before=Totals())


def read(line: JsonObject) -> Message | None:
    """A line as the SDK reads it; None for a kind of message that it drops."""
    return parse_message(line)


def _pending(request: JsonObject) -> Any:
    context = ToolPermissionContext(
        suggestions=[],
        tool_use_id=request.get("tool_use_id"),
        agent_id=request.get("agent_id"),
        blocked_path=request.get("blocked_path"),
        decision_reason=request.get("decision_reason"),
        title=request.get("title"),
        display_name=request.get("display_name"),
        description=request.get("description"),
    )
    tool = str(request["tool_name"])
    arguments = as_object(request["input"])
    return pending_request(str(request.get("tool_use_id") or tool), tool, arguments, context)
