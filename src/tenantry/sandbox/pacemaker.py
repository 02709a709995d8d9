"""A clock that makes the kernel think again who runs, for as long as somebody is in the background.

Whoever wakes up takes the processor from a thread of SCHED_IDLE at once. But one that was interrupted, or waits behind
another one that goes to sleep, may find the thread of SCHED_IDLE before it: since Linux 6.6 (EEVDF) the next to run
must not have had more than its share, and who has just run has, however small the share of the other one. That one is
then ahead within microseconds, but nobody looks again before the processor's next tick, which is up to 4 ms away. A
request wakes ten threads one after the other.

So a process that sleeps a millisecond at a time wakes up on each processor. It wants nothing there: that it comes and
goes makes the kernel choose anew, and this time it chooses well.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["Pacemaker"]

_PROGRAM = Path(__file__).with_name("pacemaker_main.py")


class Pacemaker:
    """A process of its own, started when it is needed first. Without it everything works, only later."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self.is_going = False
        """As it was told last."""

    def go(self, going: bool) -> None:
        """Whether somebody is in the background. Costs nothing where that has not changed.

        Raises OSError where no process can be started; then the next change is the next try.
        """
        if going == self.is_going:
            return
        self.is_going = going
        if not self._tell() and going:
            self._end()
            self._start()
            self._tell()

    def close(self) -> None:
        """End the process."""
        self.is_going = False
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            assert self._child.stdin is not None
            self._child.stdin.close()
            self._child.kill()
            self._child.wait()
            self._child = None

    def _start(self) -> None:
        self._child = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            env={},
            cwd="/",
            process_group=0,  # out of reach of Ctrl-C
        )
        assert self._child.stdin is not None
        os.set_blocking(self._child.stdin.fileno(), False)

    def _tell(self) -> bool:
        """False: it is not there, or does not listen."""
        if self._child is None or self._child.stdin is None:
            return False
        try:
            return self._child.stdin.write(b"1" if self.is_going else b"0") is not None
        except OSError:
            return False
