"""The zygote's heap, before it forks: full, so that what children allocate lies together and not in its holes.

Importing leaves thousands of gaps of a few bytes in pages that are full of what stays. A child's first objects would go
there, and each write makes a page of 4 KiB private. Without gaps they go to fresh pages, side by side.

CPython's allocator keeps objects of one size, in steps of 16 bytes up to 512, in pools of 16 KiB. It fills the gaps of
a size before it takes another pool of it. So objects of that size are made until they lie in a row for a whole pool.
What fills the gaps is never touched again, and all children share it.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

__all__ = ["fill_gaps", "keep"]

_STEP_BYTES: Final = 16
_SIZE_BYTES_MAX: Final = 512
_POOL_BYTES: Final = 16 * 1024
_POOL_HEADER_BYTES: Final = 48
_EMPTY_BYTES: Final = b"".__sizeof__()
_CLASS_BYTES_MAX: Final = 1024 * 1024
"""Where another allocator is in use nothing ever lies in a row."""


def fill_gaps() -> None:
    filling: list[bytes] = []
    for size in range(_EMPTY_BYTES // _STEP_BYTES * _STEP_BYTES + _STEP_BYTES, _SIZE_BYTES_MAX + 1, _STEP_BYTES):
        in_a_row, before, used = 0, 0, 0
        while in_a_row < (_POOL_BYTES - _POOL_HEADER_BYTES) // size - 1 and used < _CLASS_BYTES_MAX:
            filler = bytes(size - _EMPTY_BYTES)
            filling.append(filler)
            in_a_row = in_a_row + 1 if id(filler) == before + size else 0
            before = id(filler)
            used += size
    keep(filling)


def keep(thing: Any) -> None:
    """Never free it, in no child: to free is to write to the pages where it lies, and where what it holds does."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
