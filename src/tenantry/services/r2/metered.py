"""Quotas around an engine: what does not fit is refused before it is written.

A body takes its room when it is staged, and has it until it is an object or a part, or is discarded. An object that is
made of parts takes none for its bytes: they have it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

from tenantry.services.quota import Amount, CountedStream, Meter
from tenantry.services.r2.engine import Assembly, Bucket, Choose, Destination, Engine, PutRequest, StagedBody
from tenantry.services.r2.model import (
    ListPage,
    ListQuery,
    ObjectRecord,
    PartRecord,
    UploadQuery,
    UploadRecord,
    Usage,
    Window,
)
from tenantry.services.r2.settings import BucketSettings
from tenantry.streams import ByteStream

__all__ = ["MeteredEngine", "amount_of"]


def amount_of(usage: Usage) -> Amount:
    """What counts against a quota."""
    return Amount(usage.bytes, usage.objects)


class MeteredEngine:
    """See `engine.Engine`. Owns `engine` and `meter`."""

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self._engine = engine
        self._meter = meter

    def bucket(self, name: str) -> Bucket:
        return _MeteredBucket(self._engine.bucket(name), name, self._meter)

    async def bucket_names(self) -> Sequence[str]:
        return await self._engine.bucket_names()

    async def delete_bucket(self, name: str, *, if_empty: bool = False) -> bool:
        await self._meter.removing(name)
        deleted = await self._engine.delete_bucket(name, if_empty=if_empty)
        if deleted:
            await self._meter.removed(name)
        return deleted

    async def aclose(self) -> None:
        await self._engine.aclose()
        await self._meter.aclose()


class _MeteredBody:
    """A staged body and its room."""

    def __init__(self, inner: StagedBody, room: AsyncExitStack) -> None:
        self.inner = inner
        self.room = room
        self.size = inner.size
        self.digests: Mapping[str, bytes] = inner.digests

    async def discard(self) -> None:
        async with self.room:
            await self.inner.discard()


class _MeteredBucket:
    """See `engine.Bucket`."""

    __slots__ = ("_bucket", "_meter", "_name")

    def __init__(self, bucket: Bucket, name: str, meter: Meter) -> None:
        self._bucket = bucket
        self._name = name
        self._meter = meter

    async def head(self, key: str) -> ObjectRecord | None:
        return await self._bucket.head(key)

    async def get(self, key: str, choose: Choose) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        return await self._bucket.get(key, choose)

    async def stage(
        self,
        stream: ByteStream,
        size: int | None,
        algorithms: Collection[str],
        destination: Destination | None = None,
    ) -> StagedBody:
        assert destination is not None

        async def replaced() -> Amount:
            return await self._replaced(destination)

        async with AsyncExitStack() as stack:
            writing = self._meter.writing(self._name, self._amount, replaced)
            room = await stack.enter_async_context(writing)
            await room.grow(Amount(destination.size or 0, 0 if destination.upload_id else 1))
            if destination.size is None:
                stream = CountedStream(stream, room)
            body = await self._bucket.stage(stream, size, algorithms, destination)
            return _MeteredBody(body, stack.pop_all())

    async def put(self, request: PutRequest, body: StagedBody) -> ObjectRecord | None:
        assert isinstance(body, _MeteredBody)
        async with body.room:
            return await self._bucket.put(request, body.inner)

    async def delete(self, keys: Sequence[str]) -> None:
        async with self._meter.writing(self._name, self._amount):
            await self._bucket.delete(keys)

    async def delete_versions(self, versions: Sequence[tuple[str, str]]) -> int:
        async with self._meter.writing(self._name, self._amount):
            return await self._bucket.delete_versions(versions)

    async def change_storage_class(self, versions: Sequence[tuple[str, str]], storage_class: str) -> None:
        await self._bucket.change_storage_class(versions, storage_class)

    async def list(self, query: ListQuery) -> ListPage:
        return await self._bucket.list(query)

    async def cursor_secret(self) -> bytes:
        return await self._bucket.cursor_secret()

    async def usage(self) -> Usage:
        return await self._bucket.usage()

    async def settings(self) -> BucketSettings:
        return await self._bucket.settings()

    async def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        return await self._bucket.change_settings(change)

    async def create_upload(self, upload: UploadRecord, forget_before_ms: int) -> None:
        await self._bucket.create_upload(upload, forget_before_ms)

    async def list_uploads(self, query: UploadQuery) -> Sequence[UploadRecord]:
        return await self._bucket.list_uploads(query)

    async def list_parts(self, upload_id: str, after: int, limit: int) -> Sequence[PartRecord]:
        return await self._bucket.list_parts(upload_id, after, limit)

    async def find_upload(self, upload_id: str) -> UploadRecord | None:
        return await self._bucket.find_upload(upload_id)

    async def put_part(self, upload_id: str, part: PartRecord, body: StagedBody) -> bool:
        assert isinstance(body, _MeteredBody)
        async with body.room:
            return await self._bucket.put_part(upload_id, part, body.inner)

    async def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        async def replaced() -> Amount:
            upload = await self._bucket.find_upload(upload_id)
            there = None if upload is None else await self._bucket.head(upload.key)
            return Amount(0, 0 if there is None else 1)

        async with self._meter.writing(self._name, self._amount, replaced) as room:
            await room.grow(Amount(0, 1))
            return await self._bucket.complete_upload(upload_id, assemble)

    async def abort_upload(self, upload_id: str) -> None:
        async with self._meter.writing(self._name, self._amount):
            await self._bucket.abort_upload(upload_id)

    async def tidy(self) -> int:
        return await self._bucket.tidy()

    async def _amount(self) -> Amount:
        return amount_of(await self._bucket.usage())

    async def _replaced(self, destination: Destination) -> Amount:
        if destination.upload_id:
            parts = await self._bucket.list_parts(destination.upload_id, destination.part_number - 1, 1)
            return Amount(sum(part.size for part in parts if part.number == destination.part_number))
        there = await self._bucket.head(destination.key)
        return Amount() if there is None else Amount(there.size, 1)
