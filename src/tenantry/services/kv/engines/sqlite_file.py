"""One namespace as one SQLite file: its tables, its statements, its connections. Everything here blocks.

    entries   key → small value, or the number of a blob; metadata, expiration
    chunks    blob × position → up to CHUNK_BYTES of a big value, never changed once written
    garbage   blobs that no entry names: being uploaded, replaced, deleted or expired
    usage     one row: the number of entries and their bytes, kept by triggers, so that no path can forget it

A big value is a blob. It is written chunk by chunk, in as many transactions as it takes, while `garbage` names it; the
transaction that makes an entry point to it takes it out of there. Replacing or removing an entry puts the blob back
(two triggers see to it, so no path can forget). Hence: a blob is in `garbage` if and only if no entry names it, a
reader in the middle of a blob is never disturbed because blobs do not change, and after a crash what is to be cleared
is written down. Who is reading what is known only in memory; the caller of `commit` says which garbage may go.

Three connections: a writer, a reader for the event loop, and a reader for threads. All in WAL mode: readers and the
writer never wait for each other.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString, cast

import apsw

from tenantry.services.kv.errors import NamespaceGone, StorageError
from tenantry.services.kv.limits import (
    CHUNK_BYTES,
    FREE_PAGES_MIN,
    SHRINK_PAGES_MAX,
    SWEEP_BLOBS_MAX,
    SWEEP_ENTRIES_MAX,
    VALUE_BYTES_MAX,
)

__all__ = ["Committed", "KeyRow", "NamespaceFile", "Statement", "Write"]

# What SQLite takes and gives: None, int, float, str, bytes.
Statement = tuple[LiteralString, tuple[Any, ...]]

_SCHEMA_VERSION = 2

# WITHOUT ROWID: one descent of the tree finds key and value. Columns that listings need come before the value, which
# then lies on overflow pages that a listing does not touch.
_SCHEMA: tuple[LiteralString, ...] = (
    """
    CREATE TABLE entries (
        key BLOB PRIMARY KEY,
        expiration INTEGER,
        metadata BLOB,
        blob INTEGER,
        size INTEGER NOT NULL,
        value BLOB,
        CHECK ((blob IS NULL) <> (value IS NULL))
    ) WITHOUT ROWID, STRICT
    """,
    "CREATE INDEX entries_expiration ON entries (expiration) WHERE expiration IS NOT NULL",
    # `place` is blob * BLOB_CHUNKS + position, so that a blob is a range of rows.
    "CREATE TABLE chunks (place INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT",
    "CREATE TABLE garbage (blob INTEGER PRIMARY KEY) STRICT",
    "CREATE TABLE secret (secret BLOB NOT NULL) STRICT",
    """
    CREATE TRIGGER entry_replaced AFTER UPDATE ON entries WHEN OLD.blob IS NOT NULL
    BEGIN INSERT INTO garbage (blob) VALUES (OLD.blob); END
    """,
    """
    CREATE TRIGGER entry_deleted AFTER DELETE ON entries WHEN OLD.blob IS NOT NULL
    BEGIN INSERT INTO garbage (blob) VALUES (OLD.blob); END
    """,
    "CREATE TABLE usage (keys INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT",
    "INSERT INTO usage (keys, bytes) VALUES (0, 0)",
    """
    CREATE TRIGGER usage_added AFTER INSERT ON entries BEGIN
        UPDATE usage SET keys = keys + 1,
            bytes = bytes + length(NEW.key) + NEW.size + ifnull(length(NEW.metadata), 0);
    END
    """,
    """
    CREATE TRIGGER usage_replaced AFTER UPDATE ON entries BEGIN
        UPDATE usage SET bytes = bytes + NEW.size - OLD.size
            + ifnull(length(NEW.metadata), 0) - ifnull(length(OLD.metadata), 0);
    END
    """,
    """
    CREATE TRIGGER usage_removed AFTER DELETE ON entries BEGIN
        UPDATE usage SET keys = keys - 1,
            bytes = bytes - length(OLD.key) - OLD.size - ifnull(length(OLD.metadata), 0);
    END
    """,
)

# The stride between blobs in `chunks.place`.
_BLOB_CHUNKS = 1024
assert _BLOB_CHUNKS * CHUNK_BYTES > VALUE_BYTES_MAX

_GET: LiteralString = "SELECT expiration, metadata, blob, size, value FROM entries WHERE key = ?"
# Both ends of the range are given, so that SQLite seeks to the one and stops at the other.
_LIST: LiteralString = """
    SELECT key, expiration, metadata FROM entries
    WHERE key >= ? AND key < ? AND (expiration IS NULL OR expiration >= ?) ORDER BY key LIMIT ?
"""
# The same without looking at expirations: `LIMIT` then bounds the rows that are touched, not only those returned.
_LIST_ROWS: LiteralString = """
    SELECT key, expiration, metadata FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?
