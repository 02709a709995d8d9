"""Digests of bodies: hashlib's, and the CRCs that S3's clients send; and what becomes of them when parts are joined."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["CHECKSUM_BYTES", "FULL_OBJECT", "Checksum", "Digest", "digest_of", "hasher", "join_checksums"]

CHECKSUM_BYTES: Final = {"crc32": 4, "crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}
"""What S3 knows as checksums, and their sizes. The CRCs are kept beside an object, but no Worker sees them."""

FULL_OBJECT: Final = frozenset({"crc64nvme"})
"""Of these, joining the parts' checksums gives that of the whole. The others' is a checksum of checksums, as on R2."""


class Digest(Protocol):
    """As in hashlib."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None: ...

    def digest(self) -> bytes: ...


_Update = Callable[[bytes | bytearray | memoryview, int], int]
_CRCS: Final = frozenset({"crc32", "crc32c", "crc64nvme"})


def _update_of(crc: str) -> _Update:
    if crc == "crc32":
        return zlib.crc32
    # Here, not above: it is slow to load, and few bodies have these.
    from awscrt import checksums

    update: _Update = checksums.crc32c if crc == "crc32c" else checksums.crc64nvme
    return update


class _Crc:
    __slots__ = ("_size", "_update", "_value")

    def __init__(self, name: str) -> None:
        self._update, self._size = _update_of(name), CHECKSUM_BYTES[name]
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = self._update(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


def hasher(name: str) -> Digest:
    """A new digest: a name of `model.ALGORITHMS` or of `CHECKSUM_BYTES`."""
    return _Crc(name) if name in _CRCS else hashlib.new(name, usedforsecurity=False)


def digest_of(name: str, data: bytes) -> bytes:
    digest = hasher(name)
    digest.update(data)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Checksum:
    """One digest of a body that is to come.

    `expected` is what its sender says it is: the value, or how to get it once the body is in, or None to have it
    computed only. `stored` keeps it with the object. `mismatch` makes the error from (expected, actual); without it
    it is R2's own.
    """

    algorithm: str
    expected: bytes | Callable[[], bytes] | None = None
    stored: bool = True
    mismatch: Callable[[bytes, bytes], Exception] | None = None


def join_checksums(name: str, parts: Sequence[tuple[bytes, int]]) -> bytes:
    """The checksum of an object in parts, from (checksum, size) of each in order."""
    if name not in FULL_OBJECT:
        return digest_of(name, b"".join(checksum for checksum, _ in parts))
    from awscrt import checksums as crt  # as in `_update_of`

    whole = 0
    for checksum, size in parts:
        whole = crt.combine_crc64nvme(whole, int.from_bytes(checksum, "big"), size)
    return whole.to_bytes(CHECKSUM_BYTES[name], "big")
