"""The tables of a bucket's index, and how the file is opened."""

from __future__ import annotations

import os
import secrets
from functools import cache
from pathlib import Path
from typing import Final

import apsw

from tenantry.errors import ConfigError
from tenantry.services.r2.engines.files.folder import sync_file

__all__ = ["connect", "create_database", "open_database"]

_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE objects (
    key         BLOB NOT NULL PRIMARY KEY,  -- UTF-8: SQLite's order of BLOBs is the order that R2 lists in
    version     TEXT NOT NULL,
    size        INTEGER NOT NULL,
    etag        TEXT NOT NULL,
    uploaded_ms INTEGER NOT NULL,
    metadata    BLOB NOT NULL,              -- msgpack of ObjectMetadata
    file        TEXT,                       -- the body, when it is one file
    body        INTEGER                     -- the body in bodies, when it is small or in segments; neither: empty
) STRICT, WITHOUT ROWID;
CREATE TABLE bodies (
    id       INTEGER PRIMARY KEY,
    data     BLOB,
    segments BLOB                           -- msgpack of [[file, size], ...]
) STRICT;
CREATE TABLE uploads (
    id         TEXT NOT NULL PRIMARY KEY,
    key        BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    metadata   BLOB NOT NULL,
    state      INTEGER NOT NULL             -- UploadState
) STRICT, WITHOUT ROWID;
CREATE INDEX open_uploads ON uploads (key, id) WHERE state = 0;
CREATE INDEX ended_uploads ON uploads (created_ms) WHERE state > 0;
CREATE TABLE parts (
    upload      TEXT NOT NULL,
    number      INTEGER NOT NULL,
    etag        TEXT NOT NULL,
    md5         BLOB NOT NULL,
    size        INTEGER NOT NULL,           -- before sealing
    uploaded_ms INTEGER NOT NULL,
    checksum    BLOB NOT NULL,              -- by the upload's algorithm; empty if it has none
    file        TEXT NOT NULL,
    file_bytes  INTEGER NOT NULL,
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE files (                        -- every body file there should be, and those still to be unlinked
    name      TEXT NOT NULL PRIMARY KEY,
    condemned INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX condemned_files ON files (name) WHERE condemned;
CREATE TABLE bucket (                       -- one row: what is true of the bucket as a whole
    cursor_secret BLOB NOT NULL,
    settings      BLOB,                     -- msgpack of BucketSettings; NULL: nothing was ever set
    objects       INTEGER NOT NULL DEFAULT 0,  -- these four are counted in the commit that changes them
    object_bytes  INTEGER NOT NULL DEFAULT 0,
    uploads       INTEGER NOT NULL DEFAULT 0,
    upload_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
"""
_SECRET_BYTES: Final = 16
_SECRET_PLACE: Final = bytes(range(0xF0, 0x100))
"""Where the image of an empty index waits for its secret; found nowhere else in it."""

_PAGE_CACHE_KIB: Final = 1024
"""A connection. Two a bucket and 256 buckets: at most 512 MiB, and only where that much was touched."""
_WAL_PAGES_MAX: Final = 2000
_BUSY_MS: Final = 5000


def connect(path: Path, flags: int) -> apsw.Connection:
    """A connection with our bounds."""
    db = apsw.Connection(str(path), flags=flags)
    db.set_busy_timeout(_BUSY_MS)
    db.pragma("cache_size", -_PAGE_CACHE_KIB)
    return db


def create_database(path: Path, durable: bool) -> None:
    """Makes an empty index, whole or not at all. The caller syncs the folder.

    SQLite would take a dozen syncs to make the file, switch it to WAL and create the tables; one image of the result,
    made once a process, takes one. A customer's first upload waits for this.
    """
    draft = path.with_name(path.name + ".new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, _empty_image().replace(_SECRET_PLACE, secrets.token_bytes(_SECRET_BYTES)))
        if durable:
            sync_file(fd)
    finally:
        os.close(fd)
    draft.rename(path)


@cache
def _empty_image() -> bytes:
    db = apsw.Connection(":memory:")
    try:
        db.pragma("auto_vacuum", 2)  # incremental: pages of what was deleted can be given back to the disk
        db.execute(_SCHEMA)
        db.execute("INSERT INTO bucket (cursor_secret) VALUES (?)", (_SECRET_PLACE,))
        db.pragma("user_version", _SCHEMA_VERSION)
        image = bytearray(db.serialize("main"))
    finally:
        db.close()
    # sqlite.org/fileformat2.html, section 1.3.3: write and read version 2 is WAL.
    image[18:20] = b"\2\2"
    assert image.count(_SECRET_PLACE) == 1
    return bytes(image)


def open_database(path: Path, durable: bool) -> apsw.Connection:
    """Opens an index. Raises ConfigError for one that a newer tenantry wrote."""
    db = connect(path, apsw.SQLITE_OPEN_READWRITE)
    try:
        # In WAL mode FULL syncs each commit, NORMAL each checkpoint: an index is never torn, only older.
        db.pragma("synchronous", "full" if durable else "normal")
        db.wal_autocheckpoint(_WAL_PAGES_MAX)
        version = db.pragma("user_version")
        if version != _SCHEMA_VERSION:
            raise ConfigError(f"an R2 index has schema {version}; this version of tenantry reads {_SCHEMA_VERSION}")
    except BaseException:
        db.close()
        raise
    return db
