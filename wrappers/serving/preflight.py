"""Whether an agent can work here, found out at its start and said once, to a person or to the log.

Knows adapters by their interface. It begins when requests are answered already: whoever started the
wrapper does not wait for it.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Final

import anyio

from gateway.core.json import JsonObject
from wrappers.adapter import Adapter, Finding

INSPECT_S: Final = 10.0  # what an adapter promises, see `Adapter.inspect`
WORDS: Final = {"ok": "ok", "warned": "warning", "failed": "FAILED"}

log = logging.getLogger(__name__)


async def inspect(adapter: Adapter) -> tuple[Finding, ...]:
    """The adapter's findings; what goes wrong with looking is one too. Never raises for that."""
    try:
        with anyio.fail_after(INSPECT_S + 1):
            return tuple(await adapter.inspect())
    except TimeoutError:
        text = f"did not say within {INSPECT_S:g} s whether it can work"
        return (Finding(name="program", verdict="warned", text=text),)
    except Exception as exc:
        log.exception("agent %s could not be inspected", adapter.name)
        text = f"could not be inspected ({type(exc).__name__}); the log says more"
        return (Finding(name="program", verdict="warned", text=text),)


def unusable(findings: Iterable[Finding]) -> Finding | None:
    """The finding that makes it pointless to go on: the agent's program itself cannot be used."""
    for finding in findings:
        if finding.name == "program" and finding.verdict == "failed":
            return finding
    return None


def lines(findings: Sequence[Finding]) -> list[str]:
    """A line a finding, in columns."""
    width = max((len(finding.name) for finding in findings), default=0)
    return [f"  {WORDS[f.verdict]:<8} {f.name:<{width}}  {_line(f.text)}" for f in findings]


def to_log(agent: str, findings: Iterable[Finding]) -> None:
    levels = {"ok": logging.INFO, "warned": logging.WARNING, "failed": logging.ERROR}
    for finding in findings:
        log.log(levels[finding.verdict], "%s: %s: %s", agent, finding.name, _line(finding.text))


def to_json(findings: Iterable[Finding]) -> list[JsonObject]:
    return [{"name": f.name, "verdict": f.verdict, "text": f.text} for f in findings]


def _line(text: str) -> str:
    """What a program said may have several."""
    return " ".join(text.split())