"""
_CHUNK: LiteralString = "SELECT data FROM chunks WHERE place = ?"
_PUT: LiteralString = """
    INSERT INTO entries (key, expiration, metadata, blob, size, value) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET expiration = excluded.expiration, metadata = excluded.metadata,
        blob = excluded.blob, size = excluded.size, value = excluded.value
"""
_DELETE: LiteralString = "DELETE FROM entries WHERE key = ?"
_PUT_CHUNK: LiteralString = "INSERT INTO chunks (place, data) VALUES (?, ?)"
_DELETE_CHUNKS: LiteralString = "DELETE FROM chunks WHERE place BETWEEN ? AND ?"
_PUT_GARBAGE: LiteralString = "INSERT INTO garbage (blob) VALUES (?)"
_DELETE_GARBAGE: LiteralString = "DELETE FROM garbage WHERE blob = ?"
_LIST_GARBAGE: LiteralString = "SELECT blob FROM garbage LIMIT 256"
# Listings still show an entry in the second in which it expires.
_SWEEP: LiteralString = """
    DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE expiration < ? ORDER BY expiration LIMIT ?)
"""
_USAGE: LiteralString = "SELECT keys, bytes FROM usage"
_DUE: LiteralString = "SELECT min(expiration) FROM entries WHERE expiration IS NOT NULL"
_SHRINK: LiteralString = f"PRAGMA incremental_vacuum({SHRINK_PAGES_MAX})"
_BLOB_LAST: LiteralString = """
    SELECT max(ifnull((SELECT max(place) FROM chunks), 0) / ?, ifnull((SELECT max(blob) FROM garbage), 0))
