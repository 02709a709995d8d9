"""How many invocations of one Worker run at once, and who waits behind them.

First come, first served. What cannot even wait is refused at once, and what waits too long is refused then: a Worker
that cannot keep up costs its own clients, and nobody else's memory.
"""

from __future__ import annotations

import asyncio

from tenantry.errors import Overloaded
from tenantry.host.limits import DEPTH_MAX, QUEUE_SECONDS_MAX

__all__ = ["Admission"]


class Admission:
    """The places of one Worker, whichever of its versions runs in them. Each `enter` is followed by one `leave`."""

    def __init__(self, running_max: int, queued_max: int) -> None:
        self.running_max = running_max
        self.queued_max = queued_max
        self.running = 0
        # In order of arrival. A dict, so that one who leaves is found at once.
        self._queue: dict[asyncio.Future[None], None] = {}

    @property
    def queued(self) -> int:
        return len(self._queue)

    def try_enter(self) -> bool:
        """Take a place if there is one, and nobody waits for it."""
        if self.running >= self.running_max:
            return False
        self.running += 1
        return True

    def enter_nested(self) -> None:
        """Take a place, also beyond the bound: the caller holds one already, further up, that waits for this.

        It never waits, so nothing waits for itself. Raises Overloaded when there are more than calls that are as deep
        as they may be account for: a Worker that calls itself many times over is no way around its bound.
        """
        if self.running >= self.running_max * DEPTH_MAX:
            raise Overloaded(f"The Worker has {self.running} requests running already, most of them its own.")
        self.running += 1

    async def enter(self) -> None:
        """Take a place, or wait for one. Raises Overloaded. Cancelling gives the place in the queue up."""
        if self.try_enter():
            return
        if len(self._queue) >= self.queued_max:
            raise Overloaded(
                f"The Worker has {self.running_max} requests running already, and {self.queued_max} waiting."
            )
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._queue[turn] = None
        timer = loop.call_later(QUEUE_SECONDS_MAX, self._expire, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave()  # its turn came at the moment when it left
            raise
        finally:
            timer.cancel()
            self._queue.pop(turn, None)

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self._queue.pop(turn, None)
            turn.set_exception(
                Overloaded(f"The Worker has {self.running_max} requests running already, and none of them ended.")
            )

    def leave(self) -> None:
        """Give a place back: to whoever waits longest, if somebody does."""
        assert self.running > 0
        if self.running <= self.running_max:
            while self._queue:
                turn = next(iter(self._queue))
                del self._queue[turn]
                if not turn.done():
                    turn.set_result(None)
                    return
        self.running -= 1
