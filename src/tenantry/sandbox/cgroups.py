"""cgroup v2: the kernel's own accounts of a process's memory, threads and CPU time, where a cgroup is delegated to us.

    <delegated>/             the cgroup that the host was started in
        host/                the host, the zygote, and workers in the moment of their birth
        workers/
            1/ 2/ …          one worker process each: memory.max, no swap, pids.max, cpu.weight

A worker is moved while it is blank, by a thread: to move a process waits for the whole kernel to have taken note, which
is milliseconds that neither a cold start nor the host's loop has to spare. What a process has allocated before stays
on the host's account, so the limit counts what the tenant makes of it; page tables, socket buffers and /tmp included,
which no rlimit counts.

The host never takes what was not given to it: see `find_delegated`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenantry.sandbox import limits

__all__ = ["Cgroup", "CgroupTree", "find_delegated"]

_NEEDED: Final = ("memory", "pids")
_WANTED: Final = ("cpu",)
_REMOVE_ATTEMPTS: Final = 200
_REMOVE_PAUSE_SECONDS: Final = 0.01


def find_delegated(proc: Path = Path("/proc")) -> Path:
    """The cgroup that this process may divide among its children. Raises OSError, which says what is missing.

    That is the one it is in, if it may write there, if the controllers have been handed down, and if nobody else is in
    it: a cgroup with children of its own holds no processes, so all that are in it would have to move.
    """
    mounts = [line.split() for line in (proc / "mounts").read_text().splitlines()]
    root = next((cells[1] for cells in mounts if cells[2] == "cgroup2"), None)
    if root is None:
        raise OSError(errno.ENOENT, "cgroup v2 is not mounted")
    lines = (proc / "self" / "cgroup").read_text().splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    folder = Path(root) / own.lstrip("/")
    if not (folder / "cgroup.type").exists():
        raise OSError(errno.EPERM, f"this process is in {folder}, the root of all cgroups, which nobody can delegate")
    controllers = (folder / "cgroup.controllers").read_text().split()
    if missing := sorted(set(_NEEDED) - set(controllers)):
        raise OSError(errno.ENOENT, f"{folder} has no controllers {', '.join(missing)}")
    for name in (".", "cgroup.procs", "cgroup.subtree_control"):
        if not os.access(folder / name, os.W_OK):
            raise OSError(errno.EACCES, f"{folder} is not this user's to divide")
    if (folder / "cgroup.procs").read_text().split() != [str(os.getpid())]:
        raise OSError(errno.EBUSY, f"others are in {folder} beside this process")
    return folder


class CgroupTree:
    """A delegated cgroup, divided. Whoever claims it closes it when all worker processes have ended."""

    def __init__(self, folder: Path) -> None:
        """Claim a cgroup that `find_delegated` has found. Moves this process. Raises OSError."""
        self._workers = folder / "workers"
        self._serial = 0
        # One thread: the kernel lets one process be moved at a time anyway.
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="cgroups")
        host = folder / "host"
        for each in (host, self._workers):
            each.mkdir(exist_ok=True)
        _write(host / "cgroup.procs", str(os.getpid()))
        available = (folder / "cgroup.controllers").read_text().split()
        controllers = " ".join(f"+{name}" for name in (*_NEEDED, *_WANTED) if name in available)
        for each in (folder, self._workers):
            _write(each / "cgroup.subtree_control", controllers)
        self._has_cpu = "cpu" in available
        if self._has_cpu:
            # All workers together have one share; the host, without whom none of them is served, has more.
            _write(host / "cpu.weight", str(limits.HOST_CPU_WEIGHT))

    @classmethod
    def try_claim(cls) -> CgroupTree | None:
        """None where nothing is delegated: limits are then rlimits and the host's own watch."""
        try:
            return cls(find_delegated())
        except OSError:
            return None

    def adopt(self, pid: int, threads_max: int, memory_bytes_max: int) -> Future[Cgroup]:
        """Move a process into a cgroup of its own. Fails with OSError when it is gone."""
        return self._mover.submit(self._adopt, pid, threads_max, memory_bytes_max)

    def remove(self, cgroup: Cgroup) -> None:
        """End what is left in it, which is nothing, and remove it. Soon, and not now."""
        self._mover.submit(cgroup.remove)

    def close(self) -> None:
        """Wait for what is under way. No process of a worker may be left."""
        self._mover.shutdown(wait=True)

    def _adopt(self, pid: int, threads_max: int, memory_bytes_max: int) -> Cgroup:
        self._serial += 1
        cgroup = Cgroup(self._workers / str(self._serial), self._has_cpu)
        cgroup.folder.mkdir(exist_ok=True)  # one of a host that was killed may be there
        try:
            _write(cgroup.folder / "pids.max", str(threads_max))
            _write(cgroup.folder / "memory.oom.group", "1")
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                _write(cgroup.folder / "memory.swap.max", "0")
            cgroup.limit_memory(memory_bytes_max)
            _write(cgroup.folder / "cgroup.procs", str(pid))
        except OSError:
            cgroup.remove()
            raise
        return cgroup


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The cgroup of one worker process."""

    folder: Path
    has_cpu: bool

    def limit_memory(self, bytes_max: int) -> None:
        """All that it is charged for from now on, the kernel's memory on its behalf included. Beyond it: killed."""
        _write(self.folder / "memory.max", str(bytes_max))

    def was_out_of_memory(self) -> bool:
        """Whether the kernel has killed it for its memory. True from before its death can be noticed."""
        try:
            events = (self.folder / "memory.events").read_text()
        except OSError:
            return False
        return any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in events.splitlines())

    def weigh(self, weight: int) -> bool:
        """Its share of the processors beside other workers; only where there is the controller. False: it is gone."""
        try:
            _write(self.folder / "cpu.weight", str(weight))
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Kill what is in it, and remove it; blocking, and bounded."""
        with contextlib.suppress(OSError):  # Linux 5.14
            _write(self.folder / "cgroup.kill", "1")
        for _ in range(_REMOVE_ATTEMPTS):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(_REMOVE_PAUSE_SECONDS)  # the dying are in it until they are dead
            else:
                return


def _write(path: Path, text: str) -> None:
    """The kernel's files take one write, and are never made by it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