"""

_LOG_SUFFIXES = ("-wal", "-shm")
_NEW_SUFFIX = ".new"

# An empty file that says that the namespace was deleted. Workers may be bound to it still, after a restart too, and
# must not bring it back to life.
_GONE_SUFFIX = ".deleted"

# A write without its value: the key, the metadata and what Python needs for them.
_WRITE_BYTES = 1024

Row = tuple[int | None, bytes | None, int | None, int, bytes | None]
KeyRow = tuple[bytes, int | None, bytes | None]


@dataclass(frozen=True, slots=True)
class Write:
    """Statements that happen together. `size_bytes` is about what they hold in memory while they wait."""

    statements: tuple[Statement, ...]
    size_bytes: int

    @staticmethod
    def put(key: bytes, value: bytes, expiration: int | None, metadata: bytes | None) -> Write:
        statement = (_PUT, (key, expiration, metadata, None, len(value), value))
        return Write((statement,), _WRITE_BYTES + len(value))

    @staticmethod
    def put_blob(key: bytes, blob: int, size: int, expiration: int | None, metadata: bytes | None) -> Write:
        return Write(((_PUT, (key, expiration, metadata, blob, size, None)), (_DELETE_GARBAGE, (blob,))), _WRITE_BYTES)

    @staticmethod
    def put_chunk(blob: int, position: int, data: bytes) -> Write:
        chunk = (_PUT_CHUNK, (blob * _BLOB_CHUNKS + position, data))
        return Write(((_PUT_GARBAGE, (blob,)), chunk) if position == 0 else (chunk,), len(data))

    @staticmethod
    def delete(key: bytes) -> Write:
        return Write(((_DELETE, (key,)),), _WRITE_BYTES)


@dataclass(frozen=True, slots=True)
class Committed:
    """What is left to clear away: blobs in `garbage`; `more` says that a commit without writes would do more of it.

    `due` is the second after which there is an expired entry to clear away, None if no entry expires.
    """

    garbage: tuple[int, ...]
    more: bool
    due: int | None = None


def _range(prefix: bytes, after: bytes | None) -> tuple[bytes, bytes]:
    """The keys that begin with `prefix`, above `after`: from the first, up to and without the second.

    Keys are UTF-8, in which no byte is 255. The least key above another is that one with a zero byte behind it.
    """
    end = prefix[:-1] + bytes((prefix[-1] + 1,)) if prefix else b"\xff"
    return (prefix if after is None else max(prefix, after + b"\x00")), end


def _shrinkable(writer: apsw.Connection) -> bool:
    """Whether the file is large and mostly empty."""
    free = cast("int", writer.pragma("freelist_count"))
    return free >= FREE_PAGES_MIN and free * 2 >= cast("int", writer.pragma("page_count"))


def _empty_namespace() -> bytes:
    """The bytes of a file with the tables and nothing in them. Made in memory: SQLite would sync eight times."""
    connection = apsw.Connection(":memory:")
    try:
        # Must come before the first table. Gives pages back in steps, where VACUUM would copy the file.
        connection.pragma("auto_vacuum", "INCREMENTAL")
        with connection:
            for sql in _SCHEMA:
                connection.execute(sql)
            connection.execute("INSERT INTO secret (secret) VALUES (?)", (secrets.token_bytes(32),))
            connection.pragma("user_version", _SCHEMA_VERSION)
        image = bytearray(connection.serialize("main"))
    finally:
        connection.close()
    # The read and write versions of the file format: 2 is WAL (sqlite.org/fileformat2.html, section 1.3.3). A database
    # in memory cannot be switched.
    image[18] = image[19] = 2
    return bytes(image)


class NamespaceFile:
    """`read*` is for the event loop alone; everything else may be called from any thread.

    apsw.Error and OSError leave here as they are: the engine wraps them at its edge.
    """

    def __init__(self, path: Path, *, sync_full: bool) -> None:
        self._path = path
        self._sync_full = sync_full
        self._writer: apsw.Connection | None = None
        self._reader: apsw.Connection | None = None
        self._thread_reader: apsw.Connection | None = None
        self._read_cursor: apsw.Cursor | None = None
        self._closed = False
        # Callers queue before they take a thread. The locks are for what outlives a cancelled caller.
        self._write_lock = threading.Lock()
        self._thread_lock = threading.Lock()
        self.secret = b""
        # `Committed.due` as it was when the file was opened; -1: an upload broke off, and its bytes are still here.
        self.due: int | None = None

    @property
    def path(self) -> Path:
        return self._path

    @property
    def present(self) -> bool:
        """False until the first write: there is no file, and every read is empty."""
        return self._read_cursor is not None

    def open(self) -> None:
        """Connects the loop's reader, if there is a file. The writer can wait: most opens only read.

        Raises NamespaceGone where the namespace was deleted.
        """
        if Path(f"{self._path}{_GONE_SUFFIX}").exists():
            raise NamespaceGone
        # An empty file is what a power cut may leave of a first write without `sync_full`.
        if not self._path.exists() or self._path.stat().st_size == 0:
            return
        reader = self._connect_reader()
        try:
            if reader.pragma("user_version") != _SCHEMA_VERSION:
                raise StorageError("A KV namespace was written by another version of tenantry.")
            self.secret = cast("bytes", reader.execute("SELECT secret FROM secret").fetchall()[0][0])
            if reader.execute("SELECT 1 FROM garbage LIMIT 1").fetchall():
                self.due = -1
            else:
                self.due = cast("int | None", reader.execute(_DUE).fetchall()[0][0])
        except BaseException:
            reader.close()
            raise
        # A reader meets a lock only while another process recovers the file; the loop does not wait for that.
        reader.set_busy_timeout(0)
        self._reader = reader
        self._read_cursor = reader.cursor()

    def _create(self) -> apsw.Connection:
        """Makes sure that the file, its tables and the connections are there."""
        if self._closed:
            raise StorageError("The KV namespace is closed.")
        if self._read_cursor is None:
            self._make_file()
            self.open()
        if self._writer is None:
            self._writer = self._connect_writer()
        return self._writer

    def next_blob(self) -> int:
        """A number that no blob has, also none of those to be cleared."""
        with self._write_lock:
            rows = self._create().execute(_BLOB_LAST, (_BLOB_CHUNKS,)).fetchall()
        return 1 + cast("int", rows[0][0])

    def commit(self, writes: Sequence[Write], sweep_blobs: Sequence[int], now: int) -> Committed:
        """One transaction, durable when this returns. Besides `writes` it clears a bounded amount away."""
        with self._write_lock:
            writer = self._create()
            cursor = writer.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                garbage, expired_left, due = self._apply(writer, cursor, writes, sweep_blobs, now)
                cursor.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors; then there is nothing to roll back.
                if writer.in_transaction:
                    with suppress(apsw.Error):
                        cursor.execute("ROLLBACK")
                raise
            # Only while nobody waits: it moves pages, and who overwrites big values needs the free ones again.
            shrunk = not writes and self._shrink(writer)
            more = expired_left or (_shrinkable(writer) and (shrunk or bool(writes)))
            return Committed(garbage, more=more, due=due)

    @staticmethod
    def _apply(
        writer: apsw.Connection, cursor: apsw.Cursor, writes: Sequence[Write], sweep_blobs: Sequence[int], now: int
    ) -> tuple[tuple[int, ...], bool, int | None]:
        """The garbage that is left, whether more entries have expired than were swept, and when the next one does."""
        for write in writes:
            for sql, values in write.statements:
                cursor.execute(sql, values)
        for blob in sweep_blobs[:SWEEP_BLOBS_MAX]:
            cursor.execute(_DELETE_CHUNKS, (blob * _BLOB_CHUNKS, (blob + 1) * _BLOB_CHUNKS - 1))
            cursor.execute(_DELETE_GARBAGE, (blob,))
        cursor.execute(_SWEEP, (now, SWEEP_ENTRIES_MAX))
        expired_left = writer.changes() == SWEEP_ENTRIES_MAX
        garbage = tuple(cast("int", blob) for (blob,) in cursor.execute(_LIST_GARBAGE))
        due = cast("int | None", cursor.execute(_DUE).fetchall()[0][0])
        return garbage, expired_left, due

    @staticmethod
    def _shrink(writer: apsw.Connection) -> bool:
        """Gives some free pages back to the file system. Says whether it could."""
        if not _shrinkable(writer):
            return False
        before = writer.pragma("freelist_count")
        writer.execute(_SHRINK).fetchall()
        return bool(writer.pragma("freelist_count") < before)

    def read(self, key: bytes) -> Row | None:
        """For the event loop: microseconds. Fetches to the end, so that no read transaction stays open."""
        if self._read_cursor is None:
            return None
        rows = self._read_cursor.execute(_GET, (key,)).fetchall()
        return cast("Row", rows[0]) if rows else None

    def read_usage(self) -> tuple[int, int]:
        """For the event loop: entries and their bytes."""
        if self._read_cursor is None:
            return 0, 0
        return cast("tuple[int, int]", self._read_cursor.execute(_USAGE).fetchall()[0])

    def read_keys(self, prefix: bytes, after: bytes | None, rows_max: int) -> list[KeyRow]:
        """For the event loop: at most `rows_max` rows, expired ones among them."""
        if self._read_cursor is None:
            return []
        values = (*_range(prefix, after), rows_max)
        return cast("list[KeyRow]", self._read_cursor.execute(_LIST_ROWS, values).fetchall())

    def thread_keys(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> list[KeyRow]:
        return cast("list[KeyRow]", self._thread_read(_LIST, (*_range(prefix, after), now, limit)))

    def thread_chunk(self, blob: int, position: int) -> bytes:
        rows = self._thread_read(_CHUNK, (blob * _BLOB_CHUNKS + position,))
        if not rows:
            raise StorageError("A stored value is incomplete.")
        return cast("bytes", rows[0][0])

    def close(self) -> None:
        """The last connection to close folds the log into the file and removes it."""
        with self._write_lock, self._thread_lock:
            self._closed = True
            for connection in (self._thread_reader, self._reader, self._writer):
                if connection is not None:
                    connection.close()
            self._thread_reader = self._reader = self._writer = self._read_cursor = None

    def unlink(self) -> None:
        """Removes the file, closed before, for ever. That it was deleted is on disk first: no way leads back."""
        self._make_folder()
        gone = Path(f"{self._path}{_GONE_SUFFIX}")
        if not gone.exists():
            gone.touch(mode=0o600)
            self._sync(self._path.parent)
        # The log goes first: one left alone could be replayed into a later file.
        if self._remove((*_LOG_SUFFIXES, _NEW_SUFFIX, "")):
            self._sync(self._path.parent)

    def _thread_read(self, sql: LiteralString, values: tuple[Any, ...]) -> list[Any]:
        with self._thread_lock:
            if self._closed:
                raise StorageError("The KV namespace is closed.")
            if self._thread_reader is None:
                self._thread_reader = self._connect_reader()
            return self._thread_reader.execute(sql, values).fetchall()

    def _make_file(self) -> None:
        """Puts an empty namespace in place by one rename: it is there whole, or not at all."""
        self._make_folder()
        self._remove(_LOG_SUFFIXES)
        new = self._path.with_name(f"{self._path.name}{_NEW_SUFFIX}")
        new.write_bytes(_empty_namespace())
        self._sync(new)
        new.rename(self._path)
        self._sync(self._path.parent)

    def _make_folder(self) -> None:
        for folder in [folder for folder in self._path.parents if not folder.exists()][::-1]:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._sync(folder.parent)

    def _remove(self, suffixes: Sequence[str]) -> bool:
        found = False
        for suffix in suffixes:
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}{suffix}")
                found = True
        return found

    def _sync(self, path: Path) -> None:
        """Makes a file's bytes, or a folder's names, survive a power cut, where that was asked for."""
        if self._sync_full:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _connect_writer(self) -> apsw.Connection:
        writer = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            writer.set_busy_timeout(5000)
            # FULL syncs the log at each commit. NORMAL only before the log is folded into the file: nothing torn, and
            # nothing lost while the kernel lives.
            writer.pragma("synchronous", "FULL" if self._sync_full else "NORMAL")
            writer.pragma("cache_size", -1024)
            writer.pragma("journal_size_limit", 4 * 1024 * 1024)
        except BaseException:
            writer.close()
            raise
        return writer

    def _connect_reader(self) -> apsw.Connection:
        reader = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
        reader.pragma("query_only", True)
        reader.set_busy_timeout(1000)
        reader.pragma("cache_size", -256)
        return reader
