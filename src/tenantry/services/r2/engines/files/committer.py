"""Group commit: all changes that wait when the writer becomes free share one transaction and one sync.

The committer has no task of its own. A change that finds it idle starts it at the end of the loop turn, and each
finished group starts the next. A caller who is cancelled does not take back its change.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from tenantry.services.r2.engines.files.index import IndexWriter
from tenantry.services.r2.engines.files.threads import Threads
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import COMMITS_PER_GROUP_MAX

__all__ = ["Committer"]

T = TypeVar("T")
Settled = Callable[[bool], None]
"""Told, on the loop, whether the change was made: it did not fail, and did not return None or False."""


@dataclass(slots=True)
class _Change(Generic[T]):
    make: Callable[[IndexWriter], T]
    future: asyncio.Future[T]
    settled: Settled | None


class Committer:
    """The only user of an `IndexWriter` while it is open."""

    def __init__(self, writer: IndexWriter, threads: Threads, release: Callable[[Sequence[str]], None]) -> None:
        self._writer = writer
        self._threads = threads
        self._release = release
        self._waiting: deque[_Change[object]] = deque()
        self._forgotten: list[str] = []
        self._running = False
        self._closed = False
        self._idle: list[asyncio.Future[None]] = []

    async def commit(self, make: Callable[[IndexWriter], T], settled: Settled | None = None) -> T:
        """Makes a change durable. `settled` is called in any case, exactly once."""
        if self._closed:
            if settled is not None:
                settled(False)
            raise BucketGone
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        change = _Change(make, future, settled)
        self._waiting.append(cast("_Change[object]", change))
        if not self._running:
            self._running = True
            loop.call_soon(self._start)
        return await future

    def forget(self, names: Sequence[str]) -> None:
        """Has the next group forget condemned files that are unlinked now. Nothing waits for that."""
        self._forgotten.extend(names)

    def _start(self) -> None:
        group = [self._waiting.popleft() for _ in range(min(len(self._waiting), COMMITS_PER_GROUP_MAX))]
        forgotten, self._forgotten = self._forgotten, []
        job = self._threads.commit_job(self._writer.commit, [change.make for change in group], forgotten)
        job.add_done_callback(lambda done: self._finish(group, done))

    def _finish(self, group: list[_Change[object]], job: asyncio.Future[tuple[list[object], list[str]]]) -> None:
        error = BucketGone() if job.cancelled() else job.exception()
        if error is not None:
            outcomes: list[object] = [error] * len(group)
            released: list[str] = []
        else:
            outcomes, released = job.result()
        for change, outcome in zip(group, outcomes, strict=True):
            failed = isinstance(outcome, BaseException)
            if change.settled is not None:
                change.settled(not failed and outcome is not None and outcome is not False)
            if change.future.done():  # its caller was cancelled
                continue
            if isinstance(outcome, BaseException):
                change.future.set_exception(outcome)
            else:
                change.future.set_result(outcome)
        if released:
            self._release(released)
        if self._waiting:
            self._start()
            return
        self._running = False
        for waiter in self._idle:
            if not waiter.done():
                waiter.set_result(None)
        self._idle.clear()

    @property
    def busy(self) -> bool:
        return self._running

    async def aclose(self) -> None:
        """Refuses new changes and waits for those that were begun."""
        self._closed = True
        if self._running:
            waiter = asyncio.get_running_loop().create_future()
            self._idle.append(waiter)
            await waiter

    def last_words(self) -> None:
        """Forgets what is still to be forgotten. In a thread, after `aclose` and before the writer is closed."""
        if self._forgotten:
            self._writer.commit([], self._forgotten)
            self._forgotten = []
