"""SIGINT and SIGTERM: a clean stop, and at the second one the ordinary end."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Final

__all__ = ["exit_on_signals", "stop_on_signals"]

_STOP: Final = (signal.SIGINT, signal.SIGTERM)


def exit_on_signals() -> None:
    """Until the event loop takes over: a stop while modules are loading is a clean one too."""
    for number in _STOP:
        signal.signal(number, lambda *_: sys.exit(0))


def stop_on_signals() -> asyncio.Event:
    """An event of the running loop that the first signal sets. The second ends the process, should stopping hang."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        stop.set()
        for number in _STOP:
            loop.remove_signal_handler(number)

    for number in _STOP:
        loop.add_signal_handler(number, on_signal)
    return stop
