"""A coroutine's first step, taken by hand: what need not wait is done within the turn, and never has a task.

A task costs its creation, a copy of the context and a turn of the loop. Most calls of bindings are answered from memory
or from an open file, and would wait for nothing but their own task. From Python 3.12 on asyncio can start tasks like
this (`eager_start`); 3.11 cannot.

The first step runs outside of any task. What asks for one there, as `asyncio.timeout()` does, fails: such coroutines
are not for this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any

__all__ = ["begin"]


def begin(work: Coroutine[Any, None, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
    """Run `work` to where it first waits. None: it came to its end. Else the task that does the rest of it.

    What `work` raises in its first step is raised here; but for a CancelledError, which is an end like any other.
    """
    try:
        waits_for = work.send(None)
    except (StopIteration, asyncio.CancelledError):
        return None
    rest = _rest(work, waits_for)
    rest.send(None)
    return loop.create_task(rest)


async def _rest(work: Coroutine[Any, None, None], waits_for: Any) -> None:
    await _steps(work, waits_for)


@coroutine
def _steps(work: Coroutine[Any, None, None], waits_for: Any) -> Generator[Any, None, None]:
    resume: Callable[[], Any] = partial(_first, waits_for)
    try:
        # `begin` brings it to here, so that a task that is cancelled before its first turn cancels `work` too.
        yield None
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is for `work`
        resume = partial(work.throw, error)
    while True:
        try:
            waits_for = resume()
        except StopIteration:
            return
        try:
            yield waits_for
        except BaseException as error:  # noqa: BLE001 - as above
            resume = partial(work.throw, error)
        else:
            resume = partial(work.send, None)


def _first(waits_for: Any) -> Any:
    return waits_for
