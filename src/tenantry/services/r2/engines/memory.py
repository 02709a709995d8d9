"""The engine that keeps everything in memory: the fake for tests, and the shortest statement of what an engine does."""

from __future__ import annotations

import bisect
import secrets
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from tenantry.errors import StreamError
from tenantry.services.r2.checksums import digest_of
from tenantry.services.r2.engine import Assembly, Bucket, Choose, Destination, PutRequest, StagedBody
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import READ_BYTES_MAX
from tenantry.services.r2.listing import list_page
from tenantry.services.r2.model import (
    ListPage,
    ListQuery,
    ObjectRecord,
    PartRecord,
    UploadQuery,
    UploadRecord,
    UploadState,
    Usage,
    Window,
    key_bytes,
)
from tenantry.services.r2.settings import BucketSettings
from tenantry.streams import BytesStream, ByteStream

__all__ = ["MemoryEngine"]


@dataclass
class _Upload:
    record: UploadRecord
    parts: dict[int, tuple[PartRecord, bytes]] = field(default_factory=dict)


@dataclass
class _Contents:
    """Of one bucket. `order` is the keys of `objects`, sorted."""

    objects: dict[bytes, tuple[ObjectRecord, bytes]] = field(default_factory=dict)
    order: list[bytes] = field(default_factory=list)
    uploads: dict[str, _Upload] = field(default_factory=dict)
    settings: BucketSettings = field(default_factory=BucketSettings)
    cursor_secret: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def store(self, record: ObjectRecord, data: bytes) -> None:
        key = key_bytes(record.key)
        if key not in self.objects:
            bisect.insort(self.order, key)
        self.objects[key] = (record, data)

    def scan(self, position: bytes) -> Generator[tuple[bytes, ObjectRecord], None, None]:
        for key in self.order[bisect.bisect_left(self.order, position) :]:
            yield key, self.objects[key][0]


