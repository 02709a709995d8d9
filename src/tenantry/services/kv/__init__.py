"""KV: a map from text to bytes for every namespace, with metadata, expirations and ordered listings.

binding   wire values  ─►  service   the rules  ─►  engine   a Protocol  ─►  engines/   memory, sqlite
                                          └─►  consistency   as slow as Cloudflare's, where it is asked for  ─┘
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tenantry.services import ServiceFactory, ServiceSettings
from tenantry.services.kv.backup import back_up
from tenantry.services.kv.binding import KvBinding
from tenantry.services.kv.consistency import Edge
from tenantry.services.kv.engine import KvEngine, KvStore
from tenantry.services.kv.engines.memory import MemoryEngine
from tenantry.services.kv.engines.sqlite import FILE_SUFFIX, SqliteEngine
from tenantry.services.kv.errors import NamespaceGone, Reason, Refused, StorageError
from tenantry.services.kv.limits import BINDINGS_KEPT_MAX, SWEEP_SECONDS
from tenantry.services.kv.metered import MeteredEngine
from tenantry.services.kv.model import Entry, Key, KeyPage, Usage
from tenantry.services.kv.service import Namespace, Page
from tenantry.services.quota import UNLIMITED, Amount, Meter
from tenantry.services.snapshot import Snapshot

__all__ = [
    "SERVICE",
    "Entry",
    "Key",
    "KeyPage",
    "KvBinding",
    "KvEngine",
    "KvService",
    "KvStore",
    "MemoryEngine",
    "Namespace",
    "NamespaceGone",
    "Page",
    "Reason",
    "Refused",
    "SqliteEngine",
    "StorageError",
    "Usage",
]

# A resource id becomes a file name, on any file system.
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class KvService:
    """The KV namespaces of one account. Lives on one event loop."""

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        engine: KvEngine | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if engine is None:
            engine = SqliteEngine(settings.folder / "kv", sync_full=settings.durability == "full")
        self._engine = _metered(engine, settings)
        self._clock = clock
        self._of_resource = settings.of_resource
        # Opened before, so that each call does not open again. They hold nothing: the engine has the handles.
        self._bindings: dict[str, KvBinding] = {}
        # What namespaces that are not strongly consistent remember of what was read.
        self._edges: dict[str, Edge] = {}
        self._sweeper: asyncio.Task[None] | None = None

    def open(self, resource_id: str) -> KvBinding:
        binding = self._bindings.get(resource_id)
        return self._open(resource_id) if binding is None else binding

    def _open(self, resource_id: str) -> KvBinding:
        _check_id(resource_id)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep_now_and_then())
        if len(self._bindings) >= BINDINGS_KEPT_MAX:
            self._bindings.clear()
        namespace = Namespace(self._engine.store(resource_id), self._clock, self._edge(resource_id))
        binding = self._bindings[resource_id] = KvBinding(namespace)
        return binding

    def _edge(self, resource_id: str) -> Edge | None:
        edge = self._edges.get(resource_id)
        if edge is None and self._of_resource("kv", resource_id).get("consistency") == "cloudflare_like":
            edge = self._edges[resource_id] = Edge()
        return edge

    async def delete(self, resource_id: str) -> None:
        """Removes the namespace, for ever. Whoever is bound to it is refused from now on, also after a restart."""
        _check_id(resource_id)
        await self._engine.delete(resource_id)
        self._edges.pop(resource_id, None)
        self._bindings.pop(resource_id, None)

    async def sweep(self) -> None:
        """Gives the space of expired entries back. It happens by itself about once a minute."""
        await self._engine.sweep(int(self._clock()))

    async def _sweep_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            # It is in the log, and may be mended by the next time.
            with suppress(StorageError):
                await self.sweep()

    async def aclose(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        await self._engine.aclose()


def _metered(engine: KvEngine, settings: ServiceSettings) -> KvEngine:
    """The engine under the account's quota, if it has one."""
    quota = settings.quotas.get("kv", UNLIMITED)
    if quota == UNLIMITED:
        return engine

    async def ask(namespace_id: str) -> Amount:
        try:
            usage = await engine.store(namespace_id).usage()
        except NamespaceGone:
            return Amount()
        return Amount(usage.size_bytes, usage.keys)

    folder = settings.folder / "kv"
    meter = Meter.open(
        quota,
        settings.folder / "kv.totals",
        ask,
        lambda: [file.name.removesuffix(FILE_SUFFIX) for file in folder.glob(f"*{FILE_SUFFIX}")],
        durable=settings.durability == "full",
    )
    return MeteredEngine(engine, meter)


def _check_id(resource_id: str) -> None:
    if not _SAFE_ID.fullmatch(resource_id):
        raise ValueError(
            "A KV namespace id is 1 to 128 letters, digits, '-' and '_', and begins with one of the first two."
        )


class _KvServiceFactory:
    def __init__(self) -> None:
        self.name = "kv"
        self.binding_types = {"kv_namespace": "namespace_id"}

    def __call__(self, settings: ServiceSettings) -> KvService:
        return KvService(settings)

    def back_up(self, folder: Path, target: Path, snapshot: Snapshot) -> None:
        back_up(folder, target, snapshot)


SERVICE: ServiceFactory = _KvServiceFactory()
