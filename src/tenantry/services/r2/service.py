"""R2's rules, written once, above engines: what a call means, in which order it is checked, which error it gives."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tenantry.errors import StreamError
from tenantry.services.quota import QuotaPassed
from tenantry.services.r2.checksums import Checksum
from tenantry.services.r2.cursor import open_cursor_untrusted, seal_cursor
from tenantry.services.r2.engine import Assembly, Bucket, Destination, PutRequest, StagedBody
from tenantry.services.r2.errors import QuotaExceeded, checksum_mismatch, r2_error, type_error
from tenantry.services.r2.lifecycle import due_objects, due_uploads, object_prefixes
from tenantry.services.r2.limits import (
    DELETE_KEYS_MAX,
    ENDED_UPLOAD_DAYS,
    LIST_LIMIT_MAX,
    PUT_BYTES_MAX,
    SWEEP_CHECKS_PER_TURN,
    SWEEP_DELETES_PER_STEP,
)
from tenantry.services.r2.listing import after_entry, successor
from tenantry.services.r2.model import (
    DEFAULT_STORAGE_CLASS,
    ListQuery,
    ObjectMetadata,
    ObjectRecord,
    PartRecord,
    UploadQuery,
    UploadRecord,
    UploadState,
    Usage,
    Window,
    key_bytes,
)
from tenantry.services.r2.multipart import choose_parts, joined_metadata, multipart_etag
from tenantry.services.r2.options import GetOptions, ListOptions, PutOptions
from tenantry.services.r2.settings import BucketSettings
from tenantry.services.r2.ssec import (
    Cipher,
    OpeningStream,
    SealingStream,
    check_object_key,
    check_part_key,
    new_encryption,
    sealed_window,
)
from tenantry.streams import BytesStream, ByteStream

__all__ = ["BucketRules", "Clock", "ObjectPage", "Swept", "system_clock"]

Clock = Callable[[], int]
"""Milliseconds since 1970."""

_DAY_MS = 86_400_000
_LENGTH_UNKNOWN = (
    "Provided readable stream must have a known length (request/response body or readable half of FixedLengthStream)"
)


def system_clock() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


class ObjectPage(msgspec.Struct, frozen=True):
    """A page of a listing as a caller sees it: `cursor` is None on the last one."""

    objects: list[ObjectRecord]
    prefixes: list[str]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep of a bucket did, in numbers."""

    expired_objects: int = 0
    cooled_objects: int = 0
    aborted_uploads: int = 0
    orphaned_bodies: int = 0


