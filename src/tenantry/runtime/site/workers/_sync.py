"""Blocking on an awaitable from synchronous code: `run_sync`, and the threads where it works.

Upstream suspends the whole Python stack. Here synchronous programs (WSGI) run in a thread of their own, and block that;
on the event loop's thread nothing may block, so there `run_sync` fails and says what to do.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["can_run", "in_thread", "run_sync"]

_T = TypeVar("_T")

_loop: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar("loop", default=None)


def can_run() -> bool:
    """Whether `run_sync` can block here."""
    return _loop.get() is not None and not _on_loop()


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def in_thread(function: Callable[..., _T], *args: Any) -> _T:
    """Run synchronous code in a thread, within this invocation. It may call `run_sync`."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    context.run(_loop.set, loop)
    return await loop.run_in_executor(None, lambda: context.run(function, *args))


def run_sync(awaitable: Awaitable[_T]) -> _T:
    """The result of an awaitable, for code that cannot await. Raises RuntimeError on the event loop's thread."""
    loop = _loop.get()
    if loop is None or _on_loop():
        close = getattr(awaitable, "close", None)
        if close is not None:
            close()  # or Python would warn that it was never awaited
        raise RuntimeError(
            "run_sync() cannot block here: this code runs on the event loop. Await the value in an async function, or "
            "serve the application with workers.wsgi, which runs it in a thread."
        )
    return asyncio.run_coroutine_threadsafe(_await(awaitable), loop).result()


async def _await(awaitable: Awaitable[_T]) -> _T:
    return await awaitable
