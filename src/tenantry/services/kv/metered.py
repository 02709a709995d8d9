"""Quotas around an engine: what does not fit is refused before it is written, in KV's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenantry.services.kv.engine import KvEngine, KvStore, Late
from tenantry.services.kv.errors import Reason, refused
from tenantry.services.kv.limits import METADATA_BYTES_MAX
from tenantry.services.kv.model import Entry, KeyPage, Usage
from tenantry.services.quota import Amount, CountedStream, Meter, QuotaPassed
from tenantry.streams import ByteStream

__all__ = ["MeteredEngine"]


class MeteredEngine:
    """See `engine.KvEngine`. Owns `engine` and `meter`."""

    def __init__(self, engine: KvEngine, meter: Meter) -> None:
        self._engine = engine
        self._meter = meter

    def store(self, namespace_id: str) -> KvStore:
        return _MeteredStore(self._engine.store(namespace_id), namespace_id, self._meter)

    async def delete(self, namespace_id: str) -> None:
        await self._meter.removing(namespace_id)
        await self._engine.delete(namespace_id)
        await self._meter.removed(namespace_id)

    async def sweep(self, now: int) -> None:
        # What a sweep frees is known to the account with the next write to the namespace.
        await self._engine.sweep(now)

    async def aclose(self) -> None:
        await self._engine.aclose()
        await self._meter.aclose()


class _MeteredStore:
    __slots__ = ("_id", "_meter", "_store")

    def __init__(self, store: KvStore, namespace_id: str, meter: Meter) -> None:
        self._store = store
        self._id = namespace_id
        self._meter = meter

    async def get(self, key: bytes, now: int) -> Entry | None:
        return await self._store.get(key, now)

    async def put(
        self, key: bytes, value: bytes | ByteStream, expiration: int | None, metadata: Late, now: int
    ) -> None:
        async def replaced() -> Amount:
            return await self._entry(key, now)

        with _refusals():
            async with self._meter.writing(self._id, self._amount, replaced) as room:
                # Metadata that is not known yet counts as if it were as long as it may be.
                added = METADATA_BYTES_MAX if callable(metadata) else len(metadata or b"")
                length = len(value) if isinstance(value, bytes) else value.length
                await room.grow(Amount(len(key) + added + (length or 0), 1))
                if length is None and not isinstance(value, bytes):
                    value = CountedStream(value, room)
                await self._store.put(key, value, expiration, metadata, now)

    async def delete(self, key: bytes, now: int) -> None:
        async with self._meter.writing(self._id, self._amount):
            await self._store.delete(key, now)

    async def list(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> KeyPage:
        return await self._store.list(prefix, after, limit, now)

    async def secret(self) -> bytes:
        return await self._store.secret()

    async def usage(self) -> Usage:
        return await self._store.usage()

    async def _amount(self) -> Amount:
        usage = await self._store.usage()
        return Amount(usage.size_bytes, usage.keys)

    async def _entry(self, key: bytes, now: int) -> Amount:
        """What would be freed by replacing the entry."""
        entry = await self._store.get(key, now)
        if entry is None:
            return Amount()
        if not isinstance(entry.value, bytes):
            await entry.value.aclose()
        return Amount(len(key) + entry.size_bytes + len(entry.metadata or b""), 1)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except QuotaPassed as error:
        whose = "namespace" if error.whose == "resource" else "account"
        what = "bytes" if error.what == "bytes" else "keys"
        raise refused("PUT", 413, f"More {what} than the {whose} may hold", Reason.QUOTA) from error
