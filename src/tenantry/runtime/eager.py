"""Tasks that begin at once: their first step is taken where they are made, and not a turn of the loop later.

Most invocations ask the host for something in their first step. So what one read brought leaves in one write, without
a turn between. From Python 3.12 on asyncio can do this (`eager_start`). Here it is done with what every version has: a
task asks its loop for its first step by `call_soon`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

__all__ = ["TaskStarter"]


class TaskStarter:
    """Starts tasks on one loop, from callbacks of that loop: where another task runs, none can begin."""

    __slots__ = ("_context", "_loop", "_step")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._step: Callable[[], object] | None = None
        self._context = Context()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of `work`, which has come to where it first waits, or to its end."""
        loop = self._loop
        loop.call_soon = self._take  # type: ignore[method-assign, assignment]  # for the next line alone
        try:
            task = asyncio.Task(work, loop=loop)
        finally:
            del loop.call_soon
        assert self._step is not None, "a task asks for its first step"
        self._context.run(self._step)
        return task

    def _take(self, step: Callable[[], object], *, context: Context) -> None:
        self._step, self._context = step, context
