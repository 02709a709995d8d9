"""The zygote's heap, before it forks: what children write to lies together, and not among what they do not.

A child shares each page of 4 KiB with the zygote until it writes to it. It writes to whatever it uses, since to use an
object is to count a reference to it, and to where it puts what is new. So two things are done.

*Gaps are filled.* Importing leaves thousands of gaps of a few bytes in pages that are full of what stays. A child's
first objects would go there. Without gaps they go to fresh pages, side by side.

CPython's allocator keeps objects of one size, in steps of 16 bytes up to 512, in pools of 16 KiB. It fills the gaps of
a size before it takes another pool of it. So objects of that size are made until they lie in a row for a whole pool.
What is larger comes from the C library, which takes from its end only what fits nowhere else. So whatever does not come
from there is kept. What fills the gaps is never touched again, and all children share it.

*Code that is used is moved together.* A program uses a twentieth of the functions that it imports, and they lie all
over the place. A copy of a code object lies where new objects do.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

__all__ = ["called_by", "code_of", "fill_gaps", "keep", "move_together"]

_STEP_BYTES: Final = 16
_SIZE_BYTES_MAX: Final = 512
_POOL_BYTES: Final = 16 * 1024
_POOL_HEADER_BYTES: Final = 48
_EMPTY_BYTES: Final = b"".__sizeof__()
_CLASS_BYTES_MAX: Final = 1024 * 1024
"""Where another allocator is in use nothing ever lies in a row."""
_LARGE_BYTES_MAX: Final = 64 * 1024
"""glibc asks the kernel for what is larger than twice that."""
_LARGE_COUNT_MAX: Final = 100_000


def fill_gaps() -> None:
    _fill_large()
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


def _fill_large() -> None:
    """The same for the C library's own heap, where it is glibc's and says where it ends."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return
    libc.mallinfo2.restype = _MallocInfo
    for name in ("malloc", "sbrk"):
        getattr(libc, name).restype = ctypes.c_size_t
    libc.free.argtypes = [ctypes.c_size_t]
    end = libc.sbrk(0) - libc.mallinfo2().keepcost
    for size in _large_sizes():
        for _ in range(_LARGE_COUNT_MAX):
            block = libc.malloc(size)
            if block >= end:
                libc.free(block)
                break


def _large_sizes() -> Iterator[int]:
    size = _LARGE_BYTES_MAX
    while size >= _STEP_BYTES:
        yield size
        size -= max(_STEP_BYTES, size // 8 // _STEP_BYTES * _STEP_BYTES)


class _MallocInfo(ctypes.Structure):
    """struct mallinfo2: see mallinfo(3). `keepcost` is the free room at the heap's end."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def called_by(function: Callable[[], object]) -> list[CodeType]:
    """Call it; whose code ran meanwhile."""
    seen: dict[int, CodeType] = {}  # by identity: code objects that say the same are equal

    def note(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            seen.setdefault(id(frame.f_code), frame.f_code)

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return list(seen.values())


def code_of(prefixes: tuple[str, ...]) -> list[CodeType]:
    """The code of all functions of the modules whose names begin so."""
    return [
        thing.__code__
        for thing in gc.get_objects()
        if type(thing) is FunctionType and (thing.__module__ or "").startswith(prefixes)
    ]


def move_together(codes: Iterable[CodeType]) -> None:
    """Give the functions that have these codes copies of them, made one after the other.

    The copies have not been run. What was specialised in them, and in their callers, is to be done again.
    """
    wanted = {id(code): code for code in codes}
    copies: dict[int, CodeType] = {}

    def copy(code: CodeType) -> CodeType:
        if id(code) not in copies:
            constants = tuple(copy(each) if id(each) in wanted else each for each in code.co_consts)
            copies[id(code)] = code.replace(co_consts=constants)
        return copies[id(code)]

    functions = [thing for thing in gc.get_objects() if type(thing) is FunctionType and id(thing.__code__) in wanted]
    for function in sorted(functions, key=lambda function: sys.getsizeof(function.__code__)):
        function.__code__ = copy(function.__code__)


def keep(thing: Any) -> None:
    """Never free it, in no child: to free is to write to the pages where it lies, and where what it holds does."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
