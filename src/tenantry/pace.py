"""Work of a thread that has time, in small bites: who shares the interpreter with it does not feel it.

A thread that computes in Python gives the interpreter up when it is asked to, which is after 5 ms by default, and the
event loop asks for it back after each wait for its sockets. A thread that sleeps in between has given it up already.
"""

from __future__ import annotations

import time
from typing import Final

__all__ = ["Pace"]

_BITE_SECONDS: Final = 0.0002
_REST_SECONDS: Final = 0.0004


class Pace:
    """Of one thread. `step` after each little piece of work."""

    def __init__(self) -> None:
        self._since = time.thread_time()

    def step(self) -> None:
        """Rest, if there was enough work since the last rest: twice as long."""
        now = time.thread_time()
        if now - self._since >= _BITE_SECONDS:
            time.sleep(_REST_SECONDS)
            self._since = time.thread_time()
