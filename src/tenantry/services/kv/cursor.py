"""Cursors: where a listing goes on, sealed so that only the namespace that gave one out takes it back.

    base64url( tag: 16 bytes | the last key of the page: 1 to 512 bytes ), without padding

    tag = BLAKE2b(key, keyed with the namespace's secret)

A cursor is a place and no snapshot: keys that come later in order are seen, whenever they were written.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b

from tenantry.services.kv.limits import CURSOR_CHARACTERS_MAX, CURSOR_TAG_BYTES, KEY_BYTES_MAX

__all__ = ["open_cursor_untrusted", "seal_cursor"]


def _tag(key: bytes, secret: bytes) -> bytes:
    return blake2b(key, digest_size=CURSOR_TAG_BYTES, key=secret, person=b"kv cursor").digest()


def seal_cursor(key: bytes, secret: bytes) -> str:
    return urlsafe_b64encode(_tag(key, secret) + key).rstrip(b"=").decode("ascii")


def open_cursor_untrusted(cursor: str, secret: bytes) -> bytes:
    """The key inside. Raises ValueError for anything that `seal_cursor` did not make with this secret."""
    if len(cursor) > CURSOR_CHARACTERS_MAX or not cursor.isascii():
        raise ValueError("not a cursor")
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except Base64Error as error:
        raise ValueError("not a cursor") from error
    tag, key = raw[:CURSOR_TAG_BYTES], raw[CURSOR_TAG_BYTES:]
    if not 0 < len(key) <= KEY_BYTES_MAX or not hmac.compare_digest(tag, _tag(key, secret)):
        raise ValueError("not a cursor of this namespace")
    return key
