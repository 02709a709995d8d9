"""What R2 stores and what it is asked: values between the rules above and the engines below."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec

from tenantry.services.r2.limits import LIST_LIMIT_MAX

__all__ = [
    "ALGORITHMS",
    "ListPage",
    "ListQuery",
    "ObjectMetadata",
    "ObjectRecord",
    "PartRecord",
    "UploadRecord",
    "UploadState",
    "Window",
    "key_bytes",
]

ALGORITHMS: Final = {
    "md5": ("MD5", 16),
    "sha1": ("SHA-1", 20),
    "sha256": ("SHA-256", 32),
    "sha384": ("SHA-384", 48),
    "sha512": ("SHA-512", 64),
}
"""Option name to R2's spelling and digest size in bytes. The names are hashlib's too."""


class ObjectMetadata(msgspec.Struct, frozen=True, array_like=True):
    """What is kept beside the bytes. It is also the stored form: add fields at the end, with a default.

    `http` has R2's names (`contentType`, ...) with text values, and `cacheExpiry` in milliseconds since 1970.
    """

    storage_class: str = "Standard"
    http: dict[str, str | int] = {}
    custom: dict[str, str] = {}
    checksums: dict[str, bytes] = {}


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object without its bytes. `version` is 32 hex digits and differs for every put."""

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    metadata: ObjectMetadata


@dataclass(frozen=True, slots=True)
class Window:
    """A run of bytes inside an object."""

    offset: int
    length: int


class UploadState(IntEnum):
    """Of a multipart upload. Ended ones are remembered for a while: R2 tells them from those that never were."""

    OPEN = 0
    COMPLETED = 1
    ABORTED = 2


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """A multipart upload; `metadata` becomes that of the object."""

    upload_id: str
    key: str
    created_ms: int
    metadata: ObjectMetadata
    state: UploadState = UploadState.OPEN


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One uploaded part. `etag` is an opaque token, not a digest."""

    number: int
    etag: str
    md5: bytes
    size: int


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One page of a listing, in the byte order of UTF-8 keys.

    `start` is the first position that may appear (inclusive): a page's `next_start` continues it.
    """

    prefix: bytes = b""
    delimiter: bytes = b""
    start: bytes = b""
    limit: int = LIST_LIMIT_MAX
    include_metadata: bool = False


@dataclass(frozen=True, slots=True)
class ListPage:
    """`next_start` is None on the last page."""

    objects: list[ObjectRecord]
    prefixes: list[str]
    next_start: bytes | None


def key_bytes(key: str) -> bytes:
    """A key in the form by which it is stored and ordered."""
    return key.encode()
