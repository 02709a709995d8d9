"""Every live worker process of the host, and the memory that they may hold together.

When that budget is used up, and when there are too many of them, the one that has been idle longest makes room. One
that is busy is not ended for another's sake: until one is idle or gone, no more are started.

A process is charged with what it has grown by since it was blank, as of the last look at it, and with what a blank
one has to itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tenantry.host.limits import BLANK_PRIVATE_BYTES, LIVE_PROCESSES_MAX, MEMORY_BUDGET_SHARE

if TYPE_CHECKING:
    from tenantry.host.process import WorkerProcess

__all__ = ["LiveProcesses", "memory_budget_bytes"]


class LiveProcesses:
    def __init__(self, memory_bytes_max: int) -> None:
        self.memory_bytes_max = memory_bytes_max
        self.memory_bytes = 0
        """What all of them are charged with."""
        self._charges: dict[WorkerProcess, int] = {}

    def __iter__(self) -> Iterator[WorkerProcess]:
        return iter(list(self._charges))

    def __len__(self) -> int:
        return len(self._charges)

    def add(self, process: WorkerProcess) -> None:
        self._charge(process, BLANK_PRIVATE_BYTES)
        self.make_room(process)

    def measured(self, process: WorkerProcess, grown_bytes: int) -> None:
        """Somebody had a look at it."""
        if process in self._charges:
            self._charge(process, BLANK_PRIVATE_BYTES + max(0, grown_bytes))
            self.make_room()

    def discard(self, process: WorkerProcess) -> None:
        self.memory_bytes -= self._charges.pop(process, 0)

    @property
    def is_full(self) -> bool:
        """Whether another one would be too much, even if everyone who is idle made room."""
        return self._over and not self._idle()

    def make_room(self, newcomer: WorkerProcess | None = None) -> None:
        """End who has been idle longest, until there is room or nobody is idle."""
        while self._over and (idle := self._idle(newcomer)):
            evict(min(idle, key=lambda process: process.used_at))

    @property
    def _over(self) -> bool:
        return self.memory_bytes > self.memory_bytes_max or len(self._charges) > LIVE_PROCESSES_MAX

    def _idle(self, newcomer: WorkerProcess | None = None) -> list[WorkerProcess]:
        # One that has not been asked anything yet was started for somebody, who is about to ask.
        return [
            process
            for process in self._charges
            if not process.invocations and process is not newcomer and process.used_at != process.started_at
        ]

    def _charge(self, process: WorkerProcess, size: int) -> None:
        self.memory_bytes += size - self._charges.get(process, 0)
        self._charges[process] = size


def evict(process: WorkerProcess) -> None:
    """End a process that holds nothing: no crash of its Worker's."""
    process.retiring = True
    process.kill()


def memory_budget_bytes(proc: Path = Path("/proc")) -> int:
    """What worker processes may hold together where nobody has said: a share of what this machine has."""
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "MemTotal":
            return int(int(value.split()[0]) * 1024 * MEMORY_BUDGET_SHARE)
    raise AssertionError("a /proc/meminfo without MemTotal")
