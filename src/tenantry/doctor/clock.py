"""An event loop whose clock can be turned on: what has to happen after five minutes happens now."""

from __future__ import annotations

import asyncio

__all__ = ["SkippingLoop", "skip", "skipped"]


class SkippingLoop(asyncio.SelectorEventLoop):
    """The ordinary loop, plus `skipped` seconds that nobody waited for. Processes and their CPU clocks are real."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def skip(seconds: float) -> None:
    """Turn the running loop's clock on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds


def skipped() -> float:
    """By how much the running loop's clock has been turned on so far."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    return loop.skipped
