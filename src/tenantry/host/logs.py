"""Log events: what the code of a Worker printed, logged or raised, on its way to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["LogEvent", "LogSink"]


@dataclass(frozen=True, slots=True)
class LogEvent:
    """`message` is a tenant's text: whoever prints it makes it harmless first."""

    worker: str
    namespace: str | None
    level: str
    message: str


LogSink = Callable[[LogEvent], None]
