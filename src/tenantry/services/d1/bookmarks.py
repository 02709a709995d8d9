"""Bookmarks: names of a database's states that compare, as text, as the states did in time.

    00006655-2a3b4c5d-00000000-9f86d081884c7d659a2feaa0c55ad015
    seconds  nanosec. sequence which database

The shape is Cloudflare's. The last group ties a bookmark to its database and catches a mistyped one; it is no secret.
"""

from __future__ import annotations

import re
from hashlib import blake2s
from typing import Final

from tenantry.services.d1 import errors
from tenantry.services.d1.errors import PastUnknown

__all__ = ["decode_untrusted", "encode"]

_SHAPE: Final = re.compile(r"([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{8})-([0-9a-f]{32})")
_SECOND: Final = 1_000_000_000


def encode(resource_id: str, time: int, sequence: int = 0) -> str:
    """`time` is that of the state's commit, in nanoseconds since 1970. `sequence` tells names of one state apart."""
    seconds, nanoseconds = divmod(time, _SECOND)
    head = f"{seconds:08x}-{nanoseconds:08x}-{sequence:08x}"
    return f"{head}-{_tail(resource_id, head)}"


def decode_untrusted(resource_id: str, bookmark: str) -> int:
    """The time. Raises `PastUnknown`."""
    match = _SHAPE.fullmatch(bookmark)
    if match is None or _tail(resource_id, bookmark[:26]) != match[4]:
        raise PastUnknown(errors.BOOKMARK_INVALID)
    return int(match[1], 16) * _SECOND + int(match[2], 16)


def _tail(resource_id: str, head: str) -> str:
    return blake2s(f"{resource_id}/{head}".encode(), digest_size=16).hexdigest()
