"""The index of one bucket in SQLite: its schema, the side that commits and the side that reads.

There is one `IndexWriter` a bucket, used by one thread at a time, and one `IndexReader`, used on the event loop: a read
is a lookup or a short walk in a b-tree, which costs a few microseconds, and in WAL mode no commit ever holds it up.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from tenantry.services.r2.conditions import UNCONDITIONAL
from tenantry.services.r2.engine import Assembly, PutRequest
from tenantry.services.r2.engines.files.schema import connect, open_database
from tenantry.services.r2.limits import FREE_BYTES_MIN
from tenantry.services.r2.model import (
    ObjectMetadata,
    ObjectRecord,
    PartRecord,
    UploadQuery,
    UploadRecord,
    UploadState,
    Usage,
    key_bytes,
)
from tenantry.services.r2.settings import BucketSettings

__all__ = ["IndexReader", "IndexWriter", "Placement", "Segment"]

_FORGOTTEN_UPLOADS_PER_CREATE: Final = 4

Segment = tuple[str, int]
"""A body file and its size."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a body is: in the index (`data`), in one file, in several, or, being empty, nowhere."""

    data: bytes | None = None
    file: str | None = None
    segments: tuple[Segment, ...] | None = None


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_metadata: Final = msgspec.msgpack.Decoder(ObjectMetadata).decode
_decode_settings: Final = msgspec.msgpack.Decoder(BucketSettings).decode
_decode_segments: Final = msgspec.msgpack.Decoder(tuple[Segment, ...]).decode

_SELECT_RECORD: Final = "SELECT version, size, etag, uploaded_ms, metadata FROM objects WHERE key = ?"
_SELECT_WITH_BODY: Final = (
    "SELECT version, size, etag, uploaded_ms, metadata, file, data, segments "
    "FROM objects LEFT JOIN bodies ON bodies.id = objects.body WHERE key = ?"
)
_SCAN: Final = "SELECT key, version, size, etag, uploaded_ms, metadata FROM objects WHERE key >= ? ORDER BY key"
_SELECT_PLACE: Final = "SELECT file, body, size FROM objects WHERE key = ?"
_SELECT_VERSION: Final = "SELECT version, metadata FROM objects WHERE key = ?"
_UPDATE_METADATA: Final = "UPDATE objects SET metadata = ? WHERE key = ?"
_SELECT_SEGMENTS: Final = "SELECT segments FROM bodies WHERE id = ?"
_UPSERT_OBJECT: Final = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE_OBJECT: Final = "DELETE FROM objects WHERE key = ?"
_INSERT_BODY: Final = "INSERT INTO bodies (data, segments) VALUES (?, ?)"
_DELETE_BODY: Final = "DELETE FROM bodies WHERE id = ?"
_INSERT_FILE: Final = "INSERT INTO files (name) VALUES (?)"
_CONDEMN_FILE: Final = "UPDATE files SET condemned = 1 WHERE name = ?"
_FORGET_FILE: Final = "DELETE FROM files WHERE name = ? AND condemned"
_SELECT_FILE: Final = "SELECT condemned FROM files WHERE name = ?"
_SELECT_CONDEMNED: Final = "SELECT name FROM files WHERE condemned"
_SELECT_UPLOAD: Final = "SELECT key, created_ms, metadata, state FROM uploads WHERE id = ?"
_INSERT_UPLOAD: Final = "INSERT INTO uploads VALUES (?, ?, ?, ?, ?)"
_END_UPLOAD: Final = "UPDATE uploads SET state = ? WHERE id = ?"
_SELECT_FORGOTTEN: Final = "SELECT id FROM uploads WHERE state > 0 AND created_ms < ? ORDER BY created_ms LIMIT ?"
_SELECT_OPEN_UPLOADS: Final = (
    "SELECT key, created_ms, metadata, state, id FROM uploads "
    "WHERE state = 0 AND (key, id) > (?, ?) AND key >= ? ORDER BY key, id LIMIT ?"
)
_DELETE_UPLOAD: Final = "DELETE FROM uploads WHERE id = ?"
_SELECT_PARTS: Final = (
    "SELECT number, etag, md5, size, uploaded_ms, checksum, file, file_bytes FROM parts WHERE upload = ?"
)
_SELECT_SOME_PARTS: Final = (
    "SELECT number, etag, md5, size, uploaded_ms, checksum FROM parts WHERE upload = ? AND number > ? "
    "ORDER BY number LIMIT ?"
)
_SELECT_PART_FILE: Final = "SELECT file, size FROM parts WHERE upload = ? AND number = ?"
_UPSERT_PART: Final = "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DELETE_PARTS: Final = "DELETE FROM parts WHERE upload = ?"
_SELECT_CURSOR_KEY: Final = "SELECT cursor_secret FROM bucket"
_SELECT_SETTINGS: Final = "SELECT settings FROM bucket"
_UPDATE_SETTINGS: Final = "UPDATE bucket SET settings = ?"
_SELECT_USAGE: Final = "SELECT objects, object_bytes, uploads, upload_bytes FROM bucket"
_UPDATE_USAGE: Final = (
    "UPDATE bucket SET objects = objects + ?, object_bytes = object_bytes + ?, "
    "uploads = uploads + ?, upload_bytes = upload_bytes + ?"
)

