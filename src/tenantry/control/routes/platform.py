"""What is ours and not Cloudflare's: health, figures, and a look at the running processes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Protocol

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from tenantry.control.envelope import Envelope

__all__ = ["Watch", "platform_routes"]


class Watch(Protocol):
    """What the platform says of itself."""

    def ready(self) -> bool:
        """Whether to send it requests: not before everything is up, and not once it is to stop."""

    def processes(self) -> Sequence[dict[str, Any]]:
        """The live worker processes."""

    def metrics(self) -> bytes:
        """Prometheus' text format, version 0.0.4."""


class HealthView(msgspec.Struct, frozen=True):
    status: str
    version: str


def platform_routes(watch: Watch) -> list[HTTPRouteHandler]:
    installed = version("tenantry")

    @get("/healthz", name="health")
    async def health() -> HealthView:
        return HealthView("ok", installed)

    @get("/readyz", name="readiness")
    async def readiness() -> Response[HealthView]:
        ready = watch.ready()
        return Response(HealthView("ready" if ready else "not ready", installed), status_code=200 if ready else 503)

    @get("/tenantry/v1/processes", name="list_processes")
    async def list_processes() -> Envelope[list[dict[str, Any]]]:  # Any: JSON in the host's own words
        return Envelope(list(watch.processes()))

    @get("/metrics", name="metrics", media_type="text/plain; version=0.0.4; charset=utf-8")
    async def metrics() -> bytes:
        return watch.metrics()

    return [health, readiness, list_processes, metrics]
