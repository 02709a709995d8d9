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
from tenantry.services.r2.model import (
    ObjectMetadata,
    ObjectRecord,
    PartRecord,
    UploadRecord,
    UploadState,
    key_bytes,
)

__all__ = ["IndexReader", "IndexWriter", "Placement", "Segment"]

_EXPIRED_UPLOADS_PER_CREATE: Final = 4

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
_decode_segments: Final = msgspec.msgpack.Decoder(tuple[Segment, ...]).decode

_SELECT_RECORD: Final = "SELECT version, size, etag, uploaded_ms, metadata FROM objects WHERE key = ?"
_SELECT_WITH_BODY: Final = (
    "SELECT version, size, etag, uploaded_ms, metadata, file, data, segments "
    "FROM objects LEFT JOIN bodies ON bodies.id = objects.body WHERE key = ?"
)
_SCAN: Final = "SELECT key, version, size, etag, uploaded_ms, metadata FROM objects WHERE key >= ? ORDER BY key"
_SELECT_PLACE: Final = "SELECT file, body FROM objects WHERE key = ?"
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
_SELECT_EXPIRED: Final = "SELECT id FROM uploads WHERE created_ms < ? ORDER BY created_ms LIMIT ?"
_DELETE_UPLOAD: Final = "DELETE FROM uploads WHERE id = ?"
_SELECT_PARTS: Final = "SELECT number, etag, md5, size, checksum, file FROM parts WHERE upload = ?"
_SELECT_PART_FILE: Final = "SELECT file FROM parts WHERE upload = ? AND number = ?"
_UPSERT_PART: Final = "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?)"
_DELETE_PARTS: Final = "DELETE FROM parts WHERE upload = ?"

Row = tuple[Any, ...]  # what SQLite returns; the columns of a STRICT table have the types that the schema says


def _rows(db: apsw.Connection, sql: str, parameters: tuple[object, ...] = ()) -> list[Row]:
    """All rows, so that the statement is finished and holds no snapshot."""
    cursor: Any = db.execute(sql, parameters)  # apsw's own type is a union of all column types, for every column
    rows: list[Row] = cursor.fetchall()
    return rows


def _record(key: str, row: Row) -> ObjectRecord:
    return ObjectRecord(key, row[0], row[1], row[2], row[3], _decode_metadata(row[4]))


def _part(row: Row) -> PartRecord:
    return PartRecord(row[0], row[1], bytes(row[2]), row[3], bytes(row[4]))


def _find_upload(db: apsw.Connection, upload_id: str) -> UploadRecord | None:
    rows = _rows(db, _SELECT_UPLOAD, (upload_id,))
    if not rows:
        return None
    key, created_ms, metadata, state = rows[0]
    return UploadRecord(upload_id, bytes(key).decode(), created_ms, _decode_metadata(metadata), UploadState(state))


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

    def close(self) -> None:
        self._db.close()


