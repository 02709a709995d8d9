"""One page of a listing, over anything that can walk its records in key order from a given position.

Prefixes are skipped over, not walked through: a "folder" of a million keys costs one seek.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from itertools import islice

from tenantry.services.r2.limits import LIST_PAGE_BYTES_MAX, SCAN_ROWS_PER_TURN
from tenantry.services.r2.model import ListPage, ListQuery, ObjectRecord

__all__ = ["Scan", "after_entry", "list_page", "successor"]

Scan = Callable[[bytes], Generator[tuple[bytes, ObjectRecord], None, None]]
"""Records whose key is at or after a position, lazily, in byte order. Closed before the event loop is given back."""

_RECORD_BYTES = 300
"""What a record costs on the wire beside its key and metadata, roughly."""


def successor(key: bytes) -> bytes:
    """The first position after `key`."""
    return key + b"\0"


def _end_of(prefix: bytes) -> bytes:
    """The first position after every key with this prefix. UTF-8 has no 0xFF, so the last byte can be counted up."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def after_entry(entry: str, prefix: str, delimiter: str) -> bytes:
    """The first position after a listed object, or after all that a delimited prefix stands for."""
    key = entry.encode()
    end = entry.find(delimiter, len(prefix)) if delimiter and entry.startswith(prefix) else -1
    return _end_of(key) if end >= 0 and end + len(delimiter) == len(entry) else successor(key)


async def list_page(scan: Scan, query: ListQuery) -> ListPage:
    """The page that `query` asks for."""
    objects: list[ObjectRecord] = []
    prefixes: list[str] = []
    page_bytes = 0
    position = max(query.start, query.prefix)
    while True:
        walk = scan(position)
        seek = False
        turn_rows = 0
        try:
            for key, record in islice(walk, SCAN_ROWS_PER_TURN):
                turn_rows += 1
                if not key.startswith(query.prefix):
                    return ListPage(objects, prefixes, None)
                cut = key.find(query.delimiter, len(query.prefix)) if query.delimiter else -1
                if cut >= 0:
                    name = key[: cut + len(query.delimiter)]
                    entry_bytes = len(name)
                else:
                    name = key
                    entry_bytes = len(key) + _RECORD_BYTES + (_metadata_bytes(record) if query.include_metadata else 0)
                if len(objects) + len(prefixes) >= query.limit or (
                    page_bytes and page_bytes + entry_bytes > LIST_PAGE_BYTES_MAX
                ):
                    return ListPage(objects, prefixes, position)
                page_bytes += entry_bytes
                if cut >= 0:
                    prefixes.append(name.decode())
                    position = _end_of(name)
                    seek = True
                    break
                objects.append(record)
                position = successor(key)
        finally:
            walk.close()
        if not seek and turn_rows < SCAN_ROWS_PER_TURN:
            return ListPage(objects, prefixes, None)
        if not seek or len(prefixes) % SCAN_ROWS_PER_TURN == 0:
            await asyncio.sleep(0)


def _metadata_bytes(record: ObjectRecord) -> int:
    metadata = record.metadata
    return sum(len(name) + len(str(value)) for name, value in metadata.http.items()) + sum(
        len(name) + 4 * len(value) for name, value in metadata.custom.items()
    )
