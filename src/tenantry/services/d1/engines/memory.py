"""Databases that live as long as the engine: for tests, and for platforms that keep nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import apsw

from tenantry.services.d1 import limits
from tenantry.services.d1.engine import Session
from tenantry.services.d1.engines._session import SqliteSession

__all__ = ["MemoryEngine"]


class MemoryEngine:
    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        database_bytes_max: int = limits.DATABASE_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._database_bytes_max = database_bytes_max
        self._stores: dict[str, _Memory] = {}

    def open(self, resource_id: str) -> Session:
        store = self._stores.setdefault(resource_id, _Memory())
        return SqliteSession(store, self._clock, self._database_bytes_max)

    def delete(self, resource_id: str) -> None:
        store = self._stores.pop(resource_id, None)
        if store is not None:
            store.forget()

    def close(self) -> None:
        for resource_id in list(self._stores):
            self.delete(resource_id)


class _Memory:
    """SQLite's `memdb` keeps a database as long as one connection to it is open: `_anchor`."""

    def __init__(self) -> None:
        self._anchor: apsw.Connection | None = None
        self.name = f"/tenantry-{id(self):x}"

    def exists(self) -> bool:
        return self._anchor is not None

    def disk_is_full(self) -> bool:
        return False

    def connect(self) -> apsw.Connection:
        if self._anchor is None:
            self._anchor = self._open()
        return self._open()

    def forget(self) -> None:
        if self._anchor is not None:
            self._anchor.close(True)
            self._anchor = None

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(f"file:{self.name}?vfs=memdb", flags=_FLAGS)
        connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
        return connection


_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
