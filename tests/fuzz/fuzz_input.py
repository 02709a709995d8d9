"""Choices, taken from the bytes of a fuzzer's input one after the other.

Our own and not the fuzzer's, so that an input means the same in the replay, where there is no fuzzer. Where the input
is used up every choice is the first: a shorter input is a simpler one, which is what minimising relies on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

__all__ = ["Choices"]

T = TypeVar("T")


class Choices:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def are_left(self) -> bool:
        return self._at < len(self._data)

    def byte(self) -> int:
        if not self.are_left:
            return 0
        self._at += 1
        return self._data[self._at - 1]

    def word(self) -> int:
        return self.byte() << 8 | self.byte()

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def one(self, things: Sequence[T]) -> T:
        return things[self.byte() % len(things)]

    def take(self, size: int) -> bytes:
        """At most so many bytes as they are."""
        taken = self._data[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def short(self) -> bytes:
        """Up to 63 bytes, as many as a byte says."""
        return self.take(self.byte() & 63)
