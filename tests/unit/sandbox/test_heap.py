"""The heap without gaps, in an interpreter of its own: what one test frees another would find."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from tenantry.sandbox import heap

# Gaps: every other object of thousands is freed.
objects = [bytes(67) for _ in range(10_000)]
del objects[::2]
heap.fill_gaps()
fresh = [bytes(67) for _ in range(100)]
assert sys.getsizeof(fresh[0]) == 100
in_a_row = sum(id(after) - id(before) == 112 for before, after in zip(fresh, fresh[1:]))
print(in_a_row)
"""


def test_what_is_made_afterwards_lies_side_by_side() -> None:
    assert int(_run(PROGRAM)) >= 90


LARGE = """
from tenantry.sandbox import heap

objects = [bytes(2000) for _ in range(2_000)]
del objects[::2]
heap.fill_gaps()
fresh = [bytes(2000) for _ in range(100)]
print(sum(0 < id(after) - id(before) < 2100 for before, after in zip(fresh, fresh[1:])))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="the C library is not glibc 2.33 or later")
def test_nor_are_there_gaps_for_what_the_c_library_keeps() -> None:
    assert int(_run(LARGE)) >= 90


MOVED = """
import sys
from tenantry.sandbox import heap

class Counter:
    def __init__(self, start=1, *, step=2):
        self.value, self.step = start, step

    def count(self):
        def inner(times):
            return self.value + sum(self.step for _ in range(times))
        return inner(3)

class Loud(Counter):
    def count(self):
        return f"{super().count()}!"

    def never(self):
        return None

def use():
    assert Loud(5).count() == "11!"

used = heap.called_by(use)
assert {code.co_name for code in used} >= {"use", "__init__", "count", "inner", "<genexpr>"}
before = Counter.count.__code__, Loud.count.__code__, Loud.never.__code__
heap.move_together(used)
assert Counter.count.__code__ is not before[0] and Loud.count.__code__ is not before[1]
assert Loud.never.__code__ is before[2]
inner = next(each for each in Counter.count.__code__.co_consts if hasattr(each, "co_code"))
assert inner not in [each for each in before[0].co_consts if each is inner]
use()
assert sys.getprofile() is None
print("moved")
"""


def test_code_that_was_called_is_moved_and_does_what_it_did() -> None:
    assert _run(MOVED) == "moved\n"


def _run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
