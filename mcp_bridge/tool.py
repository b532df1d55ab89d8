"""What a tool is: what is published of it, and the function that does it.

Knows no tool and neither MCP's wire nor HTTP: values in, values out.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from mcp.types import Tool as PublishedTool
from mcp.types import ToolAnnotations

from gateway.core.extension import Parent
from gateway.core.json import JsonObject
from gateway.core.tasks import Tasks
from mcp_bridge.schemas import RESULT_BYTES_MAX, Arguments, input_schema, output_schema

# Claude Code puts a tool with it into the first prompt instead of behind a search.
LOAD: Final[Mapping[str, Any]] = {"anthropic/alwaysLoad": True}
# Characters of a result that Claude Code hands on whole; beyond 50,000 it would write a file.
# JSON escapes make a text of the largest answer longer than its bytes.
LONG: Final[Mapping[str, Any]] = {"anthropic/maxResultSizeChars": 2 * RESULT_BYTES_MAX}

A = TypeVar("A", bound=Arguments)

# Tells the caller that a wait goes on: seconds so far, seconds at most, what the run does.
Beat: TypeAlias = Callable[[float, float, str], Awaitable[None]]


class Backends(Protocol):
    """The agents of this gateway, local and registered."""

    async def resolve(self, backend: str, config: JsonObject, cwd: str) -> str:
        """The name of the agent that `backend` and the agent's keys of `backend_config` mean.

        Raises: a CoreError of one line.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who calls, and what serves the call.

    `within` is the run from within which it comes: what it starts is that run's child.
    """

    tasks: Tasks
    backends: Backends
    principal: str
    beat: Beat
    within: str | None = None

    @property
    def parent(self) -> Parent | None:
        """The server knows how deep that run stands."""
        return None if self.within is None else Parent(run_id=self.within)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool(Generic[A]):
    """One tool. `run` raises CoreError."""

    name: str
    description: str
    arguments: type[A]
    result: Any  # a TypedDict
    run: Callable[[Call, A], Awaitable[Mapping[str, Any]]]
    annotations: ToolAnnotations
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def published(self) -> PublishedTool:
        return PublishedTool(
            name=self.name,
            description=self.description,
            input_schema=input_schema(self.arguments),
            output_schema=output_schema(self.result),
            annotations=self.annotations,
            _meta=dict(self.meta) or None,
        )


def reads(*, open_world: bool) -> ToolAnnotations:
    return ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=open_world)


def writes(
    *, destructive: bool = False, idempotent: bool = False, open_world: bool = True
) -> ToolAnnotations:
    return ToolAnnotations(
        read_only_hint=False,
        destructive_hint=destructive,
        idempotent_hint=idempotent,
        open_world_hint=open_world,
    )