class IndexWriter:
    """Changes, made inside `commit`. `released` is the files that the running group has condemned so far."""

    def __init__(self, path: Path, durable: bool) -> None:
        self._db = open_database(path, durable)
        self._released: list[str] = []

    def commit(
        self, changes: Sequence[Callable[[IndexWriter], object]], forgotten: Sequence[str]
    ) -> tuple[list[object], list[str]]:
        """Makes all changes in one transaction: what each returned or raised, and the files to be unlinked now.

        A change that raises is undone alone. `forgotten` are condemned files that are unlinked by now.
        """
        db = self._db
        self._released = []
        outcomes: list[object] = []
        db.execute("BEGIN IMMEDIATE")
        try:
            if forgotten:
                db.executemany(_FORGET_FILE, [(name,) for name in forgotten])
            for change in changes:
                released = len(self._released)
                db.execute("SAVEPOINT change")
                try:
                    outcomes.append(change(self))
                except Exception as error:  # the outcome of that change, raised where it was asked for
                    if not db.in_transaction:  # a full disk ends the transaction, and with it the whole group
                        raise
                    db.execute("ROLLBACK TO change")
                    del self._released[released:]
                    outcomes.append(error)
                db.execute("RELEASE change")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return outcomes, self._released

    def put(self, request: PutRequest, size: int, placement: Placement) -> ObjectRecord | None:
        if request.conditions is not UNCONDITIONAL:
            rows = _rows(self._db, _SELECT_RECORD, (key_bytes(request.key),))
            if not request.conditions.holds(_record(request.key, rows[0]) if rows else None):
                return None
        if placement.file is not None:
            self._db.execute(_INSERT_FILE, (placement.file,))
        record = ObjectRecord(request.key, request.version, size, request.etag, request.uploaded_ms, request.metadata)
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
        self._db.execute(
            _UPSERT_OBJECT,
            (key, record.version, record.size, record.etag, record.uploaded_ms, metadata, placement.file, body),
        )

    def _drop_body(self, key: bytes) -> bool:
        """Condemns what the object's body lies in. Whether there is such an object."""
        rows = _rows(self._db, _SELECT_PLACE, (key,))
        if not rows:
            return False
        file, body = rows[0]
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

    def create_upload(self, upload: UploadRecord, expired_before_ms: int) -> None:
        # A few more than are made, so that the expired ones always go down.
        for (expired,) in _rows(self._db, _SELECT_EXPIRED, (expired_before_ms, _EXPIRED_UPLOADS_PER_CREATE)):
            self._drop_parts(expired, keep=())
            self._db.execute(_DELETE_UPLOAD, (expired,))
        self._db.execute(
            _INSERT_UPLOAD,
            (upload.upload_id, key_bytes(upload.key), upload.created_ms, _encode(upload.metadata), int(upload.state)),
        )

    def _drop_parts(self, upload_id: str, keep: Sequence[str]) -> None:
        kept = frozenset(keep)
        for row in _rows(self._db, _SELECT_PARTS, (upload_id,)):
            if row[5] not in kept:
                self._condemn(row[5])
        self._db.execute(_DELETE_PARTS, (upload_id,))

    def _open_upload(self, upload_id: str) -> UploadRecord | None:
        upload = _find_upload(self._db, upload_id)
        return upload if upload is not None and upload.state is UploadState.OPEN else None

    def put_part(self, upload_id: str, part: PartRecord, file: str) -> bool:
        if self._open_upload(upload_id) is None:
            return False
        for (replaced,) in _rows(self._db, _SELECT_PART_FILE, (upload_id, part.number)):
            self._condemn(replaced)
        self._db.execute(_INSERT_FILE, (file,))
        self._db.execute(_UPSERT_PART, (upload_id, part.number, part.etag, part.md5, part.size, part.checksum, file))
        return True

    def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        upload = self._open_upload(upload_id)
        if upload is None:
            return None
        rows = _rows(self._db, _SELECT_PARTS, (upload_id,))
        whole = assemble({row[0]: _part(row) for row in rows})
        files = {row[0]: row[5] for row in rows}
        segments = tuple((files[part.number], part.size) for part in whole.parts)
        self._drop_parts(upload_id, keep=[name for name, _ in segments])
        record = ObjectRecord(
            upload.key,
            whole.version,
            sum(size for _, size in segments),
            whole.etag,
            whole.uploaded_ms,
            whole.metadata,
        )
        # One part is one file, and then the kernel can send it.
        self._store(record, Placement(file=segments[0][0]) if len(segments) == 1 else Placement(segments=segments))
        self._db.execute(_END_UPLOAD, (int(UploadState.COMPLETED), upload_id))
        return record

    def abort_upload(self, upload_id: str) -> None:
        if self._open_upload(upload_id) is not None:
            self._drop_parts(upload_id, keep=())
            self._db.execute(_END_UPLOAD, (int(UploadState.ABORTED), upload_id))

    def knows_file(self, name: str) -> bool:
        """Whether the file is of an acknowledged body."""
        return _rows(self._db, _SELECT_FILE, (name,)) == [(0,)]

    def condemned_files(self) -> list[str]:
        return [name for (name,) in _rows(self._db, _SELECT_CONDEMNED)]

    def close(self) -> None:
        self._db.close()
