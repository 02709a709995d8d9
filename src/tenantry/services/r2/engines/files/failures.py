"""What the disk did to a bucket: said to the operator with its name, and to the tenant without its cause."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import apsw
import structlog

from tenantry.errors import StorageError, StorageFull

__all__ = ["storage_errors"]

_log = structlog.get_logger()


@contextmanager
def storage_errors(bucket: str) -> Iterator[None]:
    """Turns what SQLite and the operating system raise into `StorageError`."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        _log.error("an R2 bucket could not be read or written", bucket=bucket, reason=str(error))
        if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            raise StorageFull("The bucket's disk is full.") from error
        raise StorageError("The bucket could not be read or written.") from error
