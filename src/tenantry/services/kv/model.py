"""The values that pass between KV's rules and its engines."""

from __future__ import annotations

from dataclasses import dataclass

from tenantry.streams import ByteStream

__all__ = ["Entry", "Key", "KeyPage", "Usage"]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is stored under a key.

    `value` is bytes up to `limits.INLINE_BYTES_MAX` and a stream above; whoever gets the entry closes the stream.
    `metadata` is JSON text in UTF-8, or None where the entry has none; `expiration` is in seconds since 1970, or None.
    """

    value: bytes | ByteStream
    size_bytes: int
    metadata: bytes | None
    expiration: int | None


@dataclass(frozen=True, slots=True)
class Key:
    """One line of a listing. `expiration` is in seconds since 1970, None where the entry stays."""

    name: bytes
    expiration: int | None
    metadata: bytes | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Keys in byte order. `more` says that at least one further key was there when the page was read."""

    keys: list[Key]
    more: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a namespace holds. `size_bytes` counts keys, values and metadata, and nothing that the store adds.

    An entry counts from its write until it is replaced, deleted, or swept after its expiration.
    """

    keys: int
    size_bytes: int
