"""Scores any A2A agent: all checks in their order, each bounded, whatever the agent answers.

Knows the checks; how findings are shown is somebody else's.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, TypeAlias

import anyio
import httpx

from gateway.agents.card import CARD_PATH
from gateway.agents.registration import checked_url
from gateway.core.addresses import AddressRefusedError
from gateway.core.errors import CoreError
from gateway.errors import AgentUnreachableError, GatewayError
from gateway.link.client import Clients, Link
from gateway.scoring import asking, front, stopping, work
from gateway.scoring.exam import Exam, Words
from gateway.scoring.findings import Finding, Score, failed, one_line, skipped

PATIENCE_S: Final = 120.0  # for the agent's work on one message
_CALLS_S: Final = 90.0  # for the checks that start no work
PROMPT: Final = "Reply with the single word pong and do nothing else."
BUSY: Final = (
    "Count from 1 to 1000, one number a line, in words, without any tool. Do not stop before."
)

Check: TypeAlias = Callable[[Exam], AsyncGenerator[Finding, None]]
Found: TypeAlias = Callable[[Finding], None]

# Each with the first of its names, for when it cannot be made at all, and whether it starts work.
_CHECKS: Final[Sequence[tuple[str, Check, bool]]] = (
    ("card", front.card, False),
    ("login", front.login, False),
    ("version_unknown", front.versions, False),
    ("error_unknown_task", front.refusals, False),
    ("streaming", work.streaming, True),
    ("get_task", work.tasks, False),
    ("replay", work.replay, False),
    ("follow_up_ended", work.follow_up, True),
    ("follow_up_unknown", work.unknown_follow_up, True),
    ("push_config", asking.push, False),
    ("input_required", asking.asks, True),
    ("cancel", stopping.cancel, True),
)


async def examine(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    words: Words | None = None,
    patience_s: float = PATIENCE_S,
    found: Found = lambda _finding: None,
) -> Score:
    """The score of the agent at `url` (its base URL, or that of its card). `found` hears of each
    finding as it is made; `headers` are the credentials. Raises nothing for what an agent does."""
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        found(finding)

    clients = Clients()
    try:
        base_url, card_url = _addresses(url)
        exam = Exam(
            url=base_url,
            card_url=card_url,
            link=Link(agent="agent", client=clients.at(base_url), headers=dict(headers or {})),
            words=words or Words(prompt=PROMPT, busy=BUSY),
            patience_s=patience_s,
        )
    except (ValueError, AddressRefusedError, httpx.InvalidURL) as exc:
        note(failed("card", one_line(exc), "give the agent's http(s)://host:port"))
        return Score(url=url, agent=None, findings=tuple(findings))
    try:
        await _all(exam, note)
    finally:
        await _cleaned(exam, note)
        await clients.close()
    name = str(exam.raw_card.get("name")) if exam.raw_card else None
    return Score(url=exam.url, agent=name, findings=tuple(findings))


def _addresses(url: str) -> tuple[str, str]:
    """The agent's base URL and that of its card. Raises: ValueError."""
    base_url, well_known, rest = checked_url(url).partition("/.well-known/")
    return base_url, f"{base_url}/.well-known/{rest}" if well_known else base_url + CARD_PATH


async def _all(exam: Exam, note: Found) -> None:
    for name, check, works in _CHECKS:
        if name != "card" and exam.card is None:
            note(skipped(name, "the agent cannot be called"))
            continue
        await _made(name, check, exam, exam.patience_s if works else _CALLS_S, note)


async def _made(name: str, check: Check, exam: Exam, within_s: float, note: Found) -> None:
    """One check; what keeps it from being made is a finding too."""
    try:
        with anyio.fail_after(within_s):
            async with aclosing(check(exam)) as findings:
                async for finding in findings:
                    note(finding)
    except TimeoutError:
        reason = f"no end within {within_s:g} s"
        note(failed(name, reason, "answer sooner, or give it more time with --patience"))
    except GatewayError as exc:
        unreachable = isinstance(exc, AgentUnreachableError)
        todo = "start it, or mend its address" if unreachable else "answer as A2A says"
        note(failed(name, one_line(exc), todo))
    except CoreError as exc:
        note(failed(name, one_line(exc), "answer as A2A says"))


async def _cleaned(exam: Exam, note: Found) -> None:
    """No task of ours goes on, however the examination ended."""
    if exam.card is None or not exam.tasks:
        return
    with anyio.CancelScope(shield=True):
        await _made("left_running", stopping.clean_up, exam, stopping.STOP_S * 2, note)
