"""The bearer token of a server: made once, kept in a file only its owner reads.

Knows no request and no server.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Final

TOKEN_BYTES: Final = 32  # 256 bits
_TOKEN_MIN: Final = 32  # characters; a shorter file was cut or written by hand


class TokenError(Exception):
    """The token file cannot be used; the text says what to do with it."""


def ensure_token(path: Path) -> str:
    """The token in `path`, made there (0600) when there is none.

    Two processes that start at once end up with the same token: a finished file is linked into
    place, and the first link wins. Raises: TokenError, OSError.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _link_new(path)
    return read_token(path)


def read_token(path: Path) -> str:
    """The token in `path`. Raises: TokenError (missing, readable by others, not a token)."""
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="ascii").strip()
    except FileNotFoundError as exc:
        raise TokenError(f"no token file {path}; start the server that owns it") from exc
    except (PermissionError, UnicodeDecodeError) as exc:
        raise TokenError(f"token file {path} cannot be read as a token") from exc
    if stat.S_IMODE(mode) & 0o077:
        raise TokenError(f"token file {path} is open to other users; chmod 600 it, or delete it")
    if len(token) < _TOKEN_MIN or not token.isprintable() or " " in token:
        raise TokenError(f"token file {path} holds no token; delete it and start its server again")
    return token


def _link_new(path: Path) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        path.hardlink_to(draft)
    except FileExistsError:
        pass  # another process was first; its token is as good
    finally:
        draft.unlink()
