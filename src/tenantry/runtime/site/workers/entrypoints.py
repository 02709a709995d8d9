"""The classes that a Worker's entrypoints derive from."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["DurableObject", "DurableObjectAbort", "DurableObjectContext", "WorkerEntrypoint", "WorkflowEntrypoint"]


class _Entrypoint:
    def __init__(self, ctx: Any, env: Any) -> None:
        self.ctx = ctx
        self.env = env


class WorkerEntrypoint(_Entrypoint):
    """A Worker: `fetch(self, request)`, other handlers, and public methods for RPC. One instance serves one call."""


class DurableObject(_Entrypoint):
    """An object with storage of its own. One instance serves all calls."""


class WorkflowEntrypoint(_Entrypoint):
    """A workflow: `run(self, event, step)`."""


class DurableObjectAbort(BaseException):
    """`ctx.abort()`. Not an Exception, so that no `except Exception` keeps the object alive."""


class DurableObjectContext:
    """`self.ctx` of a DurableObject."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def abort(self, reason: str | None = None) -> NoReturn:
        raise DurableObjectAbort(reason or "Durable Object abort requested")