class MemoryEngine:
    """Buckets in a dict."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Contents] = {}
        self._closed = False

    def bucket(self, name: str) -> Bucket:
        return _MemoryBucket(self, name)

    async def bucket_names(self) -> Sequence[str]:
        return list(self._buckets)

    async def delete_bucket(self, name: str, *, if_empty: bool = False) -> bool:
        if if_empty and name in self._buckets and self._buckets[name].objects:
            return False
        self._buckets.pop(name, None)
        return True

    async def aclose(self) -> None:
        self._closed = True

    def contents(self, name: str) -> _Contents:
        if self._closed:
            raise BucketGone
        return self._buckets.setdefault(name, _Contents())


class _MemoryBody:
    """A staged body, for the contents that the bucket had at that time."""

    def __init__(self, contents: _Contents, data: bytes, algorithms: Collection[str]) -> None:
        self.contents = contents
        self.data = data
        self.size = len(data)
        self.digests: Mapping[str, bytes] = {name: digest_of(name, data) for name in {"md5", *algorithms}}

    async def discard(self) -> None:
        self.data = b""


class _MemoryBucket:
    def __init__(self, engine: MemoryEngine, name: str) -> None:
        self._engine = engine
        self._name = name

    @property
    def _contents(self) -> _Contents:
        return self._engine.contents(self._name)

    def _own(self, body: StagedBody) -> _MemoryBody:
        assert isinstance(body, _MemoryBody)
        if body.contents is not self._contents:
            raise BucketGone
        return body

    async def head(self, key: str) -> ObjectRecord | None:
        found = self._contents.objects.get(key_bytes(key))
        return None if found is None else found[0]

    async def get(self, key: str, choose: Choose) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        found = self._contents.objects.get(key_bytes(key))
        if found is None:
            return None
        record, data = found
        window = choose(record)
        if window is None:
            return record, None, None
        return record, window, BytesStream(data[window.offset : window.offset + window.length])

    async def stage(
        self,
        stream: ByteStream,
        size: int | None,
        algorithms: Collection[str],
        destination: Destination | None = None,
    ) -> StagedBody:
        contents = self._contents
        chunks: list[bytes] = []
        received = 0
        while chunk := await stream.read(READ_BYTES_MAX):
            chunks.append(chunk)
            received += len(chunk)
            if size is not None and received > size:
                break
        if size is not None and received != size:
            raise StreamError(f"{received} bytes where {size} were announced")
        return _MemoryBody(contents, b"".join(chunks), algorithms)

    async def put(self, request: PutRequest, body: StagedBody) -> ObjectRecord | None:
        own = self._own(body)
        found = self._contents.objects.get(key_bytes(request.key))
        if not request.conditions.holds(found and found[0]):
            return None
        record = ObjectRecord(
            request.key, request.version, request.size, request.etag, request.uploaded_ms, request.metadata
        )
        self._contents.store(record, own.data)
        return record

    async def delete(self, keys: Sequence[str]) -> None:
        contents = self._contents
        for key in map(key_bytes, keys):
            if contents.objects.pop(key, None) is not None:
                del contents.order[bisect.bisect_left(contents.order, key)]

    def _same_versions(self, versions: Sequence[tuple[str, str]]) -> list[str]:
        objects = self._contents.objects
        return [
            key for key, version in versions if (found := objects.get(key_bytes(key))) and found[0].version == version
        ]

    async def delete_versions(self, versions: Sequence[tuple[str, str]]) -> int:
        victims = self._same_versions(versions)
        await self.delete(victims)
        return len(victims)

    async def change_storage_class(self, versions: Sequence[tuple[str, str]], storage_class: str) -> None:
        contents = self._contents
        for key in self._same_versions(versions):
            record, data = contents.objects[key_bytes(key)]
            metadata = msgspec.structs.replace(record.metadata, storage_class=storage_class)
            contents.store(replace(record, metadata=metadata), data)

    async def list(self, query: ListQuery) -> ListPage:
        return await list_page(self._contents.scan, query)

    async def cursor_secret(self) -> bytes:
        return self._contents.cursor_secret

    async def usage(self) -> Usage:
        contents = self._contents
        uploads = [upload for upload in contents.uploads.values() if upload.record.state is UploadState.OPEN]
        return Usage(
            objects=len(contents.objects),
            object_bytes=sum(record.size for record, _ in contents.objects.values()),
            uploads=len(uploads),
            upload_bytes=sum(part.size for upload in uploads for part, _ in upload.parts.values()),
        )

    async def settings(self) -> BucketSettings:
        return self._contents.settings

    async def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        contents = self._contents
        contents.settings = change(contents.settings)
        return contents.settings

    async def create_upload(self, upload: UploadRecord, forget_before_ms: int) -> None:
        uploads = self._contents.uploads
        for upload_id, old in list(uploads.items()):
            if old.record.state is not UploadState.OPEN and old.record.created_ms < forget_before_ms:
                del uploads[upload_id]
        uploads[upload.upload_id] = _Upload(upload)

    async def list_uploads(self, query: UploadQuery) -> Sequence[UploadRecord]:
        found = sorted(
            (key_bytes(upload.record.key), upload.record.upload_id)
            for upload in self._contents.uploads.values()
            if upload.record.state is UploadState.OPEN
        )
        wanted = [place for place in found if place > query.after and place[0].startswith(query.prefix)]
        return [self._contents.uploads[upload_id].record for _, upload_id in wanted[: query.limit]]

    async def list_parts(self, upload_id: str, after: int, limit: int) -> Sequence[PartRecord]:
        upload = self._open_upload(upload_id)
        numbers = [] if upload is None else sorted(number for number in upload.parts if number > after)
        return [] if upload is None else [upload.parts[number][0] for number in numbers[:limit]]

    async def find_upload(self, upload_id: str) -> UploadRecord | None:
        upload = self._contents.uploads.get(upload_id)
        return None if upload is None else upload.record

    def _open_upload(self, upload_id: str) -> _Upload | None:
        upload = self._contents.uploads.get(upload_id)
        return upload if upload is not None and upload.record.state is UploadState.OPEN else None

    async def put_part(self, upload_id: str, part: PartRecord, body: StagedBody) -> bool:
        own = self._own(body)
        upload = self._open_upload(upload_id)
        if upload is None:
            return False
        upload.parts[part.number] = (part, own.data)
        return True

    async def complete_upload(
        self, upload_id: str, assemble: Callable[[Mapping[int, PartRecord]], Assembly]
    ) -> ObjectRecord | None:
        upload = self._open_upload(upload_id)
        if upload is None:
            return None
        whole = assemble({number: part for number, (part, _) in upload.parts.items()})
        data = b"".join(upload.parts[part.number][1] for part in whole.parts)
        size = sum(part.size for part in whole.parts)
        record = ObjectRecord(upload.record.key, whole.version, size, whole.etag, whole.uploaded_ms, whole.metadata)
        self._contents.store(record, data)
        self._end(upload, UploadState.COMPLETED)
        return record

    async def abort_upload(self, upload_id: str) -> None:
        upload = self._open_upload(upload_id)
        if upload is not None:
            self._end(upload, UploadState.ABORTED)

    async def tidy(self) -> int:
        return 0

    def _end(self, upload: _Upload, state: UploadState) -> None:
        upload.record = replace(upload.record, state=state)
        upload.parts.clear()
