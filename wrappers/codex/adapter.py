"""Codex as an agent: the Adapter, and where its binary is found."""

import importlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.core.extension import CodingRequest
from gateway.core.json import JsonObject
from wrappers.adapter import Context, Finding
from wrappers.codex.inspection import inspect
from wrappers.codex.ledger import Ledger
from wrappers.codex.server import AppServer
from wrappers.codex.session import CodexSession
from wrappers.codex.terms import refuse_unsupported
from wrappers.codex.threads import Warm
from wrappers.runfile import RunFiles


class CodexAdapter:
    """One process for all contexts. `env` is its whole environment, `home` its folder."""

    def __init__(self, *, binary: Path, env: Mapping[str, str], home: Path) -> None:
        self._binary = binary
        self._files = RunFiles(home / "codex-runs")
        self._files.clear()
        self._env = {**env, **self._files.environment}
        self._server = AppServer(binary=binary, env=self._env, home=home)
        self._warm = Warm()
        self._ledger = Ledger(home / "codex-usage.json")

    @property
    def name(self) -> str:
        return "codex"

    def check(self, request: CodingRequest) -> None:
        refuse_unsupported(request)

    async def inspect(self) -> Sequence[Finding]:
        return await inspect(self._binary, self._env)

    def status(self) -> JsonObject:
        return self._server.status()

    async def open(self, context: Context) -> CodexSession:
        return CodexSession(self._server, self._warm, self._ledger, self._files, context)

    async def close(self) -> None:
        await self._server.close()


def find_codex(setting: Path | None, path: str | None) -> Path | None:
    """The codex to run: the one that is set, the one on PATH, or the one of the extra `codex`.

    None when there is none: `pip install a2a-gateway[codex]` brings one.
    """
    if setting is not None:
        return setting if setting.is_file() else None
    if (found := shutil.which("codex", path=path or "")) is not None:
        return Path(found)
    try:
        bundle = importlib.import_module("codex_cli_bin")  # an extra of 140 MB: may be absent
    except ImportError:
        return None
    return Path(bundle.bundled_codex_path())
