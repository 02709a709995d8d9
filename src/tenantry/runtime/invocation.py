"""The invocation that code is running for: found through a context variable, so that it follows every task."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tenantry.runtime.stub import Stub
    from tenantry.runtime.worker import Worker

__all__ = ["Invocation", "current"]

WAIT_UNTIL_TASKS_MAX: Final = 10_000
"""A Worker that registers more is out of control."""

_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)


class Invocation:
    """One event delivery, as the Worker's side knows it."""

    __slots__ = ("answered", "call", "exports", "logged_bytes", "task", "waiting", "worker")

    def __init__(self, worker: Worker, call: int) -> None:
        self.worker = worker
        self.call = call
        self.task: asyncio.Task[None] | None = None
        self.answered = False
        self.waiting: set[asyncio.Future[Any]] = set()
        self.logged_bytes = 0
        """What it sent to its log, as the host counts it, or a little less."""
        self.exports = 0
        """Streams and stubs of this invocation that the host can still reach."""

    @property
    def fetch_stub(self) -> Stub:
        return self.worker.fetch_stub

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        """Keep the invocation open until `awaitable` is done. Its exception goes to the log and nowhere else."""
        if len(self.waiting) >= WAIT_UNTIL_TASKS_MAX:
            raise RuntimeError(f"waitUntil() was called more than {WAIT_UNTIL_TASKS_MAX} times")
        task = asyncio.ensure_future(awaitable)
        self.waiting.add(task)
        task.add_done_callback(self._waited)

    def _waited(self, task: asyncio.Future[Any]) -> None:
        self.waiting.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.worker.log_exception(self.call, error)
        self.worker.settle(self)

    def log(self, level: str, message: str) -> None:
        self.worker.log(self.call, level, message)

    def enter(self) -> None:
        _current.set(self)


def current() -> Invocation:
    """The invocation that the caller runs for. Raises RuntimeError in global scope."""
    invocation = _current.get()
    if invocation is None:
        raise RuntimeError(
            "Disallowed operation called within global scope. Asynchronous I/O (ex: fetch() or connect()), setting a "
            "timeout, and generating random values are not allowed within global scope. To fix this error, perform "
            "this operation within a handler. https://developers.cloudflare.com/workers/runtime-apis/handlers/"
        )
    return invocation


def current_call() -> int:
    """The number of the current invocation's call, 0 in global scope."""
    invocation = _current.get()
    return invocation.call if invocation is not None else 0
