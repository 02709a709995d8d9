"""SIGXCPU: the host's word that what runs takes too long. One handler for a process's life, made by the zygote."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["Overtime"]


class Overtime:
    """`told` is called, in the middle of whatever runs, with the frame that does."""

    def __init__(self) -> None:
        self.told: Callable[[FrameType | None], None] = ignore

    def listen(self) -> None:
        signal.signal(signal.SIGXCPU, self._signalled)

    def _signalled(self, _number: int, frame: FrameType | None) -> None:
        self.told(frame)


def ignore(_frame: FrameType | None) -> None:
    """There is nothing to be done about it."""
