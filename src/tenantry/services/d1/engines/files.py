"""A SQLite file for each database: to copy a database is to copy its file (and its -wal, while it is open)."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import apsw

from tenantry.services.d1 import limits
from tenantry.services.d1.engine import Session
from tenantry.services.d1.engines._session import SqliteSession

__all__ = ["FileEngine"]

_SUFFIXES = ("", "-wal", "-shm", "-journal")


class FileEngine:
    """`folder` is made with the first write. With `durable`, a commit waits for the disk (`synchronous=FULL`); without,
    it survives the end of the process but not of the machine, and the file stays sound either way."""

    def __init__(
        self,
        folder: Path,
        durable: bool = True,
        clock: Callable[[], float] = time.monotonic,
        database_bytes_max: int = limits.DATABASE_BYTES_MAX,
    ) -> None:
        self._folder = folder
        self._durable = durable
        self._clock = clock
        self._database_bytes_max = database_bytes_max

    def open(self, resource_id: str) -> Session:
        return SqliteSession(_File(self._path(resource_id), self._durable), self._clock, self._database_bytes_max)

    def delete(self, resource_id: str) -> None:
        path = self._path(resource_id)
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if self._durable and self._folder.exists():
            _sync_folder(self._folder)

    def close(self) -> None:
        pass

    def _path(self, resource_id: str) -> Path:
        return self._folder / f"{resource_id}.sqlite"


class _File:
    def __init__(self, path: Path, durable: bool) -> None:
        self.name = str(path)
        self._path = path
        self._durable = durable

    def exists(self) -> bool:
        return self._path.exists()

    def disk_is_full(self) -> bool:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize < limits.DISK_FREE_BYTES_MIN

    def connect(self) -> apsw.Connection:
        new = not self.exists()
        if new:
            self._make_folder()
        connection = apsw.Connection(
            str(self._path),
            flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOFOLLOW,
            statementcachesize=limits.STATEMENT_CACHE_COUNT,
        )
        try:
            connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full" if self._durable else "normal")
            connection.pragma("journal_size_limit", limits.WAL_BYTES_KEPT)
        except BaseException:
            connection.close(True)
            raise
        if new and self._durable:
            # SQLite syncs its journals' names, not the name of the database itself.
            _sync_folder(self._path.parent)
        return connection

    def _make_folder(self) -> None:
        missing = []
        folder = self._path.parent
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
            if self._durable:
                _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
