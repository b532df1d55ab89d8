"""Checks the folder a run asks to work in: absolute, real, there, a directory, under a root.

Knows no context and no agent.
"""

from collections.abc import Sequence
from pathlib import Path

from gateway.core.errors import InvalidInputError


def checked_cwd(cwd: str | None, roots: Sequence[Path]) -> Path:
    """The real path of `cwd`. With `roots` it must be one of them or lie below one.

    A wrapper of a single root needs no `cwd`: clients that know A2A alone cannot name one.
    Raises: InvalidInputError, saying which folder is meant and what would do.
    """
    if not cwd and len(roots) == 1:
        cwd = str(roots[0])
    if not cwd:
        raise InvalidInputError(
            "cwd is required for a new context; send it in the coding-run metadata", "cwd"
        )
    if "\0" in cwd:
        raise InvalidInputError("cwd must not contain a zero byte", "cwd")
    if not Path(cwd).is_absolute():
        raise InvalidInputError(f"cwd must be an absolute path: {cwd}", "cwd")
    real = _real(cwd)
    if not real.is_dir():
        raise InvalidInputError(f"cwd is not a directory: {cwd}", "cwd")
    # Real paths on both sides: a link below a root may point outside, `rootx` is no child of `root`.
    if roots and not any(real.is_relative_to(_root(root)) for root in roots):
        allowed = ", ".join(str(root) for root in roots)
        raise InvalidInputError(
            f"cwd is outside the folders this agent may work in: {cwd}; allowed: {allowed} and "
            "what is below",
            "cwd",
        )
    return real


def _real(cwd: str) -> Path:
    try:
        return Path(cwd).resolve(strict=True)
    except FileNotFoundError as exc:
        raise InvalidInputError(f"cwd does not exist: {cwd}", "cwd") from exc
    except NotADirectoryError as exc:
        raise InvalidInputError(f"cwd is not a directory: {cwd}", "cwd") from exc
    except (OSError, RuntimeError) as exc:  # a loop of links, a name too long, no permission
        raise InvalidInputError(f"cwd cannot be read: {cwd}", "cwd") from exc


def _root(root: Path) -> Path:
    return root.resolve()
