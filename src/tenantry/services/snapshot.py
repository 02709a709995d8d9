"""Copies of what lies on the disk while a host may be using it: the tools of a backup.

A database is copied by SQLite, from one read transaction: as it was at one moment, with what is only in its log.
Nothing is done to the source: its log is not moved into it, even by the last connection that closes, since D1's past
would not learn of those commits. A file that never changes once it is written is copied once.

What is copied for the second time is left alone if it cannot have changed. A copy carries the time of its source for
that; where the source was written a moment ago, within the grain of a file system's clock, it carries none and is made
anew next time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

__all__ = ["Snapshot", "open_beside"]

_BUSY_MS: Final = 10_000
_CLOCK_GRAIN_NS: Final = 2_000_000_000
_NEW: Final = ".new"


def open_beside(path: Path) -> apsw.Connection:
    """A connection to a database that a host may have open: for reading, or for holding writers up for a moment."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.set_busy_timeout(_BUSY_MS)
    return connection


class Snapshot:
    """One run. `hold` is a folder beside the originals, on the same file system, for links to what may go meanwhile.

    Raises `apsw.Error` and `OSError`. What vanishes while it is looked at was deleted: it is left out.
    """

    def __init__(self, hold: Path) -> None:
        self._hold = hold
        self.databases_copied = 0
        self.databases_unchanged = 0
        self.files_copied = 0
        self.files_unchanged = 0
        self.bytes_copied = 0
        self.removed = 0

    def database(self, source: Path, target: Path) -> bool:
        """Copies a database unless its copy is of this very state. False if it is not there."""
        try:
            found = source.stat()
            if self.is_current(source, target):
                return True
            connection = open_beside(source)
        except (FileNotFoundError, apsw.CantOpenError):
            if source.exists():
                raise
            return False
        try:
            connection.pragma("query_only", True)
            self.database_from(connection, target, found)
        finally:
            connection.close()
        return True

    def is_current(self, source: Path, target: Path) -> bool:
        """Whether there is a copy of this very state of a database. Counts it as unchanged."""
        current = not _log_bytes(source) and _is_copy(source.stat(), target)
        self.databases_unchanged += current
        return current

    def database_from(self, connection: apsw.Connection, target: Path, found: os.stat_result) -> None:
        """The same through a connection of the caller's, of the transaction that it is in; `found` is from before."""
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = target.with_name(target.name + _NEW)
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        copy = apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            # A copy that is not finished is thrown away, so its own journal would protect nothing.
            copy.pragma("journal_mode", "off")
            copy.pragma("synchronous", "off")
            with copy.backup("main", connection, "main") as backup:
                backup.step(-1)
        finally:
            copy.close()
        _finish(new, target, found)
        self.databases_copied += 1
        self.bytes_copied += target.stat().st_size

    def file(self, source: Path, target: Path) -> bool:
        """Copies a file that does not change, unless it was copied before. False if it is not there."""
        try:
            size = source.stat().st_size
            with suppress(FileNotFoundError):
                if target.stat().st_size == size:
                    self.files_unchanged += 1
                    return True
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            new = target.with_name(target.name + _NEW)
            shutil.copyfile(source, new)
        except FileNotFoundError:
            if source.exists():
                raise
            return False
        new.chmod(0o600)
        _finish(new, target, None)
        self.files_copied += 1
        self.bytes_copied += size
        return True

    @contextmanager
    def held(self) -> Iterator[Callable[[Path], Path]]:
        """Gives a function that links a file, so that it is there until the block ends, whatever its owner does."""
        folder = Path(tempfile.mkdtemp(dir=self._hold))

        def hold(path: Path) -> Path:
            link = folder / path.name
            os.link(path, link)
            return link

        try:
            yield hold
        finally:
            shutil.rmtree(folder)

    def keep_only(self, folder: Path, names: Iterable[str]) -> None:
        """Removes from a folder of copies what is not among `names`: it was deleted since the run before."""
        keep = set(names)
        with suppress(FileNotFoundError):
            for entry in list(os.scandir(folder)):
                if entry.name not in keep:
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
                    self.removed += 1


def _log_bytes(database: Path) -> int:
    try:
        return database.with_name(f"{database.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


def _is_copy(found: os.stat_result, target: Path) -> bool:
    try:
        copy = target.stat()
    except FileNotFoundError:
        return False
    return (copy.st_mtime_ns, copy.st_size) == (found.st_mtime_ns, found.st_size)


def _finish(new: Path, target: Path, found: os.stat_result | None) -> None:
    """Gives a whole copy its name, durably but for the name itself, which the run's end sees to."""
    descriptor = os.open(new, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if found is not None:
        certain = time.time_ns() - found.st_mtime_ns > _CLOCK_GRAIN_NS
        os.utime(new, ns=(0, found.st_mtime_ns if certain else 0))
    new.rename(target)
