"""What R2 stores and what it is asked: values between the rules above and the engines below."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import msgspec

from tenantry.services.r2.limits import LIST_LIMIT_MAX

__all__ = [
    "ALGORITHMS",
    "DEFAULT_STORAGE_CLASS",
    "STORAGE_CLASSES",
    "Encryption",
    "ListPage",
    "ListQuery",
    "ObjectMetadata",
    "ObjectRecord",
    "PartRecord",
    "UploadQuery",
    "UploadRecord",
    "UploadState",
    "Usage",
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


STORAGE_CLASSES: Final = ("Standard", "InfrequentAccess")

DEFAULT_STORAGE_CLASS: Final = ""
"""In what a caller asks for: whatever the bucket has as its default. No stored object has it."""


class Encryption(msgspec.Struct, frozen=True, array_like=True):
    """How an object under a customer's own key (SSE-C) is sealed: see `ssec.py`. The key itself is kept nowhere.

    `part_bytes` is the size, before sealing, of each part but the last; of the whole for an object of one part.
    """

    key_md5: bytes
    salt: bytes
    part_bytes: int = 0


class ObjectMetadata(msgspec.Struct, frozen=True, array_like=True):
    """What is kept beside the bytes. It is also the stored form: add fields at the end, with a default.

    `http` has R2's names (`contentType`, ...) with text values, and `cacheExpiry` in milliseconds since 1970.
    `checksums` and `encryption` are the rules' to fill in: in what a caller asks for they have no effect.
    """

    storage_class: str = DEFAULT_STORAGE_CLASS
    http: dict[str, str | int] = {}
    custom: dict[str, str] = {}
    checksums: dict[str, bytes] = {}
    encryption: Encryption | None = None
    part_bytes: int = 0
    """Of an object that was uploaded in parts: the size of each but the last. 0 for any other."""


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """An object without its bytes. `version` is 32 hex digits and differs for every put. `size` is before sealing."""

    key: str
    version: str
    size: int
    etag: str
    uploaded_ms: int
    metadata: ObjectMetadata

    @property
    def ssec_key_md5(self) -> str | None:
        """The MD5 of the customer's key in hex, or None where the object has none."""
        encryption = self.metadata.encryption
        return None if encryption is None else encryption.key_md5.hex()

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
    """One uploaded part. `etag` is an opaque token, not a digest. `size` and `md5` are before sealing."""

    number: int
    etag: str
    md5: bytes
    size: int
    uploaded_ms: int
    checksum: bytes = b""
    """By the algorithm of its upload; empty if that has none."""


@dataclass(frozen=True, slots=True)
class UploadQuery:
    """Open uploads in the order of their keys and, for one key, of their ids. `after` is where the last page ended."""

    prefix: bytes = b""
    after: tuple[bytes, str] = (b"", "")
    limit: int = LIST_LIMIT_MAX


@dataclass(frozen=True, slots=True)
class Usage:
    """What a bucket holds. Bytes are those of bodies, as their owners count them: before sealing."""

    objects: int = 0
    object_bytes: int = 0
    uploads: int = 0
    """Open ones."""
    upload_bytes: int = 0
    """Of the parts of open uploads."""

    @property
    def bytes(self) -> int:
        """All that counts against a quota."""
        return self.object_bytes + self.upload_bytes


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
