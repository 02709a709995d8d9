"""The methods of a bucket, over whatever is open of it at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

from tenantry.services.r2.engine import Assembly, Choose, Destination, PutRequest, StagedBody
from tenantry.services.r2.engines.files.failures import storage_errors
from tenantry.services.r2.engines.files.index import IndexWriter, Placement, Segment
from tenantry.services.r2.engines.files.opened import OpenBucket
from tenantry.services.r2.engines.files.reading import BodyFileStream, SegmentedStream, Slice
from tenantry.services.r2.engines.files.staging import FileSink, digests_of, fill, read_exactly
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import INLINE_OBJECT_BYTES_MAX
from tenantry.services.r2.listing import list_page
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
from tenantry.streams import BytesStream, ByteStream

__all__ = ["FilesBucket", "Shelves"]


class Shelves(Protocol):
    """Where a bucket finds itself open."""

    async def acquire(self, name: str, *, create: bool) -> OpenBucket | None:
        """The bucket, leased; None if it does not exist and is not to be made."""
        ...


class _InlineBody:
    """A staged body that will lie in the index. There is nothing to discard."""

    def __init__(self, data: bytes, algorithms: Collection[str]) -> None:
        self.data = data
        self.size = len(data)
        self.digests = digests_of(data, algorithms)

    async def discard(self) -> None:
        return


class _FileBody:
    """A staged body that lies in a file. It keeps its bucket open, for opening a bucket cleans its staging."""

    def __init__(self, opened: OpenBucket, name: str, size: int, digests: Mapping[str, bytes]) -> None:
        self.opened = opened
        self.name = name
        self.size = size
        self.digests = digests

    async def discard(self) -> None:
        self.settle(False)

    def settle(self, adopted: bool) -> None:
        """Ends the staging: the index has it (`adopted`), or nobody does."""
        folder = self.opened.folder
        self.opened.threads.chore(folder.unstage if adopted else folder.remove, None, self.name)
        self.opened.release()


class FilesBucket:
    """See `tenantry.services.r2.engine.Bucket`."""

    def __init__(self, shelves: Shelves, name: str) -> None:
        self._shelves = shelves
        self._name = name

    @asynccontextmanager
    async def _existing(self) -> AsyncIterator[OpenBucket | None]:
        with storage_errors(self._name):
            opened = await self._shelves.acquire(self._name, create=False)
            if opened is None:
                yield None
                return
            try:
                yield opened
            finally:
                opened.release()

    @asynccontextmanager
    async def _made(self) -> AsyncIterator[OpenBucket]:
        with storage_errors(self._name):
            opened = await self._shelves.acquire(self._name, create=True)
            assert opened is not None
            try:
                yield opened
            finally:
                opened.release()

    async def head(self, key: str) -> ObjectRecord | None:
        async with self._existing() as opened:
            return None if opened is None else opened.reader.head(key)

    async def get(self, key: str, choose: Choose) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        async with self._existing() as opened:
            found = None if opened is None else opened.reader.get(key)
            if opened is None or found is None:
                return None
            record, placement = found
            window = choose(record)
            if window is None:
                return record, None, None
            # No await since the look-up: see shelf.py.
            return record, window, _stream(opened, placement, window)

    async def stage(
        self,
        stream: ByteStream,
        size: int | None,
        algorithms: Collection[str],
        destination: Destination | None = None,
    ) -> StagedBody:
        if size is not None and size <= INLINE_OBJECT_BYTES_MAX:
            return _InlineBody(await read_exactly(stream, size), algorithms)
        return await self._stage_file(stream, size, algorithms)

    async def _stage_file(self, stream: ByteStream, size: int | None, algorithms: Collection[str]) -> _FileBody:
        async with self._made() as opened:
            sink = FileSink(opened.folder, algorithms)
            try:
                received, digests = await fill(sink, stream, size, opened.threads)
            except FileNotFoundError as error:
                if opened.closed:  # deleted, and its folder with it
                    raise BucketGone from error
                raise
            opened.lease()
            return _FileBody(opened, sink.name, received, digests)

    async def put(self, request: PutRequest, body: StagedBody) -> ObjectRecord | None:
        if isinstance(body, _FileBody):
            placement = Placement(file=body.name)
            with storage_errors(self._name):
                return await body.opened.committer.commit(lambda writer: writer.put(request, placement), body.settle)
        assert isinstance(body, _InlineBody)
        placement = Placement(data=body.data)
        async with self._made() as opened:
            return await opened.committer.commit(lambda writer: writer.put(request, placement))

    async def delete(self, keys: Sequence[str]) -> None:
        async with self._existing() as opened:
            if opened is not None:
                await opened.committer.commit(lambda writer: writer.delete(keys))

    async def list(self, query: ListQuery) -> ListPage:
        async with self._existing() as opened:
            return ListPage([], [], None) if opened is None else await list_page(opened.scan, query)

    async def delete_versions(self, versions: Sequence[tuple[str, str]]) -> int:
        async with self._existing() as opened:
            if opened is None:
                return 0
            return await opened.committer.commit(lambda writer: writer.delete_versions(versions))

    async def change_storage_class(self, versions: Sequence[tuple[str, str]], storage_class: str) -> None:
        async with self._existing() as opened:
            if opened is not None:
                await opened.committer.commit(lambda writer: writer.change_storage_class(versions, storage_class))

    async def cursor_secret(self) -> bytes:
        async with self._existing() as opened:
            return b"" if opened is None else opened.reader.cursor_secret()

    async def usage(self) -> Usage:
        async with self._existing() as opened:
            return Usage() if opened is None else opened.reader.usage()

    async def settings(self) -> BucketSettings:
        async with self._existing() as opened:
            return BucketSettings() if opened is None else opened.settings

    async def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        async with self._made() as opened:
            settings = await opened.committer.commit(lambda writer: writer.change_settings(change))
            opened.settings = opened.reader.settings()  # as committed: two changes may come back in any order
            return settings

    async def create_upload(self, upload: UploadRecord, forget_before_ms: int) -> None:
        async with self._made() as opened:
            await opened.committer.commit(lambda writer: writer.create_upload(upload, forget_before_ms))

    async def list_uploads(self, query: UploadQuery) -> Sequence[UploadRecord]:
        async with self._existing() as opened:
            return [] if opened is None else opened.reader.list_uploads(query)

    async def list_parts(self, upload_id: str, after: int, limit: int) -> Sequence[PartRecord]:
        async with self._existing() as opened:
            return [] if opened is None else opened.reader.list_parts(upload_id, after, limit)

    async def find_upload(self, upload_id: str) -> UploadRecord | None:
        async with self._existing() as opened:
            return None if opened is None else opened.reader.find_upload(upload_id)

    async def put_part(self, upload_id: str, part: PartRecord, body: StagedBody) -> bool:
        if isinstance(body, _InlineBody):
            # A small last part; parts are always files, so that completing copies nothing.
            body = await self._stage_file(BytesStream(body.data), body.size, ())
        assert isinstance(body, _FileBody)
        file, file_bytes = body.name, body.size
        with storage_errors(self._name):
            return await body.opened.committer.commit(
                lambda writer: writer.put_part(upload_id, part, file, file_bytes), body.settle
            )

    async def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        async with self._existing() as opened:
            if opened is None:
                return None
            return await opened.committer.commit(lambda writer: writer.complete_upload(upload_id, assemble))

    async def abort_upload(self, upload_id: str) -> None:
        async with self._existing() as opened:
            if opened is not None:
                await opened.committer.commit(lambda writer: writer.abort_upload(upload_id))

    async def tidy(self) -> int:
        async with self._existing() as opened:
            if opened is None:
                return 0
            await opened.committer.commit(IndexWriter.give_back_space)
            try:
                return await opened.threads.on_body(opened.remove_orphans)
            except FileNotFoundError as error:
                if opened.closed:  # deleted, and its folder with it
                    raise BucketGone from error
                raise


def _stream(opened: OpenBucket, placement: Placement, window: Window) -> ByteStream:
    """The bytes of a window, wherever they lie. Pins the files."""
    if placement.file is not None:
        # All of it that is wanted; that the file has so much is whoever chose the window's to know.
        segments: Sequence[Segment] = ((placement.file, window.offset + window.length),)
    elif placement.segments is not None:
        segments = placement.segments
    else:
        return BytesStream((placement.data or b"")[window.offset : window.offset + window.length])
    names: list[str] = []
    slices: list[Slice] = []
    position, end = 0, window.offset + window.length
    for name, size in segments:
        first, last = max(window.offset - position, 0), min(end - position, size)
        if first < last:
            names.append(name)
            slices.append((opened.shelf.path(name), first, last - first))
        position += size
        if position >= end:
            break
    if not slices:
        return BytesStream(b"")
    opened.pin(names)
    closed = partial(opened.unpin, names)
    if len(slices) == 1:
        return BodyFileStream(slices[0], opened.threads, closed)
    return SegmentedStream(slices, opened.threads, closed)
