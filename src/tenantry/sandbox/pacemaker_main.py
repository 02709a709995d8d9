"""The program of `pacemaker`: wakes up on every processor at a steady pace, does nothing, and sleeps again.

It is run as a file, by an interpreter without any packages. A byte on standard input says what it does from then on:
b"1" goes, b"0" rests; the end of the input ends it.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

_PACE_SECONDS = 0.001  # not `Final`: `typing` would be a quarter of this process's memory


def _beat(processor: int, going: threading.Event) -> None:
    with suppress(OSError):  # that processor has been taken away
        os.sched_setaffinity(0, {processor})  # of this thread alone
        while going.wait():
            time.sleep(_PACE_SECONDS)


def main() -> None:
    with suppress(OSError):  # a container may forbid it
        # It takes no processor from anybody but SCHED_IDLE.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    threading.stack_size(64 * 1024)
    going = threading.Event()
    for processor in os.sched_getaffinity(0):
        threading.Thread(target=_beat, args=(processor, going), daemon=True).start()
    while word := os.read(0, 1):
        (going.set if word == b"1" else going.clear)()


if __name__ == "__main__":
    main()
