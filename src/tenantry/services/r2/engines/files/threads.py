"""The threads of one engine. Commits have their own, so that gigabytes being hashed never hold up a small put."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import structlog

from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import BODY_THREADS, COMMIT_THREADS

__all__ = ["Threads"]

P = ParamSpec("P")
T = TypeVar("T")

_log = structlog.get_logger()


class Threads:
    """Two bounded pools. Threads start when they are first needed."""

    def __init__(self) -> None:
        self._bodies = ThreadPoolExecutor(BODY_THREADS, "r2-body")
        self._commits = ThreadPoolExecutor(COMMIT_THREADS, "r2-commit")
        self._chores: set[asyncio.Future[None]] = set()
        self.closed = False

    def body_job(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Starts work on bytes. Raises BucketGone after `aclose`."""
        if self.closed:
            raise BucketGone
        return self._bodies.submit(work, *args, **kwargs)

    async def on_body(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Does work on bytes and waits for it. A cancelled caller leaves it running."""
        return await asyncio.wrap_future(self.body_job(work, *args, **kwargs))

    def commit_job(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
        """Starts work on an index."""
        return asyncio.wrap_future(self._commits.submit(work, *args, **kwargs))

    def chore(
        self, work: Callable[P, None], then: Callable[[], None] | None, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Starts work that nobody waits for but `aclose`. `then` runs on the loop if it succeeds."""
        if self.closed:  # what is left undone is done when the bucket is next opened
            return
        future = asyncio.wrap_future(self._bodies.submit(work, *args, **kwargs))
        self._chores.add(future)

        def done(finished: asyncio.Future[None]) -> None:
            self._chores.discard(finished)
            error = None if finished.cancelled() else finished.exception()
            if error is not None:
                _log.error("a body file could not be removed; it will be at the next open", exc_info=error)
            elif then is not None:
                then()

        future.add_done_callback(done)

    async def wait_chores(self) -> None:
        """Waits until no chore is running."""
        while self._chores:
            await asyncio.wait(set(self._chores))

    async def aclose(self) -> None:
        """Waits for all work, without blocking the loop, and ends the threads."""
        if self.closed:
            return
        self.closed = True
        await self.wait_chores()
        await asyncio.shield(asyncio.to_thread(self._shut_down))

    def _shut_down(self) -> None:
        self._bodies.shutdown(wait=True)
        self._commits.shutdown(wait=True)
