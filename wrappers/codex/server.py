"""The one `codex app-server` of a wrapper: started when a run needs it, and again when it died.

Knows how the process comes, goes and logs in; no thread and no run.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from gateway.core.json import as_object
from wrappers.codex.client import CodexClient

# app-server itself ignores keys in its environment; the first that is set is used to log in.
KEY_NAMES: Final = ("CODEX_API_KEY", "OPENAI_API_KEY")
EPHEMERAL: Final = 'cli_auth_credentials_store="ephemeral"'  # a login that is written nowhere


class AppServer:
    """`env` is the whole environment of the process, `home` its folder."""

    def __init__(self, *, binary: Path, env: Mapping[str, str], home: Path) -> None:
        self._binary = binary
        self._env = dict(env)
        self._home = home
        self._starting = asyncio.Lock()
        self._client: CodexClient | None = None
        self._logged_in = False
        self._defaults: tuple[str | None, str | None] | None = None
        self._retired: set[CodexClient] = set()
        self._runs: dict[CodexClient, set[object]] = {}

    @property
    def idle(self) -> bool:
        return not any(self._runs.values())

    async def close(self) -> None:
        """End the process; nothing of it is left."""
        async with self._starting:
            await self._drop()

    async def client(self) -> CodexClient:
        """The running process, started when there is none. Raises: CodexGoneError, RpcError."""
        async with self._starting:
            if self._client is not None and self._usable(self._client):
                return self._client
            await self._drop()
            self._client = await self._start()
            return self._client

    async def logged_in(self, client: CodexClient) -> bool:
        """Whether its model can be asked at all."""
        if not self._logged_in:
            answer = await client.call("account/read")
            needed = bool(answer.get("requiresOpenaiAuth"))
            self._logged_in = answer.get("account") is not None or not needed
        return self._logged_in

    async def defaults(self, client: CodexClient) -> tuple[str | None, str | None]:
        """The model and effort of its configuration, for runs that name none."""
        if self._defaults is None:
            config = as_object((await client.call("config/read")).get("config"))
            self._defaults = (config.get("model"), config.get("model_reasoning_effort"))
        return self._defaults

    def retire(self, client: CodexClient) -> None:
        """Its login is read once: start another process when no run needs this one any more."""
        self._retired.add(client)

    def busy(self, client: CodexClient, run: object, *, on: bool) -> None:
        """Say that `run` needs `client`, or does no more."""
        runs = self._runs.setdefault(client, set())
        if on:
            runs.add(run)
        else:
            runs.discard(run)

    # -- the process ---------------------------------------------------------------------------

    def _usable(self, client: CodexClient) -> bool:
        needed = bool(self._runs.get(client))
        return client.alive and (needed or client not in self._retired)

    async def _start(self) -> CodexClient:
        key = self._key()
        overrides = (EPHEMERAL,) if key is not None else ()
        client = await CodexClient.start(
            self._binary, cwd=self._home, env=self._env, overrides=overrides
        )
        if key is not None:
            try:
                await client.call("account/login/start", {"type": "apiKey", "apiKey": key})
            except BaseException:
                await client.close()
                raise
        return client

    def _key(self) -> str | None:
        """The API key to log in with: not beside a login that the user has made."""
        home = self._env.get("CODEX_HOME") or str(Path(self._env.get("HOME", "/")) / ".codex")
        if (Path(home) / "auth.json").exists():
            return None
        return next((self._env[name] for name in KEY_NAMES if self._env.get(name)), None)

    async def _drop(self) -> None:
        client, self._client = self._client, None
        self._logged_in, self._defaults = False, None
        if client is not None:
            self._retired.discard(client)
            self._runs.pop(client, None)
            await client.close()
