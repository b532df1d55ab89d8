"""The tokens that a wrapper made for the gateway it registers at: hashes on disk, and who they are.

Knows no request and no gateway but by its URL. Each registration makes a new token; the ones before
are good for a while, because the gateway may not have heard of the new one.
"""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from gateway.core import json
from gateway.core.face.tokens import TOKEN_BYTES
from gateway.core.json import JsonObject

KEPT: Final = 3  # hashes a gateway: starts whose token may be the one that it knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """`key` proves to the gateway that a later registration of the same name is ours too."""

    token: str
    key: str


class Passes:
    """The passes for one gateway, in the file `path` (0600). Those for any other are dropped: who
    no longer registers there no longer lets it in."""

    def __init__(self, path: Path, gateway: str | None) -> None:
        self._path = path
        self._gateway = gateway
        self._key = ""
        self._hashes: list[str] = []
        self.principal = f"gateway:{_digest((gateway or '').encode())[:16]}"
        if gateway is None:
            path.unlink(missing_ok=True)
        else:
            self._read()

    def mint(self) -> Pass:
        """A new token, known from now on, also to the next process."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._key = self._key or secrets.token_urlsafe(TOKEN_BYTES)
        self._hashes = [_digest(token.encode()), *self._hashes][:KEPT]
        self._write()
        return Pass(token=token, key=self._key)

    def holder(self, token: bytes) -> str | None:
        """The principal behind a token. Takes as long whether and whichever one fits."""
        given = _digest(token)
        fits = [hmac.compare_digest(given, known) for known in self._hashes]
        return self.principal if any(fits) else None

    def _read(self) -> None:
        try:
            stored = json.decode_object(self._path.read_bytes())
        except (OSError, ValueError):
            return
        if stored.get("gateway") == self._gateway and isinstance(key := stored.get("key"), str):
            self._key = key
            self._hashes = [str(one) for one in cast("list[Any]", stored.get("hashes") or [])]

    def _write(self) -> None:
        stored: JsonObject = {
            "gateway": self._gateway,
            "key": self._key,
            "hashes": list(self._hashes),
        }
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.encode(stored))
        draft.replace(self._path)


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
