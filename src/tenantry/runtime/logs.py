"""What the code prints becomes log events of the invocation that printed it."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable

__all__ = ["Capture"]

_LINE_CHARACTERS_MAX = 16 * 1024

Emit = Callable[[str, str], None]


def _to_stderr(_level: str, message: str) -> None:
    """Nobody listens yet: this is the zygote, whose stderr is the operator's."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"{message}\n")


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
    """Where stdout, stderr and logging go: to `emit(level, message)`, which a process sets as it becomes its Worker.

    Put in place once, by the zygote.
    """

    def __init__(self) -> None:
        self.emit: Emit = _to_stderr

    def put_in_place(self) -> None:
        sys.stdout, sys.stderr = _LogStream(self._tell, "log"), _LogStream(self._tell, "error")
        logging.root.handlers[:] = [_LogHandler(self._tell)]
        logging.root.setLevel(logging.INFO)

    def _tell(self, level: str, message: str) -> None:
        self.emit(level, message)
