"""What the code prints becomes log events of the invocation that printed it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable

__all__ = ["capture"]

_LINE_CHARACTERS_MAX = 16 * 1024

Emit = Callable[[str, str], None]


class _LogStream(io.TextIOBase):
    """A text stream that emits whole lines."""

    def __init__(self, emit: Emit, level: str) -> None:
        self._emit = emit
        self._level = level
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        if len(self._rest) > _LINE_CHARACTERS_MAX:
            lines.append(self._rest)
            self._rest = ""
        for line in lines:
            self._emit(self._level, line)
        return len(text)

    def flush(self) -> None:
        if self._rest:
            rest, self._rest = self._rest, ""
            self._emit(self._level, rest)


class _LogHandler(logging.Handler):
    def __init__(self, emit: Emit) -> None:
        super().__init__()
        self._emit_event = emit

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._emit_event(_level(record.levelno), self.format(record))
        except Exception:  # noqa: BLE001 - logging's own rule: a record that cannot be formatted harms nobody
            self.handleError(record)


def _level(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warn"
    return "info" if number >= logging.INFO else "debug"


def capture(emit: Emit) -> None:
    """Send stdout, stderr and logging to `emit(level, message)`."""
    sys.stdout = _LogStream(emit, "log")
    sys.stderr = _LogStream(emit, "error")
    root = logging.getLogger()
    root.handlers[:] = [_LogHandler(emit)]
    root.setLevel(logging.INFO)
