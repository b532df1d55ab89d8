"""What a coding agent must offer to be wrapped: the one seam a new vendor implements.

Knows no A2A and no server: contexts and turns in, run events out. Three implementations: codex,
claude, scripted; `tests/contract/test_adapters.py` states what each must pass.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from gateway.core.events import HOW_RESOLVED, Event
from gateway.core.extension import Answer, CodingRequest, PendingRequest
from gateway.core.json import JsonObject
from gateway.core.messages import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A conversation with the agent: fixed folder and profile, kept across restarts.

    `vendor_session` is the vendor's own id once known (Codex thread, Claude session).
    """

    id: str
    cwd: Path
    profile: str | None = None
    vendor_session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request that was open when an earlier process of the wrapper ended, and its answer."""

    request: PendingRequest
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One run's work: what is said, and under which settings (stated anew for every turn).

    With `answered` the run goes on in the vendor's session after a restart of the wrapper, and
    `message` says in words what was asked and answered. The agent must then resume that session,
    and ends the run as failed/interrupted where the vendor has it no more. A permission that was
    allowed is given once, unasked, to the very same tool and input (`resumption.Grants`); an
    approved plan is worked on in the mode that its approval chose.

    `known_as` is the id by which its caller knows the run: what the agent asks of that server is
    asked from within it (`runfile`).
    """

    run_id: str
    message: Message
    request: CodingRequest
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    answered: tuple[Answered, ...] = ()
    known_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """The agent waits for an answer; several may be open at once."""

    request: PendingRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """The agent no longer waits for this request (it was interrupted, or time ran out)."""

    request_id: str
    how: HOW_RESOLVED = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The vendor's session id is known (or changed); it is stored with the context."""

    vendor_session: str


Step: TypeAlias = Event | Ask | Withdraw | Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at before work begins: `program`, `version`, `login`, `sandbox`, …

    `text` says what was found and, unless `ok`, what to do. `failed`: no run can work as it is;
    `warned`: some cannot.
    """

    name: str
    verdict: Literal["ok", "warned", "failed"]
    text: str


class UnsupportedError(Exception):
    """The request asks for something this agent cannot honour; names the field and the choice."""

    def __init__(self, field_name: str, text: str) -> None:
        super().__init__(f"{field_name}: {text}")
        self.field = field_name


class AgentSession(Protocol):
    """One context's conversation. At most one `run` at a time."""

    def run(self, turn: Turn) -> AsyncIterator[Step]:
        """The events of one turn, coalesced: run_started, before anything that waits for somebody
        (only an end may come without it), and the last one terminal (run_completed, run_failed,
        rejected, status_changed{cancelled}) or auth_required (then a later `run` retries).

        Closing the iterator early stops the agent's work. Never raises for what the vendor did:
        that is run_failed with a reason.
        """
        ...

    async def answer(self, answer: Answer, message: Message | None = None) -> None:
        """Deliver the answer to an open request; its shape was checked against the request.

        `message` is the follow-up that held it.
        """
        ...

    async def steer(self, message: Message) -> bool:
        """Say something to the running turn; False when the agent cannot take it now."""
        ...

    async def cancel(self) -> None:
        """Stop the running turn, its command and their children. The iterator then ends with
        status_changed{cancelled}; returns when the vendor was told."""
        ...

    async def close(self) -> None:
        """Let the conversation go (it can be opened again by its `vendor_session`)."""
        ...


class Adapter(Protocol):
    """One vendor's agent, shared by all contexts of a wrapper."""

    @property
    def name(self) -> str:
        """`codex`, `claude_code`, `scripted`."""
        ...

    def check(self, request: CodingRequest) -> None:
        """Refuse what cannot be honoured, before the run is accepted. Raises: UnsupportedError."""
        ...

    async def inspect(self) -> Sequence[Finding]:
        """Whether this agent can work here: its program, version, login, sandbox. Asks no model,
        changes nothing, takes at most 10 s; never raises for what it finds."""
        ...

    def status(self) -> JsonObject:
        """Figures of its own for the wrapper's `/status`: warm processes, loaded conversations."""
        ...

    async def open(self, context: Context) -> AgentSession:
        """The session of a context: a new one, or the vendor's own resumed at its next `run`."""
        ...

    async def close(self) -> None:
        """Stop every process of this agent; nothing is left when it returns."""
        ...
