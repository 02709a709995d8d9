"""Databases that live as long as the engine: for tests, and for platforms that keep nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import apsw

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.engine import Session
from tenantry.services.d1.engines._dump import dump
from tenantry.services.d1.engines._session import Past, SqliteSession
from tenantry.services.d1.errors import PastUnknown
from tenantry.services.d1.model import DumpOptions

__all__ = ["MemoryEngine"]


class MemoryEngine:
    """Time Travel is refused: an earlier state is gone."""

    keeps_past = False

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        database_bytes_max: int = limits.DATABASE_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._database_bytes_max = database_bytes_max
        self._stores: dict[str, _Memory] = {}
        self._sessions: WeakValueDictionary[str, SqliteSession] = WeakValueDictionary()

    def open(self, resource_id: str) -> Session:
        store = self._stores.setdefault(resource_id, _Memory())
        session = SqliteSession(store, self._clock, self._database_bytes_max)
        self._sessions[resource_id] = session
        return session

    def usage(self, resource_id: str) -> int:
        session = self._sessions.get(resource_id)
        if session is not None and session.size_bytes is not None:
            return session.size_bytes
        store = self._stores.get(resource_id)
        return store.size_bytes() if store is not None else 0

    def resource_ids(self) -> Sequence[str]:
        return [resource_id for resource_id, store in self._stores.items() if store.exists()]

    def dump(self, resource_id: str, target: BinaryIO, options: DumpOptions, stop: Callable[[], bool]) -> None:
        store = self._stores.setdefault(resource_id, _Memory())
        # Of a copy: in memory, readers and writers wait for each other.
        connection = store.copy()
        try:
            dump(connection, target, options, stop)
        finally:
            connection.close(True)

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
        self.past: Past = _Present()

    def exists(self) -> bool:
        return self._anchor is not None

    def disk_is_full(self) -> bool:
        return False

    def connect(self) -> apsw.Connection:
        if self._anchor is None:
            self._anchor = self._open()
        return self._open()

    def idle(self) -> None:
        pass

    def size_bytes(self) -> int:
        if self._anchor is None:
            return 0
        return int(self._anchor.pragma("page_count")) * int(self._anchor.pragma("page_size"))

    def copy(self) -> apsw.Connection:
        copy = apsw.Connection(":memory:")
        if self._anchor is not None:
            with copy.backup("main", self._anchor, "main") as backup:
                backup.step(-1)
        return copy

    def forget(self) -> None:
        if self._anchor is not None:
            self._anchor.close(True)
            self._anchor = None

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(f"file:{self.name}?vfs=memdb", flags=_FLAGS)
        connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
        return connection


class _Present:
    """A past that knows the time of the last commit only, so that bookmarks grow."""

    def __init__(self) -> None:
        self._last_time = 0

    def follow(self, connection: apsw.Connection, *, new: bool) -> None:
        pass

    def committed(self, *, marked: bool) -> int:
        self._last_time = max(time.time_ns(), self._last_time + 1)
        return self._last_time

    def current(self, *, marked: bool) -> int:
        return self._last_time

    @property
    def checkpoint_is_due(self) -> bool:
        return False

    def checkpoint(self) -> None:
        pass

    def leave(self) -> bool:
        return False

    def state_at(self, time: int) -> int:
        raise PastUnknown(errors.NO_HISTORY)

    def rebuild(self, time: int, target: Path) -> int:
        raise PastUnknown(errors.NO_HISTORY)

    def log_was_written(self) -> None:
        pass

    @property
    def staging(self) -> Path:
        raise PastUnknown(errors.NO_HISTORY)


_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
