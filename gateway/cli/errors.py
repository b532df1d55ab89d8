"""How a command ends: its exit codes, and the error that ends it in one line.

Knows no command.
"""

from typing import Final

COMPLETED: Final = 0
REFUSED: Final = 1  # no gateway, or it said no
USAGE: Final = 2
FAILED: Final = 5
CANCELLED: Final = 6
NEEDS_INPUT: Final = 7
DETACHED: Final = 130  # 128 + SIGINT, as shells count it

EXIT_CODES: Final = (
    "Exit codes: 0 done or completed, 1 no gateway or refused, 2 wrong usage, 5 the run failed or "
    "was rejected, 6 cancelled, 7 the run waits for an answer, 130 left with Ctrl+C (the run goes "
    "on)."
)
# The exit code of a run's end, by its status.
ENDS: Final = {
    "completed": COMPLETED,
    "failed": FAILED,
    "rejected": FAILED,
    "cancelled": CANCELLED,
}
WAITING: Final = frozenset({"input_required", "auth_required"})


class CommandError(Exception):
    """The command cannot be done; the text says what to do next."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code
