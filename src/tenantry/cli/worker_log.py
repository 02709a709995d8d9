"""What Workers print, on the operator's terminal: with the Worker's name, and without power over the terminal.

A thread of its own writes, so that a terminal that is slow, or stopped with Ctrl-S, holds up nobody. It does so at its
own pace, and what it cannot keep up with is counted and left out: a Worker that floods its log costs others nothing.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

from tenantry.pace import Pace

if TYPE_CHECKING:
    from tenantry.host import LogEvent

__all__ = ["WorkerLog", "harmless"]

PENDING_CHARACTERS_MAX: Final = 8 * 1024 * 1024
EVENT_CHARACTERS: Final = 256
"""What an event counts beside its message, so that empty ones are bounded too."""

_LINES_AT_ONCE: Final = 32
_BATCH_SECONDS: Final = 0.02
"""What comes within it is written together: to wake a thread for each line would make the loop share the interpreter
for each line, too."""

_CYAN: Final = "\x1b[36m"
_PLAIN: Final = "\x1b[0m"
_COLORS: Final = {"error": "\x1b[31m", "warn": "\x1b[33m", "debug": "\x1b[2m"}


class WorkerLog:
    """Call it with events, from any thread. `close` writes what is left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._colored = self._stream.isatty() and "NO_COLOR" not in os.environ
        self._pending: deque[LogEvent] = deque()
        self._pending_characters = 0
        self._lost = 0
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="worker-log", daemon=True)
        self._thread.start()

    def __call__(self, event: LogEvent) -> None:
        with self._changed:
            if self._pending_characters >= PENDING_CHARACTERS_MAX:
                self._lost += 1
                return
            self._pending.append(event)
            self._pending_characters += len(event.message) + EVENT_CHARACTERS
            if len(self._pending) == 1:  # else the thread is awake, or about to be
                self._changed.notify()

    def close(self, seconds_max: float = 2.0) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds_max)

    def _write(self) -> None:
        pace = Pace()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                self._changed.wait_for(lambda: self._closing, _BATCH_SECONDS)
                events, self._pending = self._pending, deque()
                self._pending_characters = 0
                lost, self._lost = self._lost, 0
                closing = self._closing
            try:
                while events:
                    several = [events.popleft() for _ in range(min(len(events), _LINES_AT_ONCE))]
                    self._stream.write("".join(map(self._format, several)))
                    self._stream.flush()
                    pace.step()
                if lost:
                    self._stream.write(
                        f"[tenantry] {lost} log events were left out: Workers print faster than this is written\n"
                    )
                    self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads any more
            if closing:
                return

    def _format(self, event: LogEvent) -> str:
        """One line for each line of the message."""
        prefix = f"[{event.worker}] "
        if not self._colored:
            return "".join(f"{prefix}{harmless(line)}\n" for line in event.message.split("\n"))
        color = _COLORS.get(event.level, "")
        return "".join(
            f"{_CYAN}{prefix}{_PLAIN}{color}{harmless(line)}{_PLAIN}\n" for line in event.message.split("\n")
        )


def harmless(line: str) -> str:
    """Control characters shown, not obeyed."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() or char == "\t" else f"\\x{ord(char):02x}" for char in line)
