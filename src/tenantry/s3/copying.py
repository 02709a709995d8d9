"""CopyObject, and where UploadPartCopy takes its bytes from."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from tenantry.errors import BindingError, StreamError
from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.conditions import conditions_of
from tenantry.s3.errors import error, from_binding
from tenantry.s3.limits import COPY_BYTES_MAX
from tenantry.s3.metadata import checksum_fields, etag_of, metadata_options
from tenantry.s3.payload import CHECKSUM_HEADER, algorithm_named
from tenantry.s3.ssec import ssec_headers, ssec_key_of
from tenantry.s3.times import iso_time
from tenantry.services.r2.checksums import CHECKSUM_BYTES, Checksum
from tenantry.services.r2.model import ObjectMetadata, ObjectRecord
from tenantry.services.r2.options import GetOptions, put_options, valid_key
from tenantry.services.r2.ranges import WHOLE, RangeRequest
from tenantry.streams import ByteStream

__all__ = ["copy_object", "copy_source"]

_CHANGING: Final = frozenset({"x-amz-storage-class", "x-amz-server-side-encryption-customer-algorithm"})
_COPY_RANGE: Final = re.compile(r"bytes=(\d{1,18})-(\d{1,18})", re.ASCII)


def _source_of(call: Call) -> tuple[str, str]:
    """Bucket and key of `x-amz-copy-source`. Raises S3Error."""
    given, _, version = (call.header("x-amz-copy-source") or "").partition("?")
    if version and version != "versionId=null":
        raise call.not_implemented_version()
    try:
        text = unquote_to_bytes(given).decode().removeprefix("/")
    except UnicodeDecodeError:
        text = ""
    bucket, _, key = text.partition("/")
    if not bucket or not key:
        raise error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    return bucket, key


@asynccontextmanager
async def copy_source(call: Call) -> AsyncIterator[tuple[ObjectRecord, ByteStream]]:
    """The object that is copied from and the bytes that are wanted of it. Raises S3Error and BindingError."""
    name, key = _source_of(call)
    bucket = await call.other_bucket(name)
    conditions = conditions_of(call.request.headers, "x-amz-copy-source-")
    wanted = WHOLE
    if (given := call.header("x-amz-copy-source-range")) is not None:
        match = _COPY_RANGE.fullmatch(given)
        if match is None or int(match[2]) < int(match[1]):
            raise error("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last.")
        wanted = RangeRequest(offset=int(match[1]), length=int(match[2]) - int(match[1]) + 1)
    ssec_key = ssec_key_of(call.request.headers, "x-amz-copy-source-")
    found = await bucket.get(valid_key("get", key), GetOptions(conditions, wanted, ssec_key))
    if found is None:
        raise error("NoSuchKey")
    record, window, body = found
    if window is None or body is None:
        raise error("PreconditionFailed")
    try:
        if wanted.length is not None and window.length < wanted.length:
            raise error("InvalidRange", "The x-amz-copy-source-range lies outside of the source object.")
        if window.length > COPY_BYTES_MAX:
            raise error("InvalidRequest", "The specified copy source is larger than the maximum allowable size: 5 GiB.")
        yield record, body
    finally:
        await body.aclose()


async def copy_object(call: Call) -> Answer:
    headers = call.request.headers
    directive = headers.get("x-amz-metadata-directive", "COPY")
    if directive not in ("COPY", "REPLACE", "MERGE"):
        raise error("InvalidArgument", "Unknown metadata directive: use COPY, REPLACE or MERGE.")
    if "x-amz-copy-source-range" in headers:
        raise call.not_implemented_header("x-amz-copy-source-range")
    to_itself = _source_of(call) == (call.request.bucket, call.request.key)
    if to_itself and directive == "COPY" and not _CHANGING.intersection(headers):
        raise error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata or storage class.",
        )
    async with copy_source(call) as (source, body):
        options = put_options("put", metadata_options(headers))
        metadata = _metadata(directive, source, options.metadata)
        options = replace(
            options,
            metadata=metadata,
            conditions=conditions_of(headers, "cf-copy-destination-"),
            checksums=_checksums(call, source),
            ssec_key=ssec_key_of(headers),
        )
        try:
            record = await call.bucket.put(call.key, body, options)
        except BindingError as failure:
            raise from_binding(failure) from failure
        except StreamError as failure:  # the source's own bytes
            raise error("InternalError") from failure
    if record is None:
        raise error("PreconditionFailed")
    answer = xml_answer(
        "CopyObjectResult",
        {"ETag": etag_of(record), "LastModified": iso_time(record.uploaded_ms), **checksum_fields(record)},
    )
    answer.headers |= ssec_headers(record.metadata.encryption)
    return answer


def _metadata(directive: str, source: ObjectRecord, given: ObjectMetadata) -> ObjectMetadata:
    if directive == "REPLACE":
        return given
    http: dict[str, Any] = dict(source.metadata.http)
    custom = dict(source.metadata.custom)
    if directive == "MERGE":
        http |= given.http
        custom |= given.custom
    return ObjectMetadata(storage_class=given.storage_class, http=http, custom=custom)


def _checksums(call: Call, source: ObjectRecord) -> tuple[Checksum, ...]:
    """What was asked for, or what the source has: of the bytes as they are now, which are one part."""
    asked = call.header(f"{CHECKSUM_HEADER}algorithm")
    if asked is not None:
        return (Checksum(algorithm_named(asked)),)
    return tuple(Checksum(name) for name in CHECKSUM_BYTES if name in source.metadata.checksums)