Row = tuple[Any, ...]  # what SQLite returns; the columns of a STRICT table have the types that the schema says


def _rows(db: apsw.Connection, sql: str, parameters: tuple[object, ...] = ()) -> list[Row]:
    """All rows, so that the statement is finished and holds no snapshot."""
    cursor: Any = db.execute(sql, parameters)  # apsw's own type is a union of all column types, for every column
    rows: list[Row] = cursor.fetchall()
    return rows


def _record(key: str, row: Row) -> ObjectRecord:
    return ObjectRecord(key, row[0], row[1], row[2], row[3], _decode_metadata(row[4]))


def _find_upload(db: apsw.Connection, upload_id: str) -> UploadRecord | None:
    rows = _rows(db, _SELECT_UPLOAD, (upload_id,))
    return _upload(upload_id, rows[0]) if rows else None


def _upload(upload_id: str, row: Row) -> UploadRecord:
    key, created_ms, metadata, state = row[:4]
    return UploadRecord(upload_id, bytes(key).decode(), created_ms, _decode_metadata(metadata), UploadState(state))


def _part(row: Row) -> PartRecord:
    return PartRecord(row[0], row[1], bytes(row[2]), row[3], row[4], bytes(row[5]))


def _settings(db: apsw.Connection) -> BucketSettings:
    stored = _rows(db, _SELECT_SETTINGS)[0][0]
    return BucketSettings() if stored is None else _decode_settings(stored)


