"""What is ours and not Cloudflare's: health, and a look at the running processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler

from tenantry.control.envelope import Envelope

__all__ = ["Processes", "platform_routes"]

# Any: JSON objects in the host's own words, shown as they are.
Processes = Callable[[], Sequence[dict[str, Any]]]


class HealthView(msgspec.Struct, frozen=True):
    status: str
    version: str


def platform_routes(processes: Processes) -> tuple[HTTPRouteHandler, HTTPRouteHandler]:
    installed = version("tenantry")

    @get("/healthz", name="health")
    async def health() -> HealthView:
        return HealthView("ok", installed)

    @get("/tenantry/v1/processes", name="list_processes")
    async def list_processes() -> Envelope[list[dict[str, Any]]]:
        return Envelope(list(processes()))

    return health, list_processes
