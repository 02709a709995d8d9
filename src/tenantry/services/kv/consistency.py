"""Cloudflare's consistency on purpose, so that a team can rehearse production: `consistency = "cloudflare_like"`.

A layer between the rules and the store of one namespace. It behaves as a location that others write elsewhere:

    a read      is answered from what was read before, for 60 s (or `cacheTtl`) from then; "nothing there" too
    a listing   likewise, for 60 s
    a write     goes to the store at once, and does not touch what was read before
    two writes  to one key within a second: the second is refused with 429

That is the worst that Cloudflare allows. Only two things are never served late, as there: a key that was not read for
60 s is current, and an entry that has expired is gone.

Time is an argument, in seconds since 1970 with their fractions.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from tenantry.services.kv.engine import KvStore
from tenantry.services.kv.errors import Reason, refused
from tenantry.services.kv.limits import (
    EDGE_CACHE_BYTES_MAX,
    EDGE_CACHE_SECONDS,
    EDGE_PAGES_MAX,
    VALUE_BYTES_MAX,
    WRITE_SECONDS_MIN,
)
from tenantry.services.kv.model import Entry, Key, KeyPage
from tenantry.streams import BytesStream, read_all

__all__ = ["Edge"]

# What Python needs for an entry, about.
_ENTRY_BYTES = 256


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a read found, None for nothing, and when."""

    entry: Entry | None
    value: bytes
    at: float

    @property
    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.value)


@dataclass(frozen=True, slots=True)
class _SeenPage:
    page: KeyPage
    at: float


class Edge:
    """What one location remembers of one namespace. In memory, bounded: what it forgot is read again, current."""

    def __init__(self) -> None:
        # Least recently used first.
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()
        self._seen_bytes = 0
        self._pages: OrderedDict[tuple[bytes, bytes | None, int], _SeenPage] = OrderedDict()
        # The writes of the last second, the oldest first.
        self._written: OrderedDict[bytes, float] = OrderedDict()

    async def get(self, store: KvStore, key: bytes, now: float, cache_seconds: int | None) -> Entry | None:
        """As `KvStore.get`. What is remembered is good enough when it is younger than `cache_seconds`."""
        seen = self._seen.get(key)
        if seen is None or not 0 <= now - seen.at < (cache_seconds or EDGE_CACHE_SECONDS):
            entry = await store.get(key, int(now))
            seen = _Seen(entry, b"" if entry is None else await _whole(entry), now)
            self._remember(key, seen)
        else:
            self._seen.move_to_end(key)
        entry = seen.entry
        if entry is None or (entry.expiration is not None and entry.expiration <= int(now)):
            return None
        value = seen.value if isinstance(entry.value, bytes) else BytesStream(seen.value)
        return Entry(value, entry.size_bytes, entry.metadata, entry.expiration)

    async def list(self, store: KvStore, prefix: bytes, after: bytes | None, limit: int, now: float) -> KeyPage:
        asked = (prefix, after, limit)
        seen = self._pages.pop(asked, None)
        if seen is None or not 0 <= now - seen.at < EDGE_CACHE_SECONDS:
            seen = _SeenPage(await store.list(prefix, after, limit, int(now)), now)
        self._pages[asked] = seen
        if len(self._pages) > EDGE_PAGES_MAX:
            self._pages.popitem(last=False)
        alive = [key for key in seen.page.keys if _alive(key, int(now))]
        # A page that has more behind it needs a last key to go on from.
        if seen.page.more and not alive:
            return await store.list(prefix, after, limit, int(now))
        return KeyPage(alive, seen.page.more)

    def admit_write(self, verb: str, key: bytes, now: float) -> None:
        """Raises Refused (429) for a key that was written less than a second ago."""
        while self._written:
            oldest, at = next(iter(self._written.items()))
            if 0 <= now - at < WRITE_SECONDS_MIN:
                break
            del self._written[oldest]
        if key in self._written:
            raise refused(verb, 429, "Too Many Requests", Reason.RATE)
        self._written[key] = now

    def _remember(self, key: bytes, seen: _Seen) -> None:
        old = self._seen.pop(key, None)
        if old is not None:
            self._seen_bytes -= old.size_bytes
        self._seen[key] = seen
        self._seen_bytes += seen.size_bytes
        while self._seen_bytes > EDGE_CACHE_BYTES_MAX:
            _, forgotten = self._seen.popitem(last=False)
            self._seen_bytes -= forgotten.size_bytes


async def _whole(entry: Entry) -> bytes:
    return entry.value if isinstance(entry.value, bytes) else await read_all(entry.value, VALUE_BYTES_MAX)


def _alive(key: Key, now: int) -> bool:
    return key.expiration is None or key.expiration >= now