class IndexReader:
    """Lookups. Every statement is finished before its method returns, so no snapshot is held open."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, apsw.SQLITE_OPEN_READONLY)

    def head(self, key: str) -> ObjectRecord | None:
        rows = _rows(self._db, _SELECT_RECORD, (key_bytes(key),))
        return _record(key, rows[0]) if rows else None

    def get(self, key: str) -> tuple[ObjectRecord, Placement] | None:
        rows = _rows(self._db, _SELECT_WITH_BODY, (key_bytes(key),))
        if not rows:
            return None
        row = rows[0]
        file, data, segments = row[5:]
        placement = Placement(data, file, None if segments is None else _decode_segments(segments))
        return _record(key, row), placement

    def scan(self, position: bytes) -> Generator[tuple[bytes, ObjectRecord], None, None]:
        cursor = self._db.cursor()
        try:
            for key, *row in cursor.execute(_SCAN, (position,)):
                name = bytes(key)
                yield name, _record(name.decode(), tuple(row))
        finally:
            cursor.close()

    def find_upload(self, upload_id: str) -> UploadRecord | None:
        return _find_upload(self._db, upload_id)

    def list_uploads(self, query: UploadQuery) -> list[UploadRecord]:
        rows = _rows(self._db, _SELECT_OPEN_UPLOADS, (*query.after, query.prefix, query.limit))
        return [_upload(row[4], row) for row in rows if bytes(row[0]).startswith(query.prefix)]

    def list_parts(self, upload_id: str, after: int, limit: int) -> list[PartRecord]:
        upload = self.find_upload(upload_id)
        if upload is None or upload.state is not UploadState.OPEN:
            return []
        return [_part(row) for row in _rows(self._db, _SELECT_SOME_PARTS, (upload_id, after, limit))]

    def cursor_secret(self) -> bytes:
        return bytes(_rows(self._db, _SELECT_CURSOR_KEY)[0][0])

    def settings(self) -> BucketSettings:
        return _settings(self._db)

    def usage(self) -> Usage:
        return Usage(*_rows(self._db, _SELECT_USAGE)[0])

    def knows_file(self, name: str) -> bool:
        """Whether any record names the file, also one that waits to be unlinked."""
        return bool(_rows(self._db, _SELECT_FILE, (name,)))

    def close(self) -> None:
        self._db.close()


class IndexWriter:
    """Changes, made inside `commit`. `released` is the files that the running group has condemned so far, and `grown`
    by how much it has changed what the bucket holds: objects, their bytes, open uploads, their bytes."""

    def __init__(self, path: Path, durable: bool) -> None:
        self._db = open_database(path, durable)
        self._released: list[str] = []
        self._grown = [0, 0, 0, 0]

    def commit(
        self, changes: Sequence[Callable[[IndexWriter], object]], forgotten: Sequence[str]
    ) -> tuple[list[object], list[str]]:
        """Makes all changes in one transaction: what each returned or raised, and the files to be unlinked now.

        A change that raises is undone alone. `forgotten` are condemned files that are unlinked by now.
        """
        db = self._db
        self._released = []
        self._grown = [0, 0, 0, 0]
        outcomes: list[object] = []
        db.execute("BEGIN IMMEDIATE")
        try:
            if forgotten:
                db.executemany(_FORGET_FILE, [(name,) for name in forgotten])
            for change in changes:
                released, grown = len(self._released), list(self._grown)
                db.execute("SAVEPOINT change")
                try:
                    outcomes.append(change(self))
                except Exception as error:  # the outcome of that change, raised where it was asked for
                    if not db.in_transaction:  # a full disk ends the transaction, and with it the whole group
                        raise
                    db.execute("ROLLBACK TO change")
                    del self._released[released:]
                    self._grown = grown
                    outcomes.append(error)
                db.execute("RELEASE change")
            if any(self._grown):
                db.execute(_UPDATE_USAGE, tuple(self._grown))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return outcomes, self._released

    def _grow(self, objects: int = 0, object_bytes: int = 0, uploads: int = 0, upload_bytes: int = 0) -> None:
        for place, growth in enumerate((objects, object_bytes, uploads, upload_bytes)):
            self._grown[place] += growth

    def put(self, request: PutRequest, placement: Placement) -> ObjectRecord | None:
        if request.conditions is not UNCONDITIONAL:
            rows = _rows(self._db, _SELECT_RECORD, (key_bytes(request.key),))
            if not request.conditions.holds(_record(request.key, rows[0]) if rows else None):
                return None
        if placement.file is not None:
            self._db.execute(_INSERT_FILE, (placement.file,))
        record = ObjectRecord(
            request.key, request.version, request.size, request.etag, request.uploaded_ms, request.metadata
        )
        self._store(record, placement)
        return record

    def _store(self, record: ObjectRecord, placement: Placement) -> None:
        key = key_bytes(record.key)
        self._drop_body(key)
        body = None
        if placement.data or placement.segments is not None:
            segments = None if placement.segments is None else _encode(placement.segments)
            self._db.execute(_INSERT_BODY, (placement.data, segments))
            body = self._db.last_insert_rowid()
        metadata = _encode(record.metadata)
        self._grow(objects=1, object_bytes=record.size)
        self._db.execute(
            _UPSERT_OBJECT,
            (key, record.version, record.size, record.etag, record.uploaded_ms, metadata, placement.file, body),
        )

    def _drop_body(self, key: bytes) -> bool:
        """Condemns what the object's body lies in, and counts it out. Whether there is such an object."""
        rows = _rows(self._db, _SELECT_PLACE, (key,))
        if not rows:
            return False
        file, body, size = rows[0]
        self._grow(objects=-1, object_bytes=-size)
        if file is not None:
            self._condemn(file)
        elif body is not None:
            segments = _rows(self._db, _SELECT_SEGMENTS, (body,))[0][0]
            for name, _ in () if segments is None else _decode_segments(segments):
                self._condemn(name)
            self._db.execute(_DELETE_BODY, (body,))
        return True

    def _condemn(self, name: str) -> None:
        self._db.execute(_CONDEMN_FILE, (name,))
        self._released.append(name)

    def delete(self, keys: Sequence[str]) -> None:
        for key in map(key_bytes, keys):
            if self._drop_body(key):
                self._db.execute(_DELETE_OBJECT, (key,))

    def _metadata_of(self, key: str, version: str) -> ObjectMetadata | None:
        """The metadata of an object if it still has that version."""
        rows = _rows(self._db, _SELECT_VERSION, (key_bytes(key),))
        return _decode_metadata(rows[0][1]) if rows and rows[0][0] == version else None

    def delete_versions(self, versions: Sequence[tuple[str, str]]) -> int:
        victims = [key for key, version in versions if self._metadata_of(key, version) is not None]
        self.delete(victims)
        return len(victims)

    def change_storage_class(self, versions: Sequence[tuple[str, str]], storage_class: str) -> None:
        for key, version in versions:
            metadata = self._metadata_of(key, version)
            if metadata is not None:
                changed = msgspec.structs.replace(metadata, storage_class=storage_class)
                self._db.execute(_UPDATE_METADATA, (_encode(changed), key_bytes(key)))

    def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        settings = change(_settings(self._db))
        self._db.execute(_UPDATE_SETTINGS, (_encode(settings),))
        return settings

    def create_upload(self, upload: UploadRecord, forget_before_ms: int) -> None:
        # A few more than are made, so that the ended ones always go down.
        for (ended,) in _rows(self._db, _SELECT_FORGOTTEN, (forget_before_ms, _FORGOTTEN_UPLOADS_PER_CREATE)):
            self._db.execute(_DELETE_UPLOAD, (ended,))
        self._db.execute(
            _INSERT_UPLOAD,
            (upload.upload_id, key_bytes(upload.key), upload.created_ms, _encode(upload.metadata), int(upload.state)),
        )
        self._grow(uploads=1)

    def _end_upload(self, upload_id: str, state: UploadState, parts: Sequence[Row], keep: Sequence[str] = ()) -> None:
        """Drops the parts, and the files of those that are not kept."""
        kept = frozenset(keep)
        for row in parts:
            if row[6] not in kept:
                self._condemn(row[6])
        self._grow(uploads=-1, upload_bytes=-sum(row[3] for row in parts))
        self._db.execute(_DELETE_PARTS, (upload_id,))
        self._db.execute(_END_UPLOAD, (int(state), upload_id))

    def _open_upload(self, upload_id: str) -> UploadRecord | None:
        upload = _find_upload(self._db, upload_id)
        return upload if upload is not None and upload.state is UploadState.OPEN else None

    def put_part(self, upload_id: str, part: PartRecord, file: str, file_bytes: int) -> bool:
        if self._open_upload(upload_id) is None:
            return False
        for replaced, size in _rows(self._db, _SELECT_PART_FILE, (upload_id, part.number)):
            self._condemn(replaced)
            self._grow(upload_bytes=-size)
        self._db.execute(_INSERT_FILE, (file,))
        self._db.execute(
            _UPSERT_PART,
            (upload_id, part.number, part.etag, part.md5, part.size, part.uploaded_ms, part.checksum, file, file_bytes),
        )
        self._grow(upload_bytes=part.size)
        return True

    def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        upload = self._open_upload(upload_id)
        if upload is None:
            return None
        rows = _rows(self._db, _SELECT_PARTS, (upload_id,))
        whole = assemble({row[0]: _part(row) for row in rows})
        files = {row[0]: (row[6], row[7]) for row in rows}
        segments = tuple(files[part.number] for part in whole.parts)
        self._end_upload(upload_id, UploadState.COMPLETED, rows, keep=[name for name, _ in segments])
        size = sum(part.size for part in whole.parts)
        record = ObjectRecord(upload.key, whole.version, size, whole.etag, whole.uploaded_ms, whole.metadata)
        # One part is one file, and then the kernel can send it.
        self._store(record, Placement(file=segments[0][0]) if len(segments) == 1 else Placement(segments=segments))
        return record

    def abort_upload(self, upload_id: str) -> None:
        if self._open_upload(upload_id) is not None:
            self._end_upload(upload_id, UploadState.ABORTED, _rows(self._db, _SELECT_PARTS, (upload_id,)))

    def give_back_space(self) -> None:
        """Shortens the file by the pages that deleted records left, where that is worth the work."""
        page_bytes, pages, free = (self._db.pragma(name) for name in ("page_size", "page_count", "freelist_count"))
        if free * page_bytes > FREE_BYTES_MIN and 4 * free > pages:
            # To the end: each step of this statement frees one page.
            _rows(self._db, f"PRAGMA incremental_vacuum({int(free)})")

    def knows_file(self, name: str) -> bool:
        """Whether the file is of an acknowledged body."""
        return _rows(self._db, _SELECT_FILE, (name,)) == [(0,)]

    def condemned_files(self) -> list[str]:
        return [name for (name,) in _rows(self._db, _SELECT_CONDEMNED)]

    def close(self) -> None:
        self._db.close()
