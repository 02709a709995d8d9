"""Timers and microtasks, on the event loop and in the invocation that set them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from tenantry.runtime.invocation import current

__all__ = ["clearInterval", "clearTimeout", "queueMicrotask", "setInterval", "setTimeout"]

TIMERS_MAX: Final = 10_000

_handles: dict[int, asyncio.TimerHandle] = {}
_numbers = count(1)


def _run(callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
    result = callback(*args)
    if hasattr(result, "__await__"):
        current().wait_until(result)


def _set(callback: Callable[..., Any], milliseconds: float, args: tuple[Any, ...], repeat: bool) -> int:
    if len(_handles) >= TIMERS_MAX:
        raise RuntimeError(f"more than {TIMERS_MAX} timers")
    loop = asyncio.get_running_loop()
    number = next(_numbers)
    delay = max(float(milliseconds or 0), 1 if repeat else 0) / 1000

    def fire() -> None:
        if repeat:
            _handles[number] = loop.call_later(delay, fire)
        else:
            _handles.pop(number, None)
        _run(callback, args)

    _handles[number] = loop.call_later(delay, fire)
    return number


def setTimeout(callback: Callable[..., Any], milliseconds: float = 0, *args: Any) -> int:
    return _set(callback, milliseconds, args, repeat=False)


def setInterval(callback: Callable[..., Any], milliseconds: float = 0, *args: Any) -> int:
    return _set(callback, milliseconds, args, repeat=True)


def clearTimeout(number: int | None) -> None:
    handle = _handles.pop(number, None) if number is not None else None
    if handle is not None:
        handle.cancel()


clearInterval = clearTimeout


def queueMicrotask(callback: Callable[..., Any]) -> None:
    asyncio.get_running_loop().call_soon(_run, callback, ())
