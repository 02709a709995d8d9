"""Niceness: who runs first when more want to run than there are processors.

Workers and the zygote are nicer than the host, so that the loop that serves everyone is not one among many. One that
keeps a processor busy is made nicer still, from outside, and a quiet one beside it is served at once; that is taken
back when it has calmed down, which only root may do.

A worker has a process group of its own, by which all of its threads are found, and shares the zygote's session: the
kernel's autogroups (sched(7)) give every session an equal share, so with a session each a hundred workers would be a
hundred times the host.
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["become_nicer", "lead_group", "set_background"]

_WORKER: Final = 5
_BACKGROUND: Final = 15


def become_nicer() -> None:
    """In the zygote: to fork the next worker is not as urgent as what the last one was for. Children inherit it."""
    os.setpriority(os.PRIO_PROCESS, 0, max(_WORKER, os.getpriority(os.PRIO_PROCESS, 0)))


def lead_group() -> None:
    """In a child. It stays in the session of the zygote, which has no terminal."""
    os.setpgid(0, 0)


def set_background(pid: int, background: bool) -> bool:
    """All threads of a worker. False when it was not possible: it is gone, or this user may only ever add niceness."""
    try:
        os.setpriority(os.PRIO_PGRP, pid, _BACKGROUND if background else _WORKER)
    except (ProcessLookupError, PermissionError):
        return False
    return True
