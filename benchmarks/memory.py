"""Private memory of processes: what there would be more of if they were gone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.failure import BenchmarkError

__all__ = ["private_bytes", "private_bytes_of"]

_PRIVATE: Final = re.compile(r"^Private_(?:Clean|Dirty|Hugetlb):\s+(\d+) kB$", re.MULTILINE)


def private_bytes(smaps_rollup: str) -> int:
    """The sum of the Private_ lines of /proc/PID/smaps_rollup."""
    return sum(int(kilobytes) * 1024 for kilobytes in _PRIVATE.findall(smaps_rollup))


def private_bytes_of(pid: int) -> int | None:
    """None for a process that has ended. Raises BenchmarkError when the kernel lets nobody like us look."""
    try:
        return private_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError as error:
        raise BenchmarkError(f"the memory of a worker process cannot be read by this user: {error.strerror}") from error
