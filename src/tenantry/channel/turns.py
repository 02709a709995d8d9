"""Whose frames are read next, when more of them come than can be served.

A loop reads from whichever sockets are ready, so a tenant that sends from four processes without end has four turns
where a quiet one has one, and the quiet one waits for all of them at each step of its request. Here each tenant has a
*lane*, and lanes are served as a fair queue: the one that has had the least of the loop's time goes first.

    readable ──► has it had less than whoever is served now? is nobody waiting, and the turn's time not used up?
                   │ no to all                                    │ yes to one
                   │                                              └──► it is read at once
                   └──► its lane waits, its socket is not watched ──► once in a turn of the loop: lanes by what they
                                                                      have had, as many as the turn's time is enough for

What a lane has had counts for a while only: who was alone for an hour owes nobody that hour.

A request of a quiet tenant comes to the loop some ten times, and each time it waits for what the loop is at. So while
several tenants have something to say, each says little at a time; one that is alone is read in large pieces.

Reading wakes whoever waits for an answer, often on the loop's own processor. A loop that sleeps soon lets them have it.
One that is kept at reading does not, and the kernel would look for somebody else after milliseconds only: so it offers
its processor after each turn that was used up.

And a process that lets others go first on the processors lets them go first here too: while one of another tenant is at
a request, it waits for a moment without a word from that one, or until it has waited long enough.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
from collections import deque
from time import perf_counter
from typing import Final, Protocol

__all__ = ["Lane", "Turns"]

_TURN_SECONDS: Final = 0.0003
"""Served in one turn of the loop. Everybody who waits for the loop waits for that, some ten times in a request."""
_EVENT_SECONDS: Final = 0.00005
"""What an event costs beyond reading it: most of them start a task."""
_LEAD_SECONDS_MAX: Final = 0.05
"""What a lane can be held to have had more than others, however much it was."""
_ARREARS_SECONDS_MAX: Final = 0.005
"""And less: what one that was silent is read at once for, before it waits like the others."""
_COMPANY_SECONDS: Final = 0.05
"""For so long after another tenant said something, one is not alone."""
_CALM_SECONDS: Final = 0.001
"""For so long after a tenant said something, or was asked something, it is at a request."""
_BEHIND_SECONDS_MAX: Final = 0.005
"""What a process in the background waits for others at most: longer than a request that finds its processes started."""


class Reader(Protocol):
    in_background: bool
    """It lets others go first."""

    def take_turn(self) -> None:
        """Read once, and charge the lane. Must not raise."""


class Lane:
    """One tenant's. A lane of weight 8 is charged an eighth of what it costs."""

    def __init__(self, turns: Turns, weight: int = 1) -> None:
        self._turns = turns
        self.weight = weight
        self.had_seconds = 0.0
        self.waiting: deque[Reader] = deque()
        self.is_queued = False

    def may_read(self, reader: Reader) -> bool:
        """Whether to read now. If not, `reader` gets its turn, once, and need not watch its socket until then."""
        return self._turns.may_read(self, reader)

    def begin(self, now: float, *, in_background: bool) -> bool:
        """It is read, at `now` of time.perf_counter(). Returns whether it has company: other tenants, who wait for what
        it says.

        Never the operator's own, of more weight: it passes on what all tenants say.
        """
        return self.weight == 1 and self._turns.begin(self, now, in_background)

    def is_asked(self) -> None:
        """Others in the background are to wait for what it says.

        Not for the operator's own: it is at work for those in the background too.
        """
        if self.weight == 1:
            self._turns.asked(self)

    def charge(self, seconds: float, events: int) -> None:
        self._turns.charge(self, seconds + events * _EVENT_SECONDS)


class Turns:
    """All the lanes of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._queue: list[tuple[float, int, Lane]] = []
        """A heap of the lanes in which somebody waits."""
        self._order = itertools.count()
        self._served_seconds = 0.0
        """What the lane that was served last has had: whoever comes now begins there."""
        self._spent_seconds = 0.0
        self._scheduled = False
        self._speaker: Lane | None = None
        self._changed_at = float("-inf")
        """When a tenant spoke after another one had."""
        self._busy: Lane | None = None
        self._busy_at = float("-inf")
        """The tenant that was at a request last, and when."""
        self._behind: deque[tuple[float, Lane, Reader]] = deque()
        """Who lets it go first, and since when."""

    def lane(self, weight: int = 1) -> Lane:
        return Lane(self, weight)

    def may_read(self, lane: Lane, reader: Reader) -> bool:
        if reader.in_background and self._busy is not lane:
            now = perf_counter()
            if now - self._busy_at < _CALM_SECONDS:
                self._behind.append((now, lane, reader))
                if len(self._behind) == 1:
                    self._loop.call_later(_CALM_SECONDS, self._look_behind)
                return False
        self._schedule()
        lane.had_seconds = max(lane.had_seconds, self._served_seconds - _ARREARS_SECONDS_MAX)
        if lane.had_seconds < self._served_seconds or (not self._queue and self._spent_seconds < _TURN_SECONDS):
            return True
        self._queue_up(lane, reader)
        return False

    def _look_behind(self) -> None:
        now = perf_counter()
        is_calm = now - self._busy_at >= _CALM_SECONDS
        while self._behind and (is_calm or now - self._behind[0][0] >= _BEHIND_SECONDS_MAX):
            _, lane, reader = self._behind.popleft()
            self._queue_up(lane, reader)
            self._schedule()
        if self._behind:
            self._loop.call_later(_CALM_SECONDS, self._look_behind)

    def asked(self, lane: Lane) -> None:
        self._busy, self._busy_at = lane, perf_counter()

    def _queue_up(self, lane: Lane, reader: Reader) -> None:
        lane.waiting.append(reader)
        self._join(lane)

    def begin(self, lane: Lane, now: float, in_background: bool) -> bool:
        if not in_background:
            self._busy, self._busy_at = lane, now
        if lane is not self._speaker:
            if self._speaker is not None:
                self._changed_at = now
            self._speaker = lane
        return now - self._changed_at < _COMPANY_SECONDS

    def charge(self, lane: Lane, seconds: float) -> None:
        self._spent_seconds += seconds
        lane.had_seconds += seconds / lane.weight

    def _join(self, lane: Lane) -> None:
        if lane.waiting and not lane.is_queued:
            lane.is_queued = True
            lane.had_seconds = min(lane.had_seconds, self._served_seconds + _LEAD_SECONDS_MAX)
            heapq.heappush(self._queue, (lane.had_seconds, next(self._order), lane))

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._spent_seconds >= _TURN_SECONDS:
            os.sched_yield()
        self._spent_seconds = 0.0
        while self._queue and self._spent_seconds < _TURN_SECONDS:
            self._served_seconds, _, lane = heapq.heappop(self._queue)
            lane.is_queued = False
            lane.waiting.popleft().take_turn()
            self._join(lane)
        if self._queue:
            self._schedule()
