"""A few threads for blocking work, and spare ones for those that are stuck.

SQLite looks for an interrupt between the operations of its virtual machine, not inside one. A hostile
`instr(<2 MB>, <1 MB>)` is one operation of many seconds, so a tenant could occupy a thread beyond every deadline.
Whoever notices calls `add_spare`, and `remove_spare` when the stuck job returned at last.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Threads"]


class Threads:
    """Runs jobs in the order given, `count` at once. All methods are called from one thread; jobs must not raise."""

    def __init__(self, count: int, spare_max: int, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._count = count
        self._spare_max = spare_max
        self._spares = 0
        self._name = name
        self._started: list[threading.Thread] = []
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """The threads start with the first job."""
        if not self._started:
            for _ in range(self._count):
                self._start()
        self._jobs.put(job)

    def add_spare(self) -> bool:
        """One thread more. False when there are too many already; True asks for a `remove_spare` later."""
        if self._closed or self._spares >= self._spare_max:
            return False
        self._spares += 1
        self._start()
        return True

    def remove_spare(self) -> None:
        """One thread less: whichever is free first."""
        self._spares -= 1
        self._started = [thread for thread in self._started if thread.is_alive()]
        if not self._closed:
            self._jobs.put(None)

    def close(self) -> list[threading.Thread]:
        """Threads end when the jobs given so far are done. Returns them, to be joined by whoever may block."""
        if not self._closed:
            self._closed = True
            for _ in self._started:
                self._jobs.put(None)
        return self._started

    def _start(self) -> None:
        # Daemons: a stuck one must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._started)}", daemon=True)
        self._started.append(thread)
        thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or what it holds stays until the next one