class BucketRules:
    """One bucket under R2's rules. Keys, options and tokens have been through `options.py`."""

    __slots__ = ("_bucket", "_clock")

    def __init__(self, bucket: Bucket, clock: Clock = system_clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def head(self, key: str) -> ObjectRecord | None:
        return await self._bucket.head(key)

    async def get(self, key: str, options: GetOptions) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        """The conditions come before the customer's key, and that before the range: where they fail there is neither
        window nor body."""

        def choose(record: ObjectRecord) -> Window | None:
            if not options.conditions.holds(record):
                return None
            check_object_key("get", record, options.ssec_key)
            window = _wanted(options, record)
            encryption = record.metadata.encryption
            return window if encryption is None else sealed_window(encryption, record.size, window)

        found = await self._bucket.get(key, choose)
        if found is None:
            return None
        record, window, stream = found
        encryption = record.metadata.encryption
        if stream is None or encryption is None or options.ssec_key is None:
            return record, window, stream
        plain = _wanted(options, record)
        cipher = Cipher(options.ssec_key, encryption)
        return record, plain, OpeningStream(stream, cipher, encryption, record.size, plain)

    async def put(
        self, key: str, value: bytes | ByteStream, options: PutOptions, *, any_length: bool = False
    ) -> ObjectRecord | None:
        """The body is consumed before checksum and conditions are looked at, in that order.

        `any_length`: a stream may be of unknown length, which a Worker's may not; then not under a customer's key.
        """
        metadata = await self._complete(options)
        size: int | None = None
        if any_length and options.ssec_key is None and not isinstance(value, bytes) and value.length is None:
            value = _BoundedStream(value)
        else:
            size = _known_length("put", value)
        cipher = None
        if options.ssec_key is not None and metadata.encryption is not None:
            cipher = Cipher(options.ssec_key, metadata.encryption)
        body, digests = await self._take_in("put", value, Destination(key, size), options.checksums, cipher)
        checksums = {"md5": digests["md5"]}
        checksums |= {one.algorithm: digests[one.algorithm] for one in options.checksums if one.stored}
        request = PutRequest(
            key=key,
            version=_version(),
            size=body.size if size is None else size,
            etag=digests["md5"].hex(),
            uploaded_ms=self._clock(),
            metadata=msgspec.structs.replace(metadata, checksums=checksums),
            conditions=options.conditions,
        )
        return await self._bucket.put(request, body)

    async def _complete(self, options: PutOptions) -> ObjectMetadata:
        """The metadata of a new object or upload, with what the caller left to the bucket, or has no say in."""
        storage_class = options.metadata.storage_class
        if storage_class == DEFAULT_STORAGE_CLASS:
            storage_class = (await self._bucket.settings()).storage_class
        return msgspec.structs.replace(
            options.metadata,
            storage_class=storage_class,
            checksums={},
            encryption=None if options.ssec_key is None else new_encryption(options.ssec_key),
        )

    async def _take_in(
        self,
        action: str,
        value: bytes | ByteStream,
        destination: Destination,
        checksums: Sequence[Checksum],
        cipher: Cipher | None,
    ) -> tuple[StagedBody, Mapping[str, bytes]]:
        """The body, sealed if there is a cipher, and the digests of what it was before: as its sender says they are."""
        algorithms = {one.algorithm for one in checksums}
        stream = BytesStream(value) if isinstance(value, bytes) else value
        size = destination.size
        try:
            if cipher is None:
                body = await self._bucket.stage(stream, size, algorithms, destination)
                digests = body.digests
            else:
                assert size is not None
                sealing = SealingStream(stream, size, cipher, algorithms)
                assert sealing.length is not None
                body = await self._bucket.stage(sealing, sealing.length, (), destination)
                digests = sealing.digests
        except StreamError as error:
            raise r2_error(action, 10013) from error
        except QuotaPassed as error:
            raise QuotaExceeded(action, error) from error
        try:
            _compare(action, checksums, digests)
        except BaseException:
            await body.discard()
            raise
        return body, digests

    async def delete(self, keys: Sequence[str]) -> None:
        if len(keys) > DELETE_KEYS_MAX:
            raise r2_error("delete", 10022)
        if keys:
            await self._bucket.delete(keys)

    async def list(self, options: ListOptions) -> ObjectPage:
        start = b""
        if options.cursor is not None:
            decoded = open_cursor_untrusted(options.cursor, await self._bucket.cursor_secret())
            if decoded is None:  # R2 answers so, rather than with an error
                return ObjectPage([], [], None)
            start = decoded
        if options.start_after is not None:
            start = max(start, successor(key_bytes(options.start_after)))
        if options.marker is not None:
            start = max(start, after_entry(options.marker, options.prefix, options.delimiter))
        page = await self._bucket.list(
            ListQuery(
                prefix=key_bytes(options.prefix),
                delimiter=key_bytes(options.delimiter),
                start=start,
                limit=options.limit,
                include_metadata=bool(options.include),
            )
        )
        cursor = None
        if page.next_start is not None:
            cursor = seal_cursor(page.next_start, await self._bucket.cursor_secret())
        return ObjectPage(page.objects, page.prefixes, cursor)

    async def create_upload(self, key: str, options: PutOptions) -> str:
        now = self._clock()
        metadata = await self._complete(options)
        metadata = msgspec.structs.replace(metadata, checksums={one.algorithm: b"" for one in options.checksums})
        upload = UploadRecord(upload_id=secrets.token_urlsafe(32), key=key, created_ms=now, metadata=metadata)
        await self._bucket.create_upload(upload, now - ENDED_UPLOAD_DAYS * _DAY_MS)
        return upload.upload_id

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        value: bytes | ByteStream,
        *,
        checksums: tuple[Checksum, ...] = (),
        ssec_key: bytes | None = None,
    ) -> PartRecord:
        """That the upload is there is checked before the part's gigabytes are taken in, and again after."""
        action = "uploadPart"
        upload = await self.open_upload(key, upload_id)
        if upload is None:
            raise r2_error(action, 10024)
        encryption = upload.metadata.encryption
        check_part_key(action, encryption, ssec_key)
        size = _known_length(action, value)
        cipher = None if encryption is None or ssec_key is None else Cipher(ssec_key, encryption)
        algorithm = upload.checksum_algorithm
        if algorithm is not None and algorithm not in {one.algorithm for one in checksums}:
            checksums += (Checksum(algorithm),)
        body, digests = await self._take_in(action, value, Destination(key, size, upload_id, number), checksums, cipher)
        checksum = b"" if algorithm is None else digests[algorithm]
        part = PartRecord(number, secrets.token_hex(32), digests["md5"], size, self._clock(), checksum)
        if not await self._bucket.put_part(upload_id, part, body):
            raise r2_error(action, 10024)
        return part

    async def open_upload(self, key: str, upload_id: str) -> UploadRecord | None:
        """The open upload of that key and id."""
        upload = await self._find_upload(key, upload_id)
        return upload if upload is not None and upload.state is UploadState.OPEN else None

    async def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        part_checksums: Mapping[int, bytes] | None = None,
        checksum: bytes | None = None,
    ) -> ObjectRecord:
        """`part_checksums` (by number) and `checksum` are the caller's, of parts and of the whole."""
        action = "completeMultipartUpload"
        upload = await self._find_upload(key, upload_id)
        if upload is None:
            raise r2_error(action, 10001)
        if upload.state is not UploadState.OPEN:
            raise r2_error(action, 10024)

        def assemble(stored: Mapping[int, PartRecord]) -> Assembly:
            chosen = choose_parts(parts, stored)
            metadata = joined_metadata(upload, chosen, part_checksums or {}, checksum)
            return Assembly(chosen, metadata, multipart_etag(chosen), _version(), self._clock())

        try:
            record = await self._bucket.complete_upload(upload_id, assemble)
        except QuotaPassed as error:  # it is one object more
            raise QuotaExceeded(action, error) from error
        if record is None:
            raise r2_error(action, 10024)
        return record

    async def abort_upload(self, key: str, upload_id: str) -> None:
        if await self._find_upload(key, upload_id) is None:
            raise r2_error("abortMultipartUpload", 10001)
        await self._bucket.abort_upload(upload_id)

    async def list_uploads(self, query: UploadQuery) -> Sequence[UploadRecord]:
        """Open uploads: not for Workers, whose API has no such call, but for the S3 endpoint and the sweep."""
        return await self._bucket.list_uploads(query)

    async def list_parts(self, key: str, upload_id: str, after: int, limit: int) -> Sequence[PartRecord]:
        """The parts of an open upload with a number above `after`. Raises BindingError (10024)."""
        if await self.open_upload(key, upload_id) is None:
            raise r2_error("listParts", 10024)
        return await self._bucket.list_parts(upload_id, after, limit)

    async def usage(self) -> Usage:
        return await self._bucket.usage()

    async def settings(self) -> BucketSettings:
        return await self._bucket.settings()

    async def change_settings(self, change: Callable[[BucketSettings], BucketSettings]) -> BucketSettings:
        """`change` gets the settings and gives the new ones; what it raises is raised here and changes nothing."""
        return await self._bucket.change_settings(change)

    async def sweep(self) -> Swept:
        """Carries out the bucket's lifecycle as of now, and tidies what it keeps on disk."""
        now = self._clock()
        rules = (await self._bucket.settings()).lifecycle
        expired = cooled = aborted = 0
        step = max(SWEEP_CHECKS_PER_TURN // max(len(rules), 1), 1)
        for prefix in object_prefixes(rules):
            query = ListQuery(prefix=key_bytes(prefix), limit=SWEEP_DELETES_PER_STEP)
            while True:
                page = await self._bucket.list(query)
                old: list[tuple[str, str]] = []
                cool: list[tuple[str, str]] = []
                for first in range(0, len(page.objects), step):
                    due = due_objects(rules, page.objects[first : first + step], now)
                    old += [(one.key, one.version) for one in due.expired]
                    cool += [(one.key, one.version) for one in due.cooled]
                    await asyncio.sleep(0)
                # By version: what was stored meanwhile under the same key is not old.
                if old:
                    expired += await self._bucket.delete_versions(old)
                if cool:
                    await self._bucket.change_storage_class(cool, "InfrequentAccess")
                    cooled += len(cool)
                if page.next_start is None:
                    break
                query = ListQuery(prefix=query.prefix, start=page.next_start, limit=query.limit)
        uploads = UploadQuery(limit=LIST_LIMIT_MAX)
        while found := await self._bucket.list_uploads(uploads):
            for first in range(0, len(found), step):
                for upload in due_uploads(rules, found[first : first + step], now):
                    await self._bucket.abort_upload(upload.upload_id)
                    aborted += 1
                await asyncio.sleep(0)
            uploads = UploadQuery(after=(key_bytes(found[-1].key), found[-1].upload_id), limit=uploads.limit)
        return Swept(expired, cooled, aborted, await self._bucket.tidy())

    async def _find_upload(self, key: str, upload_id: str) -> UploadRecord | None:
        upload = await self._bucket.find_upload(upload_id)
        return upload if upload is not None and upload.key == key else None


def _wanted(options: GetOptions, record: ObjectRecord) -> Window:
    """Raises BindingError (10039) for bytes or a part that the object does not have."""
    if options.part is None:
        return options.range.window("get", record.size)
    window = record.part_window(options.part)
    if window is None:
        raise r2_error("get", 10039)
    return window


def _compare(action: str, checksums: Sequence[Checksum], digests: Mapping[str, bytes]) -> None:
    for one in checksums:
        expected = one.expected() if callable(one.expected) else one.expected
        actual = digests[one.algorithm]
        if expected is None or expected == actual:
            continue
        if one.mismatch is not None:
            raise one.mismatch(expected, actual)
        raise checksum_mismatch(action, one.algorithm, expected, actual)


class _BoundedStream:
    """A stream of unknown length, which breaks off where it is longer than one put may be."""

    def __init__(self, source: ByteStream) -> None:
        self.length: int | None = None
        self._source = source
        self._left = PUT_BYTES_MAX

    async def read(self, size_max: int) -> bytes:
        data = await self._source.read(size_max)
        self._left -= len(data)
        if self._left < 0:
            raise r2_error("put", 100100)
        return data

    async def aclose(self) -> None:
        await self._source.aclose()


def _version() -> str:
    return secrets.token_hex(16)


def _known_length(action: str, value: bytes | ByteStream) -> int:
    """How many bytes are coming. Raises BindingError where nobody knows, or where it is too many."""
    length = len(value) if isinstance(value, bytes) else value.length
    if length is None:
        raise type_error(_LENGTH_UNKNOWN)
    if length > PUT_BYTES_MAX:
        raise r2_error(action, 100100)
    return length
