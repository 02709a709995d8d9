"""KV: a map from text to bytes for every namespace, with metadata, expirations and ordered listings.

binding   wire values  ─►  service   the rules  ─►  engine   a Protocol  ─►  engines/   memory, sqlite
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from tenantry.services import ServiceFactory, ServiceSettings
from tenantry.services.kv.backup import back_up
from tenantry.services.kv.binding import KvBinding
from tenantry.services.kv.engine import KvEngine, KvStore
from tenantry.services.kv.engines.memory import MemoryEngine
from tenantry.services.kv.engines.sqlite import SqliteEngine
from tenantry.services.kv.errors import StorageError
from tenantry.services.kv.model import Entry, Key, KeyPage
from tenantry.services.kv.service import Namespace, Page
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
    "Page",
    "SqliteEngine",
    "StorageError",
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
        self._engine = engine
        self._clock = clock
        # All who hold a namespace hold the same object, so that deleting it reaches them.
        self._bindings: WeakValueDictionary[str, KvBinding] = WeakValueDictionary()

    def open(self, resource_id: str) -> KvBinding:
        binding = self._bindings.get(resource_id)
        if binding is None:
            _check_id(resource_id)
            binding = KvBinding(Namespace(self._engine.store(resource_id), self._clock))
            self._bindings[resource_id] = binding
        return binding

    async def delete(self, resource_id: str) -> None:
        """Removes the namespace. Who still holds it is refused from now on; `open` gives a new, empty one."""
        _check_id(resource_id)
        binding = self._bindings.pop(resource_id, None)
        if binding is not None:
            binding.namespace.mark_deleted()
        await self._engine.delete(resource_id)

    async def aclose(self) -> None:
        await self._engine.aclose()


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
