"""What else this machine does: the programs on it that are neither the platform nor its clients.

Kernel threads are not among them: most of their work is somebody's. But not that of kdamond, which samples the memory
of the whole machine at a pace of its own, on virtual machines whose owner wants to know what is idle.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

__all__ = ["Strangers"]

_KTHREADD: Final = 2


class Strangers:
    """All programs but the process `own` and those that descend from it, as they are now. Use it as a context.

    Where the kernel does not tell how long somebody had a processor (/proc/PID/schedstat), they use none.
    """

    def __init__(self, own: int) -> None:
        parents = _parents()
        self._files: dict[int, int] = {}
        """A descriptor of the clock of each of their threads, and what it showed."""
        for pid in parents:
            if not _descends(pid, {own, _KTHREADD}, parents) or _is_sampler(pid):
                # One that ended meanwhile uses no processor.
                with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                    for task in Path(f"/proc/{pid}/task").iterdir():
                        self._files[os.open(task / "schedstat", os.O_RDONLY | os.O_CLOEXEC)] = 0
        self.used_ms()

    def used_ms(self) -> float:
        """How many milliseconds of processors they used since this was asked last."""
        used = 0
        for file, before in self._files.items():
            try:
                now = int(os.pread(file, 64, 0).split()[0])
            except ProcessLookupError:
                continue
            used += now - before
            self._files[file] = now
        return used / 1e6

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)


def _is_sampler(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("kdamond")
    return False


def _parents() -> dict[int, int]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                found[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return found


def _descends(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    seen: int | None = pid
    while seen and seen not in roots:
        seen = parents.get(seen)
    return bool(seen)
