"""What a spawn names on this machine: the folder to work in and the profile to work by.

Blocking file access, so callers use a thread. Knows no run.
"""

import os
import stat
from pathlib import Path
from typing import Final

from gateway.core.extension import Profile
from gateway.profiles import shipped_profiles
from mcp_bridge.errors import RefusedError

PROFILE_BYTES: Final = 256 * 1024
PROFILE_SUFFIXES: Final = (".md", ".markdown", ".txt")


def folder(cwd: str, *, local: bool) -> str:
    """The absolute folder of `cwd`, without `..` and doubled slashes; links stay as they are.

    A folder of a remote agent need not exist here. Raises: RefusedError.
    """
    if "\0" in cwd or not Path(cwd).is_absolute():
        raise RefusedError(f"cwd must be an absolute path, got {cwd[:200]!r}")
    path = os.path.normpath(cwd)
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as exc:
        if not local:
            return path
        raise RefusedError(f"cwd does not exist: {cwd}; create the folder first") from exc
    except OSError as exc:
        raise RefusedError(f"cwd cannot be used: {cwd} ({exc.strerror})") from exc
    if not stat.S_ISDIR(mode):
        raise RefusedError(f"cwd is not a directory: {cwd}; give the folder that holds it")
    return path


def read_profile(name: str, cwd: str) -> Profile:
    """A job description: shipped, or a text file (absolute, or relative to `cwd`).

    The suffix keeps a profile from being a way to send any file of this machine to an agent.
    Raises: RefusedError.
    """
    shipped = shipped_profiles()
    path = shipped.get(name) or Path(cwd) / name
    try:
        real = path.resolve(strict=True)
        status = real.stat()
    except (OSError, ValueError) as exc:
        known = ", ".join(sorted(shipped)) or "none"
        raise RefusedError(
            f"profile not found: {name} (looked for a file in {cwd}; shipped profiles: {known})"
        ) from exc
    if not stat.S_ISREG(status.st_mode) or real.suffix.lower() not in PROFILE_SUFFIXES:
        raise RefusedError(f"profile must be a file named .md, .markdown or .txt: {name}")
    if status.st_size > PROFILE_BYTES:
        raise RefusedError(f"profile is larger than 256 KB: {name}")
    return Profile(source=name, text=_text(real, name))


def _text(path: Path, name: str) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except UnicodeDecodeError as exc:
        raise RefusedError(f"profile is not UTF-8 text: {name}") from exc
    except OSError as exc:
        raise RefusedError(f"profile cannot be read: {name} ({exc.strerror})") from exc
    if not text:
        raise RefusedError(f"profile is empty: {name}")
    return text
