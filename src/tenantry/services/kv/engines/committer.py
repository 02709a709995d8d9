"""Group commit: everybody who waits while the disk is busy shares the next transaction.

    submit ──► waiting ──(the file is free)──► one batch ──► thread: BEGIN … COMMIT ──► all of the batch are told

One batch at a time. The first write of a quiet moment does not wait for company, but it starts at the end of the loop
turn, so that whatever arrived in one read of a channel goes together.

There is no task: a batch's end starts the next. `wait_idle` is how an owner waits for all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from tenantry.services.kv.engines.sqlite_file import Committed, Write
from tenantry.services.kv.limits import COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, WAITING_BYTES_MAX

__all__ = ["Committer"]


class Committer:
    """The one writer of a namespace, on one event loop.

    `commit` runs in the executor: it makes a batch durable or raises, and then none of it has happened. `sweepable`
    says which blobs that earlier batches reported as garbage nobody reads; it is asked on the loop. `on_idle` is called
    whenever the committer comes to rest.
    """

    def __init__(
        self,
        executor: Executor,
        commit: Callable[[Sequence[Write], Sequence[int], int], Committed],
        sweepable: Callable[[tuple[int, ...]], Sequence[int]],
        on_idle: Callable[[], None],
    ) -> None:
        self._executor = executor
        self._commit = commit
        self._sweepable = sweepable
        self._on_idle = on_idle
        self._waiting: deque[tuple[Write, asyncio.Future[None]]] = deque()
        self._waiting_bytes = 0
        self._running = False
        # The latest second that a caller named: what has expired by then may go.
        self._now = 0
        self._left = Committed((), more=False)
        self._committed = False
        # Callers held back because too much waits, in order; and owners who wait for the end.
        self._held: deque[asyncio.Future[None]] = deque()
        self._idle_waiters: list[asyncio.Future[None]] = []

    @property
    def busy(self) -> bool:
        return self._running or bool(self._waiting)

    @property
    def committed(self) -> Committed | None:
        """What the last commit that was done left, None before the first."""
        return self._left if self._committed else None

    def sweep(self, now: int) -> None:
        """Clears away what has expired by now, without a write to do it with."""
        self._now = max(self._now, now)
        self._left = replace(self._left, more=True)
        if not self._running:
            self._running = True
            asyncio.get_running_loop().call_soon(self._start)

    async def submit(self, write: Write, now: int) -> None:
        """Returns when the write is durable. Cancelled while it waits, it is not done; later, it is."""
        while self._waiting_bytes >= WAITING_BYTES_MAX:
            held = asyncio.get_running_loop().create_future()
            self._held.append(held)
            await held
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((write, done))
        self._waiting_bytes += write.size_bytes
        self._now = max(self._now, now)
        if not self._running:
            self._running = True
            loop.call_soon(self._start)
        await done

    async def wait_idle(self) -> None:
        while self.busy:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            await waiter

    def _start(self) -> None:
        batch: list[tuple[Write, asyncio.Future[None]]] = []
        batch_bytes = 0
        while self._waiting and len(batch) < COMMIT_WRITES_MAX and batch_bytes < COMMIT_BYTES_MAX:
            write, done = self._waiting.popleft()
            self._waiting_bytes -= write.size_bytes
            if not done.cancelled():
                batch.append((write, done))
                batch_bytes += write.size_bytes
        self._release_held()
        sweep = self._sweepable(self._left.garbage)
        if not batch and not sweep and not self._left.more:
            self._rest()
            return
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, self._commit, [write for write, _ in batch], sweep, self._now
        )
        future.add_done_callback(lambda future: self._finish(future, batch))

    def _finish(self, future: asyncio.Future[Committed], batch: list[tuple[Write, asyncio.Future[None]]]) -> None:
        error = asyncio.CancelledError() if future.cancelled() else future.exception()
        if error is None:
            self._left = future.result()
            self._committed = True
        else:
            # Do not try to clear away again before the next write: the disk may be full.
            self._left = Committed((), more=False, due=self._left.due)
        for _, done in batch:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            elif isinstance(error, asyncio.CancelledError):
                done.cancel()
            else:
                done.set_exception(error)
        self._start()

    def _release_held(self) -> None:
        """Wakes everyone who was held back; each looks again whether there is room."""
        if self._waiting_bytes >= WAITING_BYTES_MAX:
            return
        while self._held:
            held = self._held.popleft()
            if not held.done():
                held.set_result(None)

    def _rest(self) -> None:
        self._running = False
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._on_idle()
