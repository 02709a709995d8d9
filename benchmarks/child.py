"""A process that the run starts, and ends again with everything below it, however the run itself ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.failure import BenchmarkError

__all__ = ["Child"]

_STOP_SECONDS_MAX: Final = 15.0
_POLL_SECONDS: Final = 0.02
_LOG_BYTES_SHOWN: Final = 2000

Found = TypeVar("Found")


class Child:
    """A process in a group of its own. Its output goes to `log`; a pipe that is never written to is its input.

    The input ends when this program does, whichever way: a child that watches it cannot be left behind.
    """

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, *, output: Path | None = None) -> None:
        """`output` is a file for the standard output alone."""
        self.name = name
        self._log = log
        with log.open("ab") as errors, (output or log).open("ab") as standard:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=standard,
                stderr=errors,
                # Not a session of its own: the kernel gives each session an equal share, whatever is in it
                # (sched(7), autogroups), so that niceness between a platform and its clients would say nothing.
                process_group=0,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, find: Callable[[], Found | None], seconds_max: float) -> Found:
        """What `find` finds, as soon as it does. Raises BenchmarkError when the process ends or it takes too long."""
        deadline = time.monotonic() + seconds_max
        while True:
            ended = self._has_ended()
            if (found := find()) is not None:
                return found
            if ended:
                raise BenchmarkError(f"{self.name} ended by itself:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{self.name} is not ready after {seconds_max:.0f} s:\n{self.log_end()}")
            time.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raises BenchmarkError when the process has ended."""
        if self._has_ended():
            raise BenchmarkError(f"{self.name} ended by itself:\n{self.log_end()}")

    def log_end(self) -> str:
        text = self._log.read_bytes()[-_LOG_BYTES_SHOWN:].decode(errors="replace") if self._log.exists() else ""
        return text.strip() or "(it said nothing)"

    def stop(self) -> None:
        """Ask it to end, and kill it with its group when it does not in good time."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        if not self._has_ended():
            os.kill(self.pid, signal.SIGINT)
            deadline = time.monotonic() + _STOP_SECONDS_MAX
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        # The leader was not waited for yet, so the number of its group is still its own and nobody else's.
        if self._process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _has_ended(self) -> bool:
        """Without waiting for it in the kernel's sense, which would give its number away."""
        if self._process.returncode is not None:
            return True
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
