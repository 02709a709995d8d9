"""One worker process as the host holds it: a channel, a handle to kill it, its CPU clock, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import time
from dataclasses import dataclass, field

from tenantry.sandbox import limits, priority
from tenantry.sandbox.cgroups import Cgroup, CgroupTree


@dataclass(eq=False, slots=True)
class SandboxedProcess:
    """A sealed process that runs its entry.

    `pid` is the host's number for it, for logs and metrics. It is never used to signal: `kill` goes through a pidfd,
    which cannot come to mean another process. `channel` is non-blocking and belongs to whoever asked for the process;
    closing it does not end the process. `listener`, of a process with sockets, is a listening TCP socket in the
    process's own network namespace, and all that it can connect to; it belongs to the channel's owner too. `exited`
    resolves to the exit code, or to minus the number of the signal that ended it.
    """

    pid: int
    channel: socket.socket
    exited: asyncio.Future[int]
    _handle: int
    listener: socket.socket | None = None
    _cpu_seconds: float = field(default=0.0)
    _ended_for_memory: bool = False
    _cgroup: Cgroup | None = None
    _cgroups: CgroupTree | None = None

    def belongs_to(self, cgroups: CgroupTree, cgroup: Cgroup) -> None:
        """It is in this cgroup, which goes with it."""
        self._cgroups, self._cgroup = cgroups, cgroup
        if self._handle < 0:
            cgroups.remove(cgroup)

    def limit_memory(self, bytes_max: int) -> None:
        """What its tenant may use, where the kernel keeps count of that; nothing happens elsewhere."""
        if self._cgroup is not None:
            with contextlib.suppress(FileNotFoundError):  # it is dead
                self._cgroup.limit_memory(bytes_max + limits.MEMORY_KERNEL_BYTES)

    def was_out_of_memory(self) -> bool:
        """Whether the kernel killed it for using more."""
        if self._handle >= 0 and self._cgroup is not None:
            return self._cgroup.was_out_of_memory()
        return self._ended_for_memory

    def kill(self) -> None:
        """SIGKILL. Nothing happens when it is dead already."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far, read from outside; of a dead process what it used in all."""
        if self._handle >= 0:
            # CPUCLOCK_SCHED of another process, as clock_getcpuclockid(3) makes the number. A microsecond, and no
            # /proc.
            try:  # noqa: SIM105 - `suppress` takes as long as the clock
                self._cpu_seconds = time.clock_gettime((~self.pid) << 3 | 2)
            except OSError:
                pass
        return self._cpu_seconds

    def memory_bytes(self) -> int:
        """Its resident and swapped memory that no file stands behind, read from outside; 0 of a dead process.

        Pages that it shares with the zygote since the fork count, whether it wrote to them or not: what is of interest
        is how much more it is than when it began.
        """
        if self._handle < 0:
            return 0
        try:
            with open(f"/proc/{self.pid}/status", "rb", buffering=0) as file:
                text = file.read(4096)
        except OSError:
            return 0
        return sum(int(found) for found in _MEMORY.findall(text)) * 1024

    def is_waiting(self) -> bool:
        """Whether its first thread, which turns its event loop, waits for something that is not a processor."""
        if self._handle < 0:
            return True
        try:
            with open(f"/proc/{self.pid}/stat", "rb", buffering=0) as file:
                text = file.read(4096)
        except OSError:
            return True
        # proc_pid_stat(5): the state follows the name, which is in brackets and may hold some.
        return text[text.rfind(b")") + 2 :][:1] not in _COMPUTING

    def interrupt(self) -> None:
        """SIGXCPU: its time is over. What it makes of that is its own affair; it is not killed by it."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGXCPU)

    def set_background(self, background: bool) -> bool:
        """Whether others go first when processors are short. False when it could not be changed."""
        if self._handle < 0:
            return False
        if self._cgroup is not None and self._cgroup.has_cpu:
            return self._cgroup.weigh(limits.BACKGROUND_CPU_WEIGHT if background else limits.CPU_WEIGHT)
        return priority.set_background(self.pid, background)

    @property
    def handle(self) -> int:
        """The pidfd, readable once the process is dead; -1 when that has been seen."""
        return self._handle

    def ended(self, code: int, cpu_seconds: float | None = None) -> None:
        """For the zygote's report: how it ended and what it used. Only the first one counts."""
        if self._handle < 0:
            return
        os.close(self._handle)
        self._handle = -1
        if self._cgroup is not None and self._cgroups is not None:
            self._ended_for_memory = self._cgroup.was_out_of_memory()
            self._cgroups.remove(self._cgroup)
        if cpu_seconds is not None:
            self._cpu_seconds = cpu_seconds
        if not self.exited.done():
            self.exited.set_result(code)


_MEMORY = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+) kB$", re.MULTILINE)
_COMPUTING = (b"R", b"D", b"T", b"t")
"""It has a processor or wants one, reads a page from a disk, or is stopped."""
_PID = re.compile(rb"^Pid:\s+(\d+)$", re.MULTILINE)


def pid_of_handle(handle: int) -> int:
    """The number, in our PID namespace, of the process that a pidfd stands for; -1 when it has been reaped."""
    with open(f"/proc/self/fdinfo/{handle}", "rb", buffering=0) as file:
        found = _PID.search(file.read(4096))
    return int(found[1]) if found else -1
