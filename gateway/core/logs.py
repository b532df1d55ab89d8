"""Keeps secrets out of what this process logs. Knows handlers, nothing that logs."""

import logging
from typing import Final

from gateway.core.secrets import Mask

_PLAIN: Final = logging.Formatter()


class MaskedFormatter(logging.Formatter):
    """Another formatter's lines (tracebacks too) without secrets."""

    def __init__(self, inner: logging.Formatter, mask: Mask) -> None:
        super().__init__()
        self._inner = inner
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        return self._mask.text(self._inner.format(record))


def mask_logs(mask: Mask) -> None:
    """From now on every line of the root logger's handlers is masked; once a process."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler.formatter, MaskedFormatter):
            handler.setFormatter(MaskedFormatter(handler.formatter or _PLAIN, mask))
