"""Log events: what the code of a Worker printed, logged or raised, on its way to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from tenantry.config.deployment import DeployedWorker

__all__ = ["LogEvent", "LogSink", "emit"]

_log = structlog.get_logger()


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """`message` is a tenant's text: whoever prints it makes it harmless first.

    `gc=False`, though nothing decodes it: a flood of them must not start the garbage collector again and again.
    """

    worker: str
    namespace: str | None
    level: str
    message: str


LogSink = Callable[[LogEvent], None]


def emit(sink: LogSink, worker: DeployedWorker, level: str, message: str) -> None:
    """Send a line to a Worker's log. Whoever shows it may fail; that harms no request."""
    try:
        sink(LogEvent(worker.name, worker.namespace, level, message))
    except Exception as error:  # noqa: BLE001
        _log.error("a Worker's log could not be shown", worker=worker.name, reason=str(error))
