"""The `codex app-server` of a wrapper: started when a run needs it, and again when it died.

Knows how the process comes, goes and logs in, and which runs need it; no thread.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.core.json import JsonObject, as_object
from wrappers.codex.client import CodexClient

# app-server itself ignores keys in its environment; the first that is set is used to log in.
KEY_NAMES: Final = ("CODEX_API_KEY", "OPENAI_API_KEY")
EPHEMERAL: Final = 'cli_auth_credentials_store="ephemeral"'  # a login that is written nowhere


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What its configuration says: the model and effort of runs that name none, and the variable
    that the model's provider takes its key from, if it is not a login of Codex's own."""

    model: str | None
    effort: str | None
    variable: str | None


@dataclass(slots=True, eq=False)
class _Process:
    client: CodexClient
    runs: set[object] = field(default_factory=set[object])
    retired: bool = False
    logged_in: bool = False
    defaults: Defaults | None = None


class AppServer:
    """`env` is the whole environment of the process, `home` its folder."""

    def __init__(self, *, binary: Path, env: Mapping[str, str], home: Path) -> None:
        self._binary = binary
        self._env = dict(env)
        self._home = home
        self._starting = asyncio.Lock()
        self._current: _Process | None = None
        self._known: dict[CodexClient, _Process] = {}

    @property
    def idle(self) -> bool:
        return not any(process.runs for process in self._known.values())

    def status(self) -> JsonObject:
        """Figures: whether it lives, the threads it has loaded, the turns that run."""
        living = [process for process in self._known.values() if process.client.alive]
        return {
            "app_servers": len(living),
            "threads_loaded": sum(len(process.client.threads) for process in living),
            "turns_running": sum(len(process.runs) for process in living),
        }

    async def close(self) -> None:
        """End the process; nothing of it is left."""
        async with self._starting:
            self._current = None
            while self._known:
                await self._end(next(iter(self._known.values())))

    async def client(self, run: object) -> CodexClient:
        """A process for `run` until `release`, started when there is none that can be used.

        Raises: CodexGoneError, RpcError, OSError.
        """
        async with self._starting:
            process = self._current
            if process is None or process.retired or not process.client.alive:
                self._current = None
                if process is not None and not process.runs:
                    await self._end(process)
                process = self._current = _Process(await self._start())
                self._known[process.client] = process
            process.runs.add(run)
            return process.client

    async def release(self, client: CodexClient, run: object) -> None:
        """Say that `run` needs `client` no more."""
        process = self._known.get(client)
        if process is None:
            return
        process.runs.discard(run)
        if process is not self._current and not process.runs:
            await self._end(process)

    async def logged_in(self, client: CodexClient) -> bool:
        """Whether its model can be asked at all."""
        process = self._known[client]
        if not process.logged_in:
            answer = await client.call("account/read")
            needed = bool(answer.get("requiresOpenaiAuth"))
            process.logged_in = answer.get("account") is not None or not needed
        return process.logged_in

    async def defaults(self, client: CodexClient) -> Defaults:
        process = self._known[client]
        if process.defaults is None:
            config = as_object((await client.call("config/read")).get("config"))
            provider = as_object(config.get("model_providers")).get(
                str(config.get("model_provider"))
            )
            process.defaults = Defaults(
                model=config.get("model"),
                effort=config.get("model_reasoning_effort"),
                variable=as_object(provider).get("env_key"),
            )
        return process.defaults

    def retire(self, client: CodexClient) -> None:
        """Its login is read once: runs that begin from now on get another process."""
        if (process := self._known.get(client)) is not None:
            process.retired = True

    def retired(self, client: CodexClient) -> bool:
        process = self._known.get(client)
        return process is None or process.retired

    # -- the process ---------------------------------------------------------------------------

    async def _start(self) -> CodexClient:
        key = key_of(self._env)
        overrides = (EPHEMERAL,) if key is not None else ()
        client = await CodexClient.start(
            self._binary, cwd=self._home, env=self._env, overrides=overrides
        )
        if key is not None:
            try:
                params = {"type": "apiKey", "apiKey": self._env[key]}
                await client.call("account/login/start", params)
            except BaseException:
                await client.close()
                raise
        return client

    async def _end(self, process: _Process) -> None:
        del self._known[process.client]
        await process.client.close()


def codex_home(env: Mapping[str, str]) -> Path:
    """Where Codex keeps its settings and its login."""
    return Path(env.get("CODEX_HOME") or Path(env.get("HOME", "/")) / ".codex")


def key_of(env: Mapping[str, str]) -> str | None:
    """The variable with the API key to log in with: not beside a login that the user has made."""
    if (codex_home(env) / "auth.json").exists():
        return None
    return next((name for name in KEY_NAMES if env.get(name)), None)
