"""Log events: what the code of a Worker printed, logged or raised, on its way to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import structlog

from tenantry.config.deployment import DeployedWorker
from tenantry.host.limits import LOG_BURST_BYTES, LOG_BYTES_PER_SECOND

__all__ = ["LogEvent", "LogRate", "LogSink", "emit"]

_log = structlog.get_logger()


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """What came together, each message a tenant's text: whoever prints it makes it harmless first.

    `gc=False`, though nothing decodes it: a flood of them must not start the garbage collector again and again.
    """

    worker: str
    namespace: str | None
    level: str
    messages: Sequence[str]


class LogRate:
    """How fast one Worker may fill its log, whichever of its processes and invocations says it: a bucket of tokens.

    What an invocation may say is bounded, and it costs the host; but any number of invocations may come.
    """

    def __init__(self) -> None:
        self._room_bytes = float(LOG_BURST_BYTES)
        self._at = 0.0
        self._told_at = float("-inf")

    def take(self, size: int, now: float) -> int:
        """How much of `size` may be logged, at `now` of the loop's clock. It is gone from the bucket then."""
        self._room_bytes = min(self._room_bytes + (now - self._at) * LOG_BYTES_PER_SECOND, LOG_BURST_BYTES)
        self._at = now
        taken = min(size, int(self._room_bytes))
        self._room_bytes -= taken
        return taken

    def may_tell(self, now: float) -> bool:
        """Whether to say that something was left out: once a second."""
        if now - self._told_at < 1.0:
            return False
        self._told_at = now
        return True


LogSink = Callable[[LogEvent], None]


def emit(sink: LogSink, worker: DeployedWorker, level: str, messages: Sequence[str]) -> None:
    """Send messages to a Worker's log. Whoever shows them may fail; that harms no request."""
    try:
        sink(LogEvent(worker.name, worker.namespace, level, messages))
    except Exception as error:  # noqa: BLE001
        _log.error("a Worker's log could not be shown", worker=worker.name, reason=str(error))
