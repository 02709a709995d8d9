"""Which invocations are kept although they ended well and said nothing.

By default none: such an invocation costs the host about 100 µs, and to write it down would cost half as much again. A
Worker's `observability` asks for all of them or for a share, and whoever follows a Worker's log asks for all of them
while they look. Either is bounded, for one Worker and for all together: what is beyond the bound is not recorded at
all, so that a busy Worker pays for the few that are kept and no more.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tenantry.host.limits import ATTENDED_PER_SECOND_MAX, ATTENDED_WORKERS_MAX, KEPT_PER_SECOND_MAX, KEPT_TOTAL_MAX

__all__ = ["Keeping"]

Place = tuple[str | None, str]
"""A Worker: its namespace, and its name."""


@dataclass(slots=True)
class _Bucket:
    """So many a second, and as many at once."""

    per_second: float
    level: float = 0.0
    filled_at: float = float("-inf")

    def try_take(self, now: float) -> bool:
        self.level = min(self.per_second, self.level + (now - self.filled_at) * self.per_second)
        self.filled_at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class _Kept:
    """Of one Worker."""

    rate: float = 0.0
    attended_until: float = float("-inf")
    sampled: _Bucket = field(default_factory=lambda: _Bucket(KEPT_PER_SECOND_MAX))
    attended: _Bucket = field(default_factory=lambda: _Bucket(ATTENDED_PER_SECOND_MAX))


class Keeping:
    """False while nobody asked for anything."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, draw: Callable[[], float] = random.random) -> None:
        """`draw` gives a number in [0, 1)."""
        self._clock = clock
        self._draw = draw
        self._workers: dict[Place, _Kept] = {}
        self._total = _Bucket(KEPT_TOTAL_MAX)

    def __bool__(self) -> bool:
        return bool(self._workers)

    def sample(self, place: Place, rate: float) -> None:
        """Keep this share of the Worker's invocations from now on, between 0 and 1."""
        kept = self._workers.get(place)
        if kept is not None:
            kept.rate = rate
        elif rate > 0:
            self._workers[place] = _Kept(rate)
        self._forget(place)

    def attend(self, place: Place, seconds: float) -> None:
        """Keep all for so long: somebody looks. Beyond so many Workers at once nothing is done."""
        if place not in self._workers and len(self._workers) >= ATTENDED_WORKERS_MAX:
            for each in list(self._workers):
                self._forget(each)
            if len(self._workers) >= ATTENDED_WORKERS_MAX:
                return
        self._workers.setdefault(place, _Kept()).attended_until = self._clock() + seconds

    def admits(self, place: Place) -> bool:
        """Whether an invocation that begins now is kept."""
        kept = self._workers.get(place)
        if kept is None:
            return False
        now = self._clock()
        if now < kept.attended_until:
            return kept.attended.try_take(now) and self._total.try_take(now)
        if not kept.rate:
            del self._workers[place]
            return False
        return self._draw() < kept.rate and kept.sampled.try_take(now) and self._total.try_take(now)

    def _forget(self, place: Place) -> None:
        kept = self._workers.get(place)
        if kept is not None and not kept.rate and kept.attended_until <= self._clock():
            del self._workers[place]
