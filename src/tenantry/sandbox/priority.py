"""Who runs first when more want to run than there are processors.

Workers and the zygote are nicer than the host, so that the loop that serves everyone is not one among many. A worker
that keeps a processor busy is put in the background, from outside: SCHED_IDLE, which runs when nobody else wants to. It
is taken back when it has calmed down, which only root may do.

Not by niceness: that is a share, and one tenant with sixty threads in four processes would have sixty shares times
four. Nor does it help whoever wakes up: a nice thread that runs goes on to the end of its slice, some milliseconds,
and a request wakes ten threads one after the other. A thread of SCHED_IDLE makes way at once, and a processor that runs
nothing else counts as free for who looks for one.

Who is not in the background has short turns (EEVDF's slices, Linux 6.12 and newer; older kernels ignore them). They do
not give more of a processor, they say how soon: who wakes up goes before one that has had its turn, where it would wait
out some milliseconds of a longer one. The host's are the shortest there are.

A worker has a process group of its own and stays in the host's session, by way of the zygote: the kernel's autogroups
(sched(7)) weigh threads against one another within a session only, and give each session an equal share. With one of
their own the workers together would get as much as the host, whatever they are.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from typing import Final

from tenantry.sandbox import libc

__all__ = ["become_nicer", "lead_group", "set_background", "take_short_turns"]

_NICENESS: Final = 5
HOST_TURN_SECONDS: Final = 0.0001
WORKER_TURN_SECONDS: Final = 0.0002
_SCHED_ATTR: Final = struct.Struct("=IIQiIQQQ")
"""The first version of it (sched_setattr(2)): size, policy, flags, nice, priority, runtime, deadline, period."""
_PASSES_MAX: Final = 4
"""Threads that begin meanwhile inherit; one that was being born of one not yet seen takes another pass to find."""


def become_nicer() -> None:
    """In the zygote: to fork the next worker is not as urgent as what the last one was for. Children inherit it."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    take_short_turns(WORKER_TURN_SECONDS)


def take_short_turns(seconds: float = HOST_TURN_SECONDS) -> None:
    """Of the calling thread, and of what it starts from now on. Where the kernel will not, all goes on as it was."""
    policy, nice = os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, policy, 0, nice, 0, round(seconds * 1e9), 0, 0)
    with suppress(OSError):
        libc.syscall("sched_setattr", 0, attributes, 0)


def lead_group() -> None:
    """In a child. It stays in the session of the zygote, which is the host's."""
    os.setpgid(0, 0)


def set_background(pid: int, background: bool) -> bool:
    """All threads of a worker. False when it was not possible: it is gone, or this user may not take it back."""
    policy = os.SCHED_IDLE if background else os.SCHED_OTHER
    seen: set[str] = set()
    for _ in range(_PASSES_MAX):
        try:
            threads = set(os.listdir(f"/proc/{pid}/task")) - seen
        except (FileNotFoundError, ProcessLookupError):
            return False
        if not threads:
            break
        seen |= threads
        for thread in threads:
            try:
                os.sched_setscheduler(int(thread), policy, os.sched_param(0))
            except ProcessLookupError:
                pass  # a thread that has ended
            except PermissionError:
                return False
    return bool(seen)
