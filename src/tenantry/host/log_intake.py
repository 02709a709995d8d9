"""What one process says, on its way to its Worker's log: paid for, cut, freed of secrets, noted.

A log costs the host more than the Worker, and a Worker has the host's ear as often as it is asked. So it may say no
more than the host has granted (`LOG_WINDOW_BYTES` of the wire), and what its events took is granted again as fast as
the Worker's `LogRate` lets it: the rest is lost where it was said, and costs nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tenantry.host.invocation import Invocation, LogAllowance
from tenantry.host.limits import LOG_BYTES_MAX, LOG_BYTES_PER_SECOND, LOG_SECONDS
from tenantry.host.logs import LogRate, LogSink, emit
from tenantry.wire.limits import KIB, LOG_WINDOW_BYTES
from tenantry.wire.log_window import log_size

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from tenantry.host.process import WorkerProcess
    from tenantry.host.traces import TraceHub
    from tenantry.wire.events import LogLost, LogReceived

__all__ = ["LogIntake"]

_LEVELS: Final = frozenset({"debug", "log", "info", "warn", "error"})
_OWED_BYTES_MAX: Final = LOG_WINDOW_BYTES // 2
"""So much may be said before any is granted again: hardly a process ever needs a frame for it."""
_GRANT_SECONDS: Final = 1 / 64
"""Where the rate does not let it: a little at a time, so that what then comes is never much at once."""


class LogIntake:
    """Of one process. `redact` takes secrets out of what it says; None: there are none."""

    def __init__(
        self,
        process: WorkerProcess,
        sink: LogSink,
        rate: LogRate,
        traces: TraceHub | None,
        redact: Callable[[str], str] | None,
    ) -> None:
        self._process = process
        self._sink = sink
        self._rate = rate
        self._traces = traces
        self._redact = redact
        self._stray = LogAllowance()
        self._owed_bytes = 0
        """Of the log's window: what was said and is not granted again."""
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, event: LogReceived) -> None:
        self._owed_bytes += event.size
        if self._owed_bytes >= _OWED_BYTES_MAX and self._timer is None:
            self._grant()
        invocation = self._process.invocations.get(event.call)
        allowance = self._stray_allowance() if invocation is None else invocation.log
        room = LOG_BYTES_MAX - allowance.used_bytes
        if room <= 0:
            return
        level = event.level if event.level in _LEVELS else "log"
        messages = event.messages
        if self._redact is not None:
            messages = [self._redact(message) for message in messages]
        allowance.used_bytes += event.size
        if event.size < room:
            self._note(invocation, level, messages)
            return
        self._note(invocation, level, list(_first(messages, room)))
        self._warn(
            invocation,
            f"Log size limit exceeded: more than {LOG_BYTES_MAX // KIB} KiB in one invocation; the rest is lost.",
        )

    def lost(self, event: LogLost) -> None:
        if self._rate.may_tell(self._process.loop.time()):
            rate = f"more than {LOG_BYTES_PER_SECOND // KIB} KiB a second"
            self._warn(
                self._process.invocations.get(event.call),
                f"Log rate limit exceeded: {rate}; {event.count} lines were lost.",
            )

    def say(self, level: str, message: str) -> None:
        """A line of the host's own."""
        emit(self._sink, self._process.worker, level, [message])

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stray_allowance(self) -> LogAllowance:
        """For what it says outside of invocations, while it starts or behind an answer: so much a minute."""
        now = self._process.loop.time()
        if now - self._stray.since > LOG_SECONDS:
            self._stray = LogAllowance(now)
        return self._stray

    def _grant(self) -> None:
        self._timer = None
        loop = self._process.loop
        size = self._rate.take(self._owed_bytes, loop.time())
        if size:
            self._owed_bytes -= size
            self._process.peer.grant_log(size)
        if self._owed_bytes >= _OWED_BYTES_MAX:
            self._timer = loop.call_later(_GRANT_SECONDS, self._grant)

    def _warn(self, invocation: Invocation | None, message: str) -> None:
        """What the tenant is to know of its log."""
        self._note(invocation, "warn", [message])

    def _note(self, invocation: Invocation | None, level: str, messages: list[str]) -> None:
        recorder = None if invocation is None else self._process.recorder_of(invocation)
        if recorder is not None:
            recorder.log(level, messages)
        elif self._traces is not None:
            self._traces.said(self._process.worker, level, messages)
        emit(self._sink, self._process.worker, level, messages)


def _first(messages: list[str], size_max: int) -> Iterator[str]:
    """What of them fits, the last one cut."""
    for message in messages:
        if size_max <= 0:
            return
        yield message[:size_max]
        size_max -= log_size(message)
