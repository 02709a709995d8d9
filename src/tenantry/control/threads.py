"""The few threads that do what blocks: commits, fsyncs, files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

__all__ = ["Threads"]

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A bounded pool. Waiting callers queue; the event loop never blocks on a disk."""

    def __init__(self, count: int = 4) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="control")

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function` in a thread. A cancelled caller leaves; the call itself goes on to its end."""
        future = self._executor.submit(function, *args, **kwargs)
        return await asyncio.wrap_future(future)

    def start(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `function` in a thread, waited for by `close` only. It must handle its own errors."""
        self._executor.submit(function, *args, **kwargs)

    def close(self) -> None:
        """Wait for everything that was begun."""
        self._executor.shutdown(wait=True)
