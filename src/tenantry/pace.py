"""Work of a thread that has time, in small bites: who shares the interpreter with it hardly feels it.

A thread that computes in Python gives the interpreter up when it is asked to, which is after 5 ms by default, and the
event loop asks for it back after each wait for its sockets. A thread that sleeps in between has given it up already.

A request comes to the loop some ten times within two milliseconds, so the rests are long enough that it meets one bite,
and not one at each step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Pace"]

_BITE_SECONDS: Final = 0.0002
_REST_SECONDS: Final = 0.002
_REST_SECONDS_BEHIND: Final = 0.0004


class Pace:
    """Of one thread, and one piece of work. `step` after each little part of it.

    `is_behind` says whether so much waits to be done that the rests must be shorter.
    """

    def __init__(self, is_behind: Callable[[], bool]) -> None:
        self._is_behind = is_behind
        self._since = time.thread_time()

    def step(self) -> None:
        """Rest, if there was enough work since the last rest."""
        now = time.thread_time()
        if now - self._since >= _BITE_SECONDS:
            time.sleep(_REST_SECONDS_BEHIND if self._is_behind() else _REST_SECONDS)
            self._since = time.thread_time()
