"""What was found at an agent, and the score it makes. Pure.

Knows no agent and no terminal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gateway.core.json import JsonObject, merge_null

Verdict: TypeAlias = Literal["pass", "fail", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`reason` is what was seen, in one line; `todo` what to do about it."""

    check: str
    verdict: Verdict
    reason: str
    todo: str = ""

    def to_json(self) -> JsonObject:
        return merge_null(
            {
                "check": self.check,
                "verdict": self.verdict,
                "reason": self.reason,
                "todo": self.todo or None,
            }
        )


def passed(check: str, reason: str) -> Finding:
    return Finding(check=check, verdict="pass", reason=reason)


def failed(check: str, reason: str, todo: str) -> Finding:
    return Finding(check=check, verdict="fail", reason=reason, todo=todo)


def skipped(check: str, reason: str, todo: str = "") -> Finding:
    return Finding(check=check, verdict="skipped", reason=reason, todo=todo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """All findings at one agent. What was skipped counts neither way."""

    url: str
    agent: str | None
    findings: tuple[Finding, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict == verdict for one in self.findings)

    @property
    def points(self) -> int:
        """Of 100: the share of the checks done that passed."""
        done = self.count("pass") + self.count("fail")
        return 100 * self.count("pass") // done if done else 0

    def to_json(self) -> JsonObject:
        return {
            "agent_url": self.url,
            "agent": self.agent,
            "score": self.points,
            "passed": self.count("pass"),
            "failed": self.count("fail"),
            "skipped": self.count("skipped"),
            "findings": [one.to_json() for one in self.findings],
        }


def one_line(text: object, most: int = 200) -> str:
    """An agent's words as a reason shows them."""
    line = " ".join(str(text)[: 4 * most].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
