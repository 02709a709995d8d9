"""A copy of an account's buckets while a host may be using them.

Bodies never change, so they are copied before the index that names them, and only those that are not copied yet. But
they are deleted: of an index copied afterwards some would be missing. Hence the order, for each bucket:

    1  copy the bodies that the index names, while writes go on; again, as long as many new ones come meanwhile
    2  hold writes up; begin to read the index; link the few bodies that are new into a folder of our own; let writes go
    3  copy these, and the index as it was read in 2

Writes wait for as long as it takes to read a list of names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from tenantry.services.r2.engines.files.folder import BucketFolder
from tenantry.services.snapshot import Snapshot, open_beside

__all__ = ["back_up"]

_NAMES: Final = "SELECT name FROM files WHERE NOT condemned"
_LINKS_MAX: Final = 1_000
"""What may be linked while writes wait."""
_PASSES_MAX: Final = 10


def back_up(folder: Path, target: Path, snapshot: Snapshot) -> None:
    """See `tenantry.services.ServiceFactory`."""
    names = []
    for bucket in sorted(folder.glob("[!.]*")):
        source = BucketFolder(bucket, durable=False)
        if source.index.exists():
            names.append(bucket.name)
            if snapshot.is_current(source.index, target / bucket.name / source.index.name):
                continue  # no write to the bucket leaves its index as it was
            _back_up_bucket(source, BucketFolder(target / bucket.name, durable=False), snapshot)
    snapshot.keep_only(target, names)


def _back_up_bucket(source: BucketFolder, target: BucketFolder, snapshot: Snapshot) -> None:
    found = source.index.stat()
    reader, writer = open_beside(source.index), open_beside(source.index)
    try:
        there: set[str] = set()
        for passed in range(_PASSES_MAX):
            missing = _names(reader) - there
            if passed and len(missing) <= _LINKS_MAX:
                break
            for name in sorted(missing):
                if snapshot.file(source.body(name), target.body(name)):
                    there.add(name)
        with snapshot.held() as hold:
            writer.execute("BEGIN IMMEDIATE")
            try:
                reader.execute("BEGIN")
                names = _names(reader)
                held = {name: hold(source.body(name)) for name in names - there}
            finally:
                writer.execute("ROLLBACK")
            for name, link in held.items():
                snapshot.file(link, target.body(name))
        snapshot.database_from(reader, target.index, found)
        reader.execute("ROLLBACK")
    finally:
        reader.close()
        writer.close()
    target.staging.mkdir(mode=0o700, exist_ok=True)
    (target.root / "bodies").mkdir(mode=0o700, exist_ok=True)
    for folder in sorted(os.listdir(target.root / "bodies")):
        snapshot.keep_only(target.root / "bodies" / folder, [name for name in names if name[0] == folder])


def _names(reader: apsw.Connection) -> set[str]:
    return {str(name) for (name,) in reader.execute(_NAMES)}
