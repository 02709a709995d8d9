"""A SQLite file for each database, and its past in a folder beside it.

<id>.sqlite      to copy a database is to copy this (and its -wal, while it is open)
<id>.history/    what Time Travel needs; without it the database begins a new past
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import apsw

from tenantry.services.d1 import limits
from tenantry.services.d1.engine import Session
from tenantry.services.d1.engines._dump import dump
from tenantry.services.d1.engines._folders import make_folder, sync_folder
from tenantry.services.d1.engines._history import History
from tenantry.services.d1.engines._keeper import Keeper
from tenantry.services.d1.engines._session import SqliteSession
from tenantry.services.d1.model import DumpOptions

__all__ = ["FileEngine"]

_SUFFIXES = ("", "-wal", "-shm", "-journal")


class FileEngine:
    """`folder` is made with the first write. With `durable`, a commit waits for the disk (`synchronous=FULL`); without,
    it survives the end of the process but not of the machine, and the file stays sound either way.

    `wall_clock` gives nanoseconds since 1970: the times of commits.
    """

    keeps_past = True

    def __init__(
        self,
        folder: Path,
        durable: bool = True,
        clock: Callable[[], float] = time.monotonic,
        database_bytes_max: int = limits.DATABASE_BYTES_MAX,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder = folder
        self._durable = durable
        self._clock = clock
        self._database_bytes_max = database_bytes_max
        self._wall_clock = wall_clock
        self._keeper = Keeper(durable, wall_clock)
        self._sessions: WeakValueDictionary[str, SqliteSession] = WeakValueDictionary()

    def open(self, resource_id: str) -> Session:
        path, past = self._path(resource_id), self._past_folder(resource_id)
        store = _File(path, past, self._durable, self._wall_clock, self._keeper)
        session = SqliteSession(store, self._clock, self._database_bytes_max)
        self._sessions[resource_id] = session
        return session

    def usage(self, resource_id: str) -> int:
        session = self._sessions.get(resource_id)
        if session is not None and session.size_bytes is not None:
            return session.size_bytes
        path = self._path(resource_id)
        try:
            size_bytes = path.stat().st_size
            log_bytes = path.with_name(f"{path.name}-wal").stat().st_size
        except FileNotFoundError:
            log_bytes = 0
            with suppress(FileNotFoundError):
                return path.stat().st_size
            return 0
        if not log_bytes:
            return size_bytes
        connection = _open(path)
        try:
            return int(connection.pragma("page_count")) * int(connection.pragma("page_size"))
        finally:
            connection.close(True)

    def resource_ids(self) -> Sequence[str]:
        return [file.stem for file in self._folder.glob("*.sqlite")]

    def dump(self, resource_id: str, target: BinaryIO, options: DumpOptions, stop: Callable[[], bool]) -> None:
        path = self._path(resource_id)
        connection = _open(path) if path.exists() else apsw.Connection(":memory:")
        try:
            dump(connection, target, options, stop)
        finally:
            connection.close(True)

    def delete(self, resource_id: str) -> None:
        path = self._path(resource_id)
        for suffix in _SUFFIXES:
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        self._keeper.leave(self._past_folder(resource_id))
        with suppress(FileNotFoundError):
            shutil.rmtree(self._past_folder(resource_id))
        if self._durable and self._folder.exists():
            sync_folder(self._folder)

    def close(self) -> None:
        self._keeper.close()

    def _path(self, resource_id: str) -> Path:
        return self._folder / f"{resource_id}.sqlite"

    def _past_folder(self, resource_id: str) -> Path:
        return self._folder / f"{resource_id}.history"


class _File:
    def __init__(
        self, path: Path, past_folder: Path, durable: bool, wall_clock: Callable[[], int], keeper: Keeper
    ) -> None:
        self.name = str(path)
        self._path = path
        self._past_folder = past_folder
        self._durable = durable
        self._keeper = keeper
        self.past = History(path, past_folder, durable, wall_clock)

    def exists(self) -> bool:
        return self._path.exists()

    def disk_is_full(self) -> bool:
        disk = os.statvfs(self._path.parent)
        return disk.f_bavail * disk.f_frsize < limits.DISK_FREE_BYTES_MIN

    def connect(self) -> apsw.Connection:
        new = not self.exists()
        if new:
            make_folder(self._path.parent, durable=self._durable)
        connection = apsw.Connection(
            str(self._path),
            flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_NOFOLLOW,
            statementcachesize=limits.STATEMENT_CACHE_COUNT,
        )
        try:
            connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
            connection.pragma("journal_mode", "wal")
            connection.pragma("synchronous", "full" if self._durable else "normal")
            self.past.follow(connection, new=new)
        except BaseException:
            connection.close(True)
            raise
        if new and self._durable:
            # SQLite syncs its journals' names, not the name of the database itself.
            sync_folder(self._path.parent)
        return connection

    def idle(self) -> None:
        self._keeper.look(self._past_folder)


def _open(path: Path) -> apsw.Connection:
    """A connection beside the session's, that only reads. It must not move the log: the past has not seen it yet."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(limits.BUSY_MILLISECONDS)
    connection.pragma("query_only", True)
    return connection
