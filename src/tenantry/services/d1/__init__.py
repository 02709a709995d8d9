"""D1: SQL databases for Workers. SQLite with Cloudflare's limits, permissions, results and error texts."""

from __future__ import annotations

from pathlib import Path

from tenantry.services import ServiceSettings
from tenantry.services.d1.backup import back_up
from tenantry.services.d1.binding import D1Binding
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Statement
from tenantry.services.d1.service import D1Service
from tenantry.services.snapshot import Snapshot

__all__ = ["SERVICE", "D1Binding", "D1Service", "QueryFailed", "Statement"]


class _Factory:
    name = "d1"
    binding_types: dict[str, str] = {"d1": "id"}  # noqa: RUF012  # the protocol's type

    def __call__(self, settings: ServiceSettings) -> D1Service:
        return D1Service.from_settings(settings)

    def back_up(self, folder: Path, target: Path, snapshot: Snapshot) -> None:
        back_up(folder, target, snapshot)


SERVICE = _Factory()
