"""Who runs first when more want to run than there are processors.

Workers and the zygote are nicer than the host, so that the loop that serves everyone is not one among many. A worker
that keeps a processor busy is put in the background, from outside: SCHED_IDLE, which runs when nobody else wants to. It
is taken back when it has calmed down, which only root may do.

Not by niceness: that is a share, and one tenant with sixty threads in four processes would have sixty shares times
four. Nor does it help whoever wakes up: a nice thread that runs goes on to the end of its slice, some milliseconds,
and a request wakes ten threads one after the other. A thread of SCHED_IDLE makes way at once, and a processor that runs
nothing else counts as free for who looks for one.

Nor by short slices for the others (sched_setattr(2)): who has had its slice is not entitled to the next one, and then a
thread of SCHED_IDLE has the processor until somebody wakes up there, as `pacemaker` sees to.

A worker has a process group of its own and stays in the host's session, by way of the zygote: the kernel's autogroups
(sched(7)) weigh threads against one another within a session only, and give each session an equal share. With one of
their own the workers together would get as much as the host, whatever they are.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["become_nicer", "lead_group", "set_background"]

_NICENESS: Final = 5
_PASSES_MAX: Final = 4
"""Threads that begin meanwhile inherit; one that was being born of one not yet seen takes another pass to find."""


def become_nicer() -> None:
    """In the zygote: to fork the next worker is not as urgent as what the last one was for. Children inherit it."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


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
