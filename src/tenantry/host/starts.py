"""How many worker processes begin at once: a storm of cold starts takes its turns, and whoever is warm is not in it.

    pool ── enter() ──► a place ──► process forked, its import under way ──► it speaks, ends, or takes too long
              │                                                                         │
              └── none free: waits, first come first served                             └── the place is the next one's

A place is not held for longer than START_PLACE_SECONDS: whose import sleeps or spins must not keep others from theirs.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tenantry.errors import Overloaded
from tenantry.host.limits import START_PLACE_SECONDS, STARTS_QUEUED_MAX, TICK_SECONDS

if TYPE_CHECKING:
    from tenantry.host.process import WorkerProcess

__all__ = ["Start", "Starts"]


@dataclass(slots=True, eq=False)
class Start:
    """A place. `process` is None while it is being forked."""

    since: float
    process: WorkerProcess | None = None


class Starts:
    def __init__(self, at_once: int, is_full: Callable[[], bool]) -> None:
        """`is_full`: whether there is no room for another process at all."""
        self._at_once = at_once
        self._is_full = is_full
        self._places: set[Start] = set()
        self._queue: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def enter(self) -> Start:
        """Wait for a place. Raises Overloaded. Whoever has one gives it up with `leave`, or sets its process."""
        loop = asyncio.get_running_loop()
        if self._is_full():
            raise Overloaded("There is no memory for another process: those of all Workers are busy.")
        self._clear(loop.time())
        if self._queue or len(self._places) >= self._at_once:
            if len(self._queue) >= STARTS_QUEUED_MAX:
                raise Overloaded("Too many Workers are being started.")
            turn: asyncio.Future[None] = loop.create_future()
            self._queue.append(turn)
            self._look_soon(loop)
            try:
                await turn
            finally:
                if turn in self._queue:
                    self._queue.remove(turn)
        place = Start(loop.time())
        self._places.add(place)
        self._look_soon(loop)
        return place

    def leave(self, place: Start) -> None:
        """Nothing came of it."""
        self._places.discard(place)
        self._look(asyncio.get_running_loop())

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None:
            self._timer = loop.call_later(TICK_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.close()
        self._clear(loop.time())
        free = self._at_once - len(self._places)
        while self._queue and free > 0:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
        if self._queue or self._places:  # who is through is forgotten soon, whether somebody waits or not
            self._look_soon(loop)

    def _clear(self, now: float) -> None:
        """Take back the places of those that are done, and of those that take their time."""
        self._places = {
            place
            for place in self._places
            if now - place.since < START_PLACE_SECONDS
            and (place.process is None or not (place.process.peer.session.greeted or place.process.peer.is_closed))
        }
