"""The engine that keeps everything in memory: the fake for tests, and the shortest statement of what an engine does."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tenantry.errors import StreamError
from tenantry.services.r2.checksums import digest_of
from tenantry.services.r2.engine import Assembly, Bucket, Choose, PutRequest, StagedBody
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import READ_BYTES_MAX
from tenantry.services.r2.listing import list_page
from tenantry.services.r2.model import (
    ListPage,
    ListQuery,
    ObjectRecord,
    PartRecord,
    UploadRecord,
    UploadState,
    Window,
    key_bytes,
)
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

    async def delete_bucket(self, name: str) -> None:
        self._buckets.pop(name, None)

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

    async def stage(self, stream: ByteStream, size: int, algorithms: Collection[str]) -> StagedBody:
        contents = self._contents
        chunks: list[bytes] = []
        received = 0
        while chunk := await stream.read(READ_BYTES_MAX):
            chunks.append(chunk)
            received += len(chunk)
            if received > size:
                break
        if received != size:
            raise StreamError(f"{received} bytes where {size} were announced")
        return _MemoryBody(contents, b"".join(chunks), algorithms)

    async def put(self, request: PutRequest, body: StagedBody) -> ObjectRecord | None:
        own = self._own(body)
        found = self._contents.objects.get(key_bytes(request.key))
        if not request.conditions.holds(found and found[0]):
            return None
        record = ObjectRecord(
            request.key, request.version, own.size, request.etag, request.uploaded_ms, request.metadata
        )
        self._contents.store(record, own.data)
        return record

    async def delete(self, keys: Sequence[str]) -> None:
        contents = self._contents
        for key in map(key_bytes, keys):
            if contents.objects.pop(key, None) is not None:
                del contents.order[bisect.bisect_left(contents.order, key)]

    async def list(self, query: ListQuery) -> ListPage:
        return await list_page(self._contents.scan, query)

    async def create_upload(self, upload: UploadRecord, expired_before_ms: int) -> None:
        uploads = self._contents.uploads
        for upload_id in [known for known, old in uploads.items() if old.record.created_ms < expired_before_ms]:
            del uploads[upload_id]
        uploads[upload.upload_id] = _Upload(upload)

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
        record = ObjectRecord(
            upload.record.key, whole.version, len(data), whole.etag, whole.uploaded_ms, whole.metadata
        )
        self._contents.store(record, data)
        self._end(upload, UploadState.COMPLETED)
        return record

    async def abort_upload(self, upload_id: str) -> None:
        upload = self._open_upload(upload_id)
        if upload is not None:
            self._end(upload, UploadState.ABORTED)

    def _end(self, upload: _Upload, state: UploadState) -> None:
        upload.record = replace(upload.record, state=state)
        upload.parts.clear()
