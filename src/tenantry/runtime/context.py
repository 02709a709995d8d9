"""`ctx`: what an invocation offers to the Worker that handles it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NoReturn

from tenantry.runtime.invocation import Invocation

__all__ = ["Context"]


class Context:
    """`self.ctx` of an entrypoint. Cloudflare's names, and Python's beside them."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self.props: dict[str, Any] = {}

    def waitUntil(self, awaitable: Awaitable[Any]) -> None:  # noqa: N802
        self._invocation.wait_until(awaitable)

    def wait_until(self, awaitable: Awaitable[Any]) -> None:
        self._invocation.wait_until(awaitable)

    def passThroughOnException(self) -> None:  # noqa: N802
        """Accepted; a Worker here has no origin to pass through to."""

    def pass_through_on_exception(self) -> None:
        self.passThroughOnException()

    def abort(self, reason: str | None = None) -> NoReturn:
        raise RuntimeError(reason or "The Worker called ctx.abort().")
