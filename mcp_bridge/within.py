"""The run from within which the relay was started, so that what it asks for is that run's child.

Standard library only. A wrapper tells its agent's processes: by the run's id, or, where a process
outlives its run, by a file that holds the present one's.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

RUN_VARIABLE: Final = "A2A_GATEWAY_RUN"
RUN_FILE_VARIABLE: Final = "A2A_GATEWAY_RUN_FILE"
RUN_VARIABLES: Final = (RUN_VARIABLE, RUN_FILE_VARIABLE)
PARENT_HEADER: Final = "A2A-Parent-Run"
ID_MAX: Final = 64  # characters, as the extension's parent has it


def checked(given: str | None) -> str | None:
    """A run's id, None for what cannot be one."""
    given = (given or "").strip()
    return given if 0 < len(given) <= ID_MAX and given.isascii() and given.isprintable() else None


def within(environ: Mapping[str, str]) -> Callable[[], str | None]:
    """Tells the id of the run whose agent asks now; None outside of runs."""
    run_id, path = checked(environ.get(RUN_VARIABLE)), environ.get(RUN_FILE_VARIABLE)
    if run_id is not None or not path:
        return lambda: run_id
    return lambda: _read(path)


def _read(path: str) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as file:
            return checked(file.read(4 * ID_MAX))
    except (OSError, UnicodeDecodeError):
        return None


def outside(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of what outlives the run: a gateway is nobody's child."""
    return {name: value for name, value in environ.items() if name not in RUN_VARIABLES}
