"""Cursors: where a listing goes on, sealed so that only the bucket that gave one out takes it back.

    base64url( tag: 16 bytes | a position in the order of keys ), without padding

    tag = BLAKE2b(position, keyed with the bucket's secret)

A cursor is a place and no snapshot: keys that come later in order are seen, whenever they were written.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b
from typing import Final

from tenantry.services.r2.limits import KEY_BYTES_MAX

__all__ = ["open_cursor_untrusted", "seal_cursor"]

_TAG_BYTES: Final = 16
_POSITION_BYTES_MAX: Final = KEY_BYTES_MAX + 1
"""A position is a key, or the one behind it."""
_CURSOR_CHARACTERS_MAX: Final = (_TAG_BYTES + _POSITION_BYTES_MAX + 2) // 3 * 4


def _tag(position: bytes, secret: bytes) -> bytes:
    return blake2b(position, digest_size=_TAG_BYTES, key=secret, person=b"r2 cursor").digest()


def seal_cursor(position: bytes, secret: bytes) -> str:
    return urlsafe_b64encode(_tag(position, secret) + position).rstrip(b"=").decode("ascii")


def open_cursor_untrusted(cursor: str, secret: bytes) -> bytes | None:
    """The position inside; None for anything that `seal_cursor` did not make with this secret."""
    if len(cursor) > _CURSOR_CHARACTERS_MAX or not cursor.isascii():
        return None
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except Base64Error:
        return None
    position = raw[_TAG_BYTES:]
    # The whole text and not the tag alone: base64 can be written in more ways than the one that we use.
    return position if hmac.compare_digest(cursor, seal_cursor(position, secret)) else None
