"""What is known of one file."""

from __future__ import annotations

import msgspec

__all__ = ["Asset"]


class Asset(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`hash` is what the client calls the file's content: 32 hex digits, and its ETag. `blob` is what we call it: the
    SHA-256 of its bytes, in hex."""

    hash: str
    blob: str
    size_bytes: int
