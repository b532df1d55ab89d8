"""The run from within which the relay was started, so that what it asks for is that run's child.

Standard library only. A wrapper tells its agent's processes: by the run's id, by a file that holds
the present one's where a process outlives its run, and for Codex by a folder of such files, named
after the threads of its one process.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

RUN_VARIABLE: Final = "A2A_GATEWAY_RUN"
RUN_FILE_VARIABLE: Final = "A2A_GATEWAY_RUN_FILE"
RUN_FILES_VARIABLE: Final = "A2A_GATEWAY_RUN_FILES"
RUN_VARIABLES: Final = (RUN_VARIABLE, RUN_FILE_VARIABLE, RUN_FILES_VARIABLE)
PARENT_HEADER: Final = "A2A-Parent-Run"
ID_MAX: Final = 64  # characters, as the extension's parent has it

_THREAD_VARIABLE: Final = "CODEX_THREAD_ID"  # in the environment of Codex's commands
# Beside the arguments of its tool calls; a sub-agent's thread is in its parent's session.
_THREAD_META: Final = ("threadId", "sessionId")
_THREAD: Final = re.compile(r"[A-Za-z0-9-]{1,64}")

# The id of the run within which a message (its `params`) is sent; None outside of runs.
Within: TypeAlias = Callable[[Mapping[str, Any]], str | None]


def checked(given: str | None) -> str | None:
    """A run's id, None for what cannot be one."""
    given = (given or "").strip()
    return given if 0 < len(given) <= ID_MAX and given.isascii() and given.isprintable() else None


def within(environ: Mapping[str, str]) -> Within:
    """Tells of each message from within which run it is sent."""
    if (run_id := checked(environ.get(RUN_VARIABLE))) is not None:
        return lambda _: run_id
    if file := environ.get(RUN_FILE_VARIABLE):
        return lambda _: _read(Path(file))
    folder, own = environ.get(RUN_FILES_VARIABLE), environ.get(_THREAD_VARIABLE)
    if not folder:
        return nowhere

    def of_thread(params: Mapping[str, Any]) -> str | None:
        meta = params.get("_meta")
        about = cast("dict[str, Any]", meta) if isinstance(meta, dict) else {}
        for thread in (*(about.get(name) for name in _THREAD_META), own):
            known = isinstance(thread, str) and _THREAD.fullmatch(thread)
            if known and (found := _read(Path(folder, str(thread)))) is not None:
                return found
        return None

    return of_thread


def nowhere(_: Mapping[str, Any]) -> None:
    """Outside of runs."""


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of what outlives the run: a gateway is nobody's child."""
    return {name: value for name, value in environ.items() if name not in RUN_VARIABLES}


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8") as file:
            return checked(file.read(4 * ID_MAX))
    except (OSError, UnicodeDecodeError):
        return None
