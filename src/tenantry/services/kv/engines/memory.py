"""KV in the memory of the process, gone with it: for tests, and as the shortest account of what an engine does."""

from __future__ import annotations

import secrets
from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass

from tenantry.services.kv.engine import Late
from tenantry.services.kv.errors import NamespaceGone
from tenantry.services.kv.limits import CHUNK_BYTES, INLINE_BYTES_MAX
from tenantry.services.kv.model import Entry, Key, KeyPage, Usage
from tenantry.streams import BytesStream, ByteStream

__all__ = ["MemoryEngine"]


@dataclass(frozen=True, slots=True)
class _Stored:
    value: bytes
    expiration: int | None
    metadata: bytes | None


class _MemoryStore:
    def __init__(self) -> None:
        self._entries: dict[bytes, _Stored] = {}
        # The keys of `_entries`, sorted.
        self._keys: list[bytes] = []
        self._secret = secrets.token_bytes(32)
        self._gone = False

    def end(self) -> None:
        self._gone = True
        self._entries.clear()
        self._keys.clear()

    def sweep(self, now: int) -> None:
        for key, stored in list(self._entries.items()):
            if stored.expiration is not None and stored.expiration < now:
                self._remove(key)

    async def get(self, key: bytes, now: int) -> Entry | None:
        self._check()
        stored = self._entries.get(key)
        if stored is None or (stored.expiration is not None and stored.expiration <= now):
            return None
        value = stored.value
        return Entry(
            value if len(value) <= INLINE_BYTES_MAX else BytesStream(value),
            len(value),
            stored.metadata,
            stored.expiration,
        )

    async def put(
        self, key: bytes, value: bytes | ByteStream, expiration: int | None, metadata: Late, now: int
    ) -> None:
        if not isinstance(value, bytes):
            chunks: list[bytes] = []
            while chunk := await value.read(CHUNK_BYTES):
                chunks.append(chunk)
            value = b"".join(chunks)
        if callable(metadata):
            metadata = metadata()
        self._check()
        if key not in self._entries:
            insort(self._keys, key)
        self._entries[key] = _Stored(value, expiration, metadata)

    async def delete(self, key: bytes, now: int) -> None:
        self._check()
        self._remove(key)

    async def list(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> KeyPage:
        self._check()
        start = bisect_left(self._keys, prefix)
        if after is not None:
            start = max(start, bisect_right(self._keys, after))
        page: list[Key] = []
        for index in range(start, len(self._keys)):
            name = self._keys[index]
            if not name.startswith(prefix):
                break
            stored = self._entries[name]
            if stored.expiration is not None and stored.expiration < now:
                continue
            if len(page) == limit:
                return KeyPage(page, more=True)
            page.append(Key(name, stored.expiration, stored.metadata))
        return KeyPage(page, more=False)

    async def secret(self) -> bytes:
        self._check()
        return self._secret

    async def usage(self) -> Usage:
        self._check()
        size_bytes = sum(
            len(key) + len(stored.value) + len(stored.metadata or b"") for key, stored in self._entries.items()
        )
        return Usage(len(self._entries), size_bytes)

    def _check(self) -> None:
        if self._gone:
            raise NamespaceGone

    def _remove(self, key: bytes) -> None:
        if self._entries.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]


class MemoryEngine:
    """See `engine.KvEngine`."""

    def __init__(self) -> None:
        self._stores: dict[str, _MemoryStore] = {}

    def store(self, namespace_id: str) -> _MemoryStore:
        return self._stores.setdefault(namespace_id, _MemoryStore())

    async def delete(self, namespace_id: str) -> None:
        self.store(namespace_id).end()

    async def sweep(self, now: int) -> None:
        for store in self._stores.values():
            store.sweep(now)

    async def aclose(self) -> None:
        self._stores.clear()
