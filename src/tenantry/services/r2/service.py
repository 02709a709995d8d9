"""R2's rules, written once, above engines: what a call means, in which order it is checked, which error it gives."""

from __future__ import annotations

import base64
import binascii
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from tenantry.errors import StreamError
from tenantry.services.r2.checksums import Checksum
from tenantry.services.r2.engine import Assembly, Bucket, PutRequest, StagedBody
from tenantry.services.r2.errors import checksum_mismatch, r2_error, type_error
from tenantry.services.r2.limits import DELETE_KEYS_MAX, KEY_BYTES_MAX, PUT_BYTES_MAX, UPLOAD_DAYS_MAX
from tenantry.services.r2.listing import after_entry, successor
from tenantry.services.r2.model import (
    ListQuery,
    ObjectRecord,
    PartRecord,
    UploadRecord,
    UploadState,
    Window,
    key_bytes,
)
from tenantry.services.r2.multipart import choose_parts, joined_metadata, multipart_etag
from tenantry.services.r2.options import GetOptions, ListOptions, PutOptions
from tenantry.streams import BytesStream, ByteStream

__all__ = ["BucketRules", "Clock", "ObjectPage"]

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


class BucketRules:
    """One bucket under R2's rules. Keys, options and tokens have been through `options.py`."""

    __slots__ = ("_bucket", "_clock")

    def __init__(self, bucket: Bucket, clock: Clock = system_clock) -> None:
        self._bucket = bucket
        self._clock = clock

    async def head(self, key: str) -> ObjectRecord | None:
        return await self._bucket.head(key)

    async def get(self, key: str, options: GetOptions) -> tuple[ObjectRecord, Window | None, ByteStream | None] | None:
        """The conditions come before the range: where they fail there is neither window nor body."""

        def choose(record: ObjectRecord) -> Window | None:
            if not options.conditions.holds(record):
                return None
            if options.part is None:
                return options.range.window("get", record.size)
            window = record.part_window(options.part)
            if window is None:
                raise r2_error("get", 10039)
            return window

        return await self._bucket.get(key, choose)

    async def put(self, key: str, value: bytes | ByteStream, options: PutOptions) -> ObjectRecord | None:
        """The body is consumed before checksum and conditions are looked at, in that order."""
        body = await self._take_in("put", value, options.checksums)
        checksums = {"md5": body.digests["md5"]}
        checksums |= {one.algorithm: body.digests[one.algorithm] for one in options.checksums if one.stored}
        request = PutRequest(
            key=key,
            version=_version(),
            etag=body.digests["md5"].hex(),
            uploaded_ms=self._clock(),
            metadata=msgspec.structs.replace(options.metadata, checksums=checksums),
            conditions=options.conditions,
        )
        return await self._bucket.put(request, body)

    async def _take_in(self, action: str, value: bytes | ByteStream, checksums: Sequence[Checksum]) -> StagedBody:
        """The body, whole, and as its sender says it is."""
        stream = BytesStream(value) if isinstance(value, bytes) else value
        if stream.length is None:
            raise type_error(_LENGTH_UNKNOWN)
        if stream.length > PUT_BYTES_MAX:
            raise r2_error(action, 100100)
        try:
            body = await self._bucket.stage(stream, stream.length, {one.algorithm for one in checksums})
        except StreamError as error:
            raise r2_error(action, 10013) from error
        try:
            _compare(action, checksums, body.digests)
        except BaseException:
            await body.discard()
            raise
        return body

    async def delete(self, keys: Sequence[str]) -> None:
        if len(keys) > DELETE_KEYS_MAX:
            raise r2_error("delete", 10022)
        if keys:
            await self._bucket.delete(keys)

    async def list(self, options: ListOptions) -> ObjectPage:
        start = b""
        if options.cursor is not None:
            decoded = _decode_cursor(options.cursor)
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
        cursor = None if page.next_start is None else _encode_cursor(page.next_start)
        return ObjectPage(page.objects, page.prefixes, cursor)

    async def create_upload(self, key: str, options: PutOptions) -> str:
        now = self._clock()
        upload = UploadRecord(upload_id=secrets.token_urlsafe(32), key=key, created_ms=now, metadata=options.metadata)
        await self._bucket.create_upload(upload, now - UPLOAD_DAYS_MAX * _DAY_MS)
        return upload.upload_id

    async def upload_part(
        self,
        key: str,
        upload_id: str,
        number: int,
        value: bytes | ByteStream,
        checksums: tuple[Checksum, ...] = (),
    ) -> PartRecord:
        """That the upload is there is checked before the part's gigabytes are taken in, and again after."""
        upload = await self.upload(key, upload_id)
        if upload is None:
            raise r2_error("uploadPart", 10024)
        algorithm = upload.checksum_algorithm
        if algorithm is not None and algorithm not in {one.algorithm for one in checksums}:
            checksums += (Checksum(algorithm),)
        body = await self._take_in("uploadPart", value, checksums)
        checksum = b"" if algorithm is None else body.digests[algorithm]
        part = PartRecord(number, secrets.token_hex(32), body.digests["md5"], body.size, checksum)
        if not await self._bucket.put_part(upload_id, part, body):
            raise r2_error("uploadPart", 10024)
        return part

    async def upload(self, key: str, upload_id: str) -> UploadRecord | None:
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

        record = await self._bucket.complete_upload(upload_id, assemble)
        if record is None:
            raise r2_error(action, 10024)
        return record

    async def abort_upload(self, key: str, upload_id: str) -> None:
        if await self._find_upload(key, upload_id) is None:
            raise r2_error("abortMultipartUpload", 10001)
        await self._bucket.abort_upload(upload_id)

    async def _find_upload(self, key: str, upload_id: str) -> UploadRecord | None:
        upload = await self._bucket.find_upload(upload_id)
        return upload if upload is not None and upload.key == key else None


def _compare(action: str, checksums: Sequence[Checksum], digests: Mapping[str, bytes]) -> None:
    for one in checksums:
        expected = one.expected() if callable(one.expected) else one.expected
        actual = digests[one.algorithm]
        if expected is None or expected == actual:
            continue
        if one.mismatch is not None:
            raise one.mismatch(expected, actual)
        raise checksum_mismatch(action, one.algorithm, expected, actual)


def _version() -> str:
    return secrets.token_hex(16)


def _encode_cursor(position: bytes) -> str:
    return base64.urlsafe_b64encode(position).decode()


def _decode_cursor(cursor: str) -> bytes | None:
    """A position in this bucket's own keys, whoever made it up: it opens nothing, so it needs no signature."""
    try:
        position = base64.b64decode(cursor, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return position if len(position) <= len(successor(bytes(KEY_BYTES_MAX))) else None
