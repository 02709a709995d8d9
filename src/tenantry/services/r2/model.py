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
    part_bytes: int = 0
    """Of an object that was uploaded in parts: the size of each but the last. 0 for any other."""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object without its bytes. `version` is 32 hex digits and differs for every put."""

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    metadata: ObjectMetadata

    @property
    def part_count(self) -> int:
        """Of an object that was uploaded in parts; 0 for any other."""
        part_bytes = self.metadata.part_bytes
        return max(-(-self.size // part_bytes), 1) if part_bytes else 0

    def part_window(self, number: int) -> Window | None:
        """The bytes of a part. An object that has none is one part. None if there is no such part."""
        if not 1 <= number <= max(self.part_count, 1):
            return None
        part_bytes = self.metadata.part_bytes or self.size
        offset = (number - 1) * part_bytes
        return Window(offset, min(part_bytes, self.size - offset))


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
    """A multipart upload; `metadata` becomes that of the object.

    Where its creator chose a checksum, `metadata.checksums` has its name with no value: each part gets one.
    """

    upload_id: str
    key: str
    created_ms: int
    metadata: ObjectMetadata
    state: UploadState = UploadState.OPEN

    @property
    def checksum_algorithm(self) -> str | None:
        """What the creator chose."""
        return next(iter(self.metadata.checksums), None)


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One uploaded part. `etag` is an opaque token, not a digest."""

    number: int
    etag: str
    md5: bytes
    size: int
    checksum: bytes = b""
    """By the algorithm of its upload; empty if that has none."""


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
