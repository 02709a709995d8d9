"""What the code prints becomes log events of the invocation that printed it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable

__all__ = ["Capture"]

_LINE_CHARACTERS_MAX = 16 * 1024

Emit = Callable[[str, str], None]


def _drop(_level: str, _message: str) -> None:
    """Nobody listens yet."""


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


class Capture:
    """Streams and a handler that emit to whom `begin` names. Made once, by the zygote: a child only puts them in place."""

    def __init__(self) -> None:
        self._emit: Emit = _drop
        self._out = _LogStream(self._tell, "log")
        self._err = _LogStream(self._tell, "error")
        self._handlers: list[logging.Handler] = [_LogHandler(self._tell)]

    def _tell(self, level: str, message: str) -> None:
        self._emit(level, message)

    def begin(self, emit: Emit) -> None:
        """Send stdout, stderr and logging to `emit(level, message)`."""
        self._emit = emit
        sys.stdout, sys.stderr = self._out, self._err
        logging.root.handlers = self._handlers
