"""`wait_until()` without a `ctx` at hand."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tenantry.runtime.invocation import current

__all__ = ["wait_until"]


def wait_until(awaitable: Awaitable[Any]) -> None:
    """Keep the current invocation open until `awaitable` is done, after its result was sent too."""
    current().wait_until(awaitable)
