"""SQLite's write-ahead log as a file: which pages its commits wrote. Source: https://sqlite.org/fileformat2.html#walformat

Only SQLite knows where the log ends (it checks a running checksum); whoever reads here is told, and reads up to there.
The log is not locked by opening it, unlike the database: closing a descriptor of that would drop SQLite's own locks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

__all__ = ["Frame", "Salts", "WalFile", "WalUnreadable"]

Salts = tuple[int, int]
"""Which generation of the log it is: they change whenever it begins anew."""

_HEADER: Final = Struct(">8I")
_FRAME: Final = Struct(">4I8x")
_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_READ_BYTES: Final = 1024 * 1024


class WalUnreadable(Exception):
    """The log is not what SQLite said it is: another process was at work."""


@dataclass(frozen=True, slots=True)
class Frame:
    page: int
    """Counts from 1."""
    size_pages: int
    """Of the whole database, after a commit; 0 within one."""
    offset: int
    """Of the page's bytes in the log."""


class WalFile:
    """Open for reading, as far as it goes now. Raises `OSError` and `WalUnreadable`."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        header = os.pread(self._descriptor, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES:
            os.close(self._descriptor)
            raise WalUnreadable("it has no header")
        _, _, self.page_bytes, _, salt_one, salt_two, _, _ = _HEADER.unpack(header)
        self.salts: Salts = (salt_one, salt_two)

    def close(self) -> None:
        os.close(self._descriptor)

    def frames(self, start: int, end: int) -> Iterator[Frame]:
        """Those with the numbers from `start` up to but not `end`."""
        frame_bytes = _FRAME_HEADER_BYTES + self.page_bytes
        together = max(1, _READ_BYTES // frame_bytes)
        for first in range(start, end, together):
            count = min(together, end - first)
            offset = _HEADER_BYTES + first * frame_bytes
            block = os.pread(self._descriptor, count * frame_bytes, offset)
            if len(block) < count * frame_bytes:
                raise WalUnreadable("it ends early")
            for place in range(0, count * frame_bytes, frame_bytes):
                page, size_pages, *salts = _FRAME.unpack_from(block, place)
                if (salts[0], salts[1]) != self.salts:
                    raise WalUnreadable("it holds a frame of another generation")
                yield Frame(page, size_pages, offset + place + _FRAME_HEADER_BYTES)

    def page(self, offset: int) -> bytes:
        data = os.pread(self._descriptor, self.page_bytes, offset)
        if len(data) < self.page_bytes:
            raise WalUnreadable("it ends early")
        return data


def read_salts(path: Path) -> Salts | None:
    """The generation of a log; None when there is none, nothing in it, or no way to look."""
    try:
        log = WalFile(path)
    except (OSError, WalUnreadable):
        return None
    log.close()
    return log.salts
