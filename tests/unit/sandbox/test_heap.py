"""The heap without gaps, in an interpreter of its own: what one test frees another would find."""

from __future__ import annotations

import subprocess
import sys

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
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) >= 90
