"""Cursors: where a listing goes on, sealed so that only the listing that gave one out takes it back.

    base64url( tag: 16 bytes | the last key of the page: 1 to 512 bytes ), without padding

    tag = BLAKE2b(length of the prefix: 2 bytes | prefix | key, keyed with the namespace's secret)

It is good for the prefix that it was given out for, and for no other: with another one, a client has mixed up two
listings, and would silently miss keys.

A cursor is a place and no snapshot: keys that come later in order are seen, whenever they were written.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import blake2b

from tenantry.services.kv.limits import CURSOR_CHARACTERS_MAX, CURSOR_TAG_BYTES, KEY_BYTES_MAX

__all__ = ["open_cursor_untrusted", "seal_cursor"]


def _tag(prefix: bytes, key: bytes, secret: bytes) -> bytes:
    sealed = len(prefix).to_bytes(2, "big") + prefix + key
    return blake2b(sealed, digest_size=CURSOR_TAG_BYTES, key=secret, person=b"kv cursor").digest()


def seal_cursor(prefix: bytes, key: bytes, secret: bytes) -> str:
    return urlsafe_b64encode(_tag(prefix, key, secret) + key).rstrip(b"=").decode("ascii")


def open_cursor_untrusted(cursor: str, prefix: bytes, secret: bytes) -> bytes:
    """The key inside. Raises ValueError for anything that `seal_cursor` did not make for this prefix and secret."""
    if len(cursor) > CURSOR_CHARACTERS_MAX or not cursor.isascii():
        raise ValueError("not a cursor")
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except Base64Error as error:
        raise ValueError("not a cursor") from error
    tag, key = raw[:CURSOR_TAG_BYTES], raw[CURSOR_TAG_BYTES:]
    if not 0 < len(key) <= KEY_BYTES_MAX or not hmac.compare_digest(tag, _tag(prefix, key, secret)):
        raise ValueError("not a cursor of this listing")
    return key
