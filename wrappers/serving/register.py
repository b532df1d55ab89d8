"""Makes a wrapper known to a gateway: hands over its name, its URL and a token made for that gateway.

Knows the gateway by one address, `/agents`. A gateway that does not answer is asked until it does;
one that refuses is believed, and what it says is what the person who started the wrapper reads.
"""

import asyncio
import logging
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx

from gateway.core import json
from gateway.core.face.tokens import TokenError, read_token
from gateway.core.json import JsonObject, as_object
from wrappers.serving.passes import Pass
from wrappers.settings import is_loopback_url

PATH: Final = "/agents"
TRY_S: Final = 10.0
DELAY_MIN_S: Final = 1.0
DELAY_MAX_S: Final = 60.0
RENEW_S: Final = 300.0  # said again so often: the gateway may have lost its home
GOODBYE_S: Final = 2.0

log = logging.getLogger(__name__)


class RefusedError(Exception):
    """The gateway does not take this wrapper; the text says why and what to do."""


def name_at_gateway(agent: str, given: str | None) -> str:
    """The wrapper's own name if it has one, else agent and host: a gateway knows many hosts."""
    if given is not None:
        return given
    host = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname().partition(".")[0])
    return f"{agent}-{host}"[:64].rstrip("-.")


class Registrar:
    """One wrapper's registration at `gateway`, as `name`, reached at `url`."""

    def __init__(self, gateway: str, *, name: str, url: str, token_file: Path, given: Pass) -> None:
        self._gateway = gateway
        self._name = name
        self._url = url
        self._token_file = token_file
        self._pass = given
        self._client = httpx.AsyncClient(
            timeout=TRY_S, follow_redirects=False, trust_env=not is_loopback_url(gateway)
        )
        self._registered = False
        self._trouble: str | None = None

    def to_json(self) -> JsonObject:
        """For `/status`."""
        return {
            "gateway": self._gateway,
            "name": self._name,
            "registered": self._registered,
            "trouble": self._trouble,
        }

    async def run(self, refused: Callable[[str], None]) -> None:
        """Register, and again now and then, until cancelled. `refused` is told when the gateway
        says no before it ever said yes; then this returns."""
        delay_s = DELAY_MIN_S
        while True:
            wait_s = RENEW_S
            try:
                await self._register()
                delay_s = DELAY_MIN_S
            except RefusedError as exc:
                self._troubled(str(exc))
                if not self._registered:
                    refused(str(exc))
                    return
            except (httpx.HTTPError, TokenError) as exc:
                why = str(exc) if isinstance(exc, TokenError) else type(exc).__name__
                self._troubled(f"gateway {self._gateway} cannot be told ({why}); trying again")
                wait_s, delay_s = delay_s, min(delay_s * 2, DELAY_MAX_S)
            await asyncio.sleep(wait_s)

    async def close(self) -> None:
        """Tell the gateway that nobody is at this URL any more; at most GOODBYE_S."""
        if self._registered:
            with suppress(TimeoutError, httpx.HTTPError, TokenError):
                async with asyncio.timeout(GOODBYE_S):
                    await self._client.request(
                        "DELETE",
                        f"{self._gateway}{PATH}/{self._name}",
                        json={"key": self._pass.key},
                        headers=self._authorization(),
                    )
        await self._client.aclose()

    async def _register(self) -> None:
        answer = await self._client.post(
            self._gateway + PATH,
            json={
                "name": self._name,
                "agent_url": self._url,
                "token": self._pass.token,
                "key": self._pass.key,
            },
            headers=self._authorization(),
        )
        if answer.status_code >= 500 or answer.status_code == 429:
            raise httpx.HTTPStatusError(
                f"HTTP {answer.status_code}", request=answer.request, response=answer
            )
        if not answer.is_success:
            raise RefusedError(self._refusal(answer))
        if not self._registered or self._trouble is not None:
            log.info("registered at %s as %r, reached at %s", self._gateway, self._name, self._url)
        self._registered, self._trouble = True, None

    def _authorization(self) -> dict[str, str]:
        """Read anew each time: the file may be made, or replaced, while we try."""
        return {"Authorization": f"Bearer {read_token(self._token_file)}"}

    def _refusal(self, answer: httpx.Response) -> str:
        if answer.status_code == 401:
            return (
                f"gateway {self._gateway} does not know the register token in {self._token_file}; "
                "`a2a-gateway register-token` there names the right file"
            )
        said = f"HTTP {answer.status_code}"
        with suppress(ValueError):
            body = json.decode_object(answer.content)
            said = str(as_object(body.get("error")).get("message") or said)
        return f"gateway {self._gateway} refuses {self._name!r}: {said[:500]}"

    def _troubled(self, text: str) -> None:
        if text != self._trouble:  # said once, not once a try
            log.warning("%s", text)
        self._trouble = text
