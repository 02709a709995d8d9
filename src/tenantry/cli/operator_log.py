"""What the operator's terminal shows: the platform's own lines, those of the libraries that it uses, and what Workers
print, with the Worker's name. None of it has power over the terminal: what the platform says quotes tenants too.

A thread of its own writes, so that a terminal that is slow, or stopped with Ctrl-S, holds up nobody. It does so at its
own pace, and what it cannot keep up with is counted and left out: a Worker that floods its log, or fails all the time,
costs others little.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from tenantry.pace import Pace

if TYPE_CHECKING:
    from tenantry.host import LogEvent

__all__ = ["OperatorLog", "harmless"]

PENDING_CHARACTERS_MAX: Final = 8 * 1024 * 1024
LINE_CHARACTERS: Final = 256
"""What a line counts beside its text, so that empty ones are bounded too."""

_LINES_AT_ONCE: Final = 32
_BATCH_SECONDS: Final = 0.02
"""What comes within it is written together: to wake a thread for each line would make the loop share the interpreter
for each line, too."""

_CYAN: Final = "\x1b[36m"
_PLAIN: Final = "\x1b[0m"
_COLORS: Final = {"error": "\x1b[31m", "warn": "\x1b[33m", "debug": "\x1b[2m"}

_log = structlog.get_logger()

_Entry = dict[str, Any]
"""A line of the platform's: what structlog's processors have made of it."""


class OperatorLog:
    """Call it with the events of Workers, from any thread. `close` writes what is left; after it a line of the
    platform's is written where it is said."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._colored = self._stream.isatty() and "NO_COLOR" not in os.environ
        # Tracebacks are text by then; the other formats would print values of local variables, some of them tenants'.
        self._render = structlog.dev.ConsoleRenderer(
            colors=self._colored, exception_formatter=structlog.dev.plain_traceback
        )
        self._pending: deque[LogEvent | _Entry] = deque()
        self._pending_characters = 0
        self._lost = 0
        self._closing = False
        self._changed = threading.Condition()
        self._libraries = _Libraries(logging.WARNING)
        self._thread = threading.Thread(target=self._write, name="operator-log", daemon=True)
        self._thread.start()

    def configure(self) -> None:
        """Let the platform's own lines, and what libraries warn of, come here."""
        logging.getLogger().addHandler(self._libraries)
        logger = _PlatformLogger(self.say)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,  # of this moment, which the thread would not find any more
                lambda _logger, _method, entry: ((entry,), {}),
            ],
            logger_factory=lambda *_: logger,
        )

    def __call__(self, event: LogEvent) -> None:
        self._put(event, sum(map(len, event.messages)), len(event.messages))

    def say(self, entry: _Entry) -> None:
        """A line of the platform's own."""
        if not self._put(entry, sum(len(value) for value in entry.values() if isinstance(value, str))):
            self._stream.write("".join(self._lines(entry)))
            self._stream.flush()

    def _put(self, said: LogEvent | _Entry, characters: int, count: int = 1) -> bool:
        """`count` messages, or a line. False: nobody takes it any more."""
        with self._changed:
            if self._closing:
                return self._thread.is_alive()  # held up by a terminal that does not read: it is lost
            if self._pending_characters >= PENDING_CHARACTERS_MAX:
                self._lost += count
                return True
            self._pending.append(said)
            self._pending_characters += characters + count * LINE_CHARACTERS
            if len(self._pending) == 1:  # else the thread is awake, or about to be
                self._changed.notify()
            return True

    def close(self, seconds_max: float = 2.0) -> None:
        logging.getLogger().removeHandler(self._libraries)
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds_max)

    def _write(self) -> None:
        pace = Pace(self._is_behind)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                self._changed.wait_for(lambda: self._closing, _BATCH_SECONDS)
                pending, self._pending = self._pending, deque()
                self._pending_characters = 0
                lost, self._lost = self._lost, 0
                closing = self._closing
            try:
                lines = chain.from_iterable(map(self._lines, pending))
                while several := "".join(islice(lines, _LINES_AT_ONCE)):
                    self._stream.write(several)
                    self._stream.flush()
                    pace.step()
                if lost:
                    self._stream.write(
                        f"[tenantry] {lost} lines were left out: they come faster than this is written\n"
                    )
                    self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads any more
            if closing:
                return

    def _is_behind(self) -> bool:
        return self._closing or self._pending_characters > PENDING_CHARACTERS_MAX // 4

    def _lines(self, said: LogEvent | _Entry) -> Iterator[str]:
        """What there is to say of the platform, or one for each line of a Worker's messages, which may be many."""
        if isinstance(said, dict):
            yield f"{self._render(None, '', {name: _shown(name, value) for name, value in said.items()})}\n"
            return
        begin, end = f"[{said.worker}] ", "\n"
        if self._colored:
            begin, end = f"{_CYAN}{begin}{_PLAIN}{_COLORS.get(said.level, '')}", f"{_PLAIN}\n"
        for message in said.messages:
            for line in message.split("\n"):
                yield f"{begin}{harmless(line)}{end}"


class _PlatformLogger:
    """Where structlog's lines go."""

    def __init__(self, say: Callable[[_Entry], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = say


class _Libraries(logging.Handler):
    """What is said by the standard library's `logging`: by asyncio, say, of a task that failed for nobody."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say = _log.error if record.levelno >= logging.ERROR else _log.warning
            say(record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - what a library logs may be anything, and `logging` has a place for it
            self.handleError(record)


def _shown(name: str, value: Any) -> Any:  # whatever was to be logged
    if not isinstance(value, str):
        return value  # its repr is shown
    if name == "exception":
        # Its text may have lines too, and none of them is to begin like one of ours.
        return "\n".join(f"  {harmless(line)}" for line in value.split("\n"))
    return harmless(value)


def harmless(line: str) -> str:
    """Control characters shown, not obeyed."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in line)
