"""start-a2a-agent doctor: everything that could keep an agent from working here, each in one line.

Looks and starts no wrapper; what it makes to try something is gone when it returns. Knows adapters
by their interface.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.core import json
from wrappers.adapter import Finding
from wrappers.agent import AgentMissingError, Making
from wrappers.agents import AGENTS
from wrappers.processes.process import TREE_VARIABLE
from wrappers.serving import checks
from wrappers.serving.preflight import inspect, lines, to_json
from wrappers.settings import WrapperSettings

MARK = "doctor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Findings by what they are about: `machine`, then each agent."""

    parts: Mapping[str, Sequence[Finding]]

    @property
    def failed(self) -> bool:
        return any(f.verdict == "failed" for part in self.parts.values() for f in part)

    def line(self) -> str:
        findings = [
            {"about": about, **found}
            for about, part in self.parts.items()
            for found in to_json(part)
        ]
        return json.encode({"ok": not self.failed, "findings": findings})

    def text(self) -> str:
        told = ["\n".join([f"{about}:", *lines(part)]) for about, part in self.parts.items()]
        failed = sum(f.verdict == "failed" for part in self.parts.values() for f in part)
        end = f"{failed} of these must be mended first." if failed else "Agents can work here."
        return "\n\n".join([*told, end])


def examine(names: Sequence[str], settings: WrapperSettings, source: Mapping[str, str]) -> Report:
    """Look at this machine and at these agents, at all that people use if none is named."""
    return asyncio.run(_examine(names, settings, source))


async def _examine(
    names: Sequence[str], settings: WrapperSettings, source: Mapping[str, str]
) -> Report:
    chosen = list(names) or [name for name, agent in AGENTS.items() if not agent.unbounded]
    with tempfile.TemporaryDirectory(prefix="a2a-doctor-") as folder:
        machine = await checks.machine(chosen, settings, Path(folder), f"{MARK}-{id(settings):x}")
        parts: dict[str, Sequence[Finding]] = {"machine": machine}
        for name in chosen:
            parts[name] = await _agent(name, settings, source, Path(folder))
    return Report(parts=parts)


async def _agent(
    name: str, settings: WrapperSettings, source: Mapping[str, str], folder: Path
) -> Sequence[Finding]:
    making = Making(settings=settings, source=source, mark={TREE_VARIABLE: MARK}, folder=folder)
    try:
        adapter = AGENTS[name].make(making)
    except AgentMissingError as exc:
        return [Finding(name="program", verdict="failed", text=str(exc))]
    try:
        return await inspect(adapter)
    finally:
        await adapter.close()
