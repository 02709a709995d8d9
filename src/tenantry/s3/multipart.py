"""Uploads in parts: begun, filled, listed, completed, given up."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import replace
from itertools import pairwise
from typing import Final

from tenantry.errors import BindingError, StreamError
from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.copying import copy_source
from tenantry.s3.errors import error, from_binding
from tenantry.s3.limits import COMPLETE_XML_BYTES_MAX
from tenantry.s3.listing import encoder_of, limit_of
from tenantry.s3.metadata import checksum_fields, etag_of, metadata_options, storage_class_name
from tenantry.s3.objects import part_of
from tenantry.s3.payload import CHECKSUM_HEADER, algorithm_named, decoded_checksum
from tenantry.s3.ssec import ssec_headers, ssec_key_of
from tenantry.s3.times import iso_time
from tenantry.s3.xml import Element, Value
from tenantry.services.r2.checksums import CHECKSUM_BYTES, FULL_OBJECT, Checksum
from tenantry.services.r2.limits import PART_NUMBER_MAX
from tenantry.services.r2.model import PartRecord, UploadQuery, UploadRecord, key_bytes
from tenantry.services.r2.options import put_options, valid_token

__all__ = [
    "abort_upload",
    "complete_upload",
    "create_upload",
    "list_parts",
    "list_uploads",
    "upload_part",
    "upload_part_copy",
]

_DIGITS: Final = re.compile(r"\d{1,9}", re.ASCII)
_PART_FIELDS: Final = frozenset({"PartNumber", "ETag", *(f"Checksum{name.upper()}" for name in CHECKSUM_BYTES)})


def _upload_id(call: Call) -> str:
    return valid_token("s3", call.parameter("uploadId") or "", 10024)


def _checksum_type(algorithm: str) -> str:
    return "FULL_OBJECT" if algorithm in FULL_OBJECT else "COMPOSITE"


async def create_upload(call: Call) -> Answer:
    headers = call.request.headers
    key = call.key
    options = put_options("createMultipartUpload", metadata_options(headers))
    algorithm = None
    answer_headers: dict[str, str] = {}
    if (named := headers.get(f"{CHECKSUM_HEADER}algorithm")) is not None:
        algorithm = algorithm_named(named)
        kind = _checksum_type(algorithm)
        if headers.get(f"{CHECKSUM_HEADER}type", kind) != kind:
            raise error("InvalidRequest", f"The checksum algorithm {named} is of the type {kind} only.")
        answer_headers = {f"{CHECKSUM_HEADER}algorithm": named, f"{CHECKSUM_HEADER}type": kind}
    elif f"{CHECKSUM_HEADER}type" in headers:
        raise error("InvalidRequest", "x-amz-checksum-type needs an x-amz-checksum-algorithm.")
    checksums = () if algorithm is None else (Checksum(algorithm),)
    upload_id = await call.bucket.create_upload(
        key, replace(options, checksums=checksums, ssec_key=ssec_key_of(headers))
    )
    answer = xml_answer(
        "InitiateMultipartUploadResult", {"Bucket": call.request.bucket, "Key": key, "UploadId": upload_id}
    )
    upload = await call.bucket.open_upload(key, upload_id)
    answer.headers |= answer_headers | ssec_headers(None if upload is None else upload.metadata.encryption)
    return answer


async def _open_upload(call: Call) -> UploadRecord:
    upload = await call.bucket.open_upload(call.key, _upload_id(call))
    if upload is None:
        raise error("NoSuchUpload")
    return upload


def _number(call: Call) -> int:
    number = part_of(call)
    assert number is not None, "the operation has the parameter in its signature"
    return number


def _part_headers(upload: UploadRecord, part: PartRecord) -> dict[str, str]:
    headers = {"etag": f'"{part.etag}"', **ssec_headers(upload.metadata.encryption)}
    if upload.checksum_algorithm is not None:
        headers[f"{CHECKSUM_HEADER}{upload.checksum_algorithm}"] = base64.b64encode(part.checksum).decode()
    return headers


async def upload_part(call: Call) -> Answer:
    number = _number(call)
    upload = await _open_upload(call)
    sent, chosen = call.payload.checksum, upload.checksum_algorithm
    if sent is not None and chosen is not None and sent != chosen:
        raise error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {chosen}, actual checksum Type: {sent}",
        )
    if call.payload.length is None:
        raise error("MissingContentLength")
    try:
        part = await call.bucket.upload_part(
            call.key,
            upload.upload_id,
            number,
            call.payload,
            checksums=call.payload.checks,
            ssec_key=ssec_key_of(call.request.headers),
        )
    except (BindingError, StreamError) as failure:
        raise call.failure_of(failure) from failure
    return Answer(headers=_part_headers(upload, part))


async def upload_part_copy(call: Call) -> Answer:
    number = _number(call)
    upload = await _open_upload(call)
    async with copy_source(call) as (_, body):
        try:
            part = await call.bucket.upload_part(
                call.key, upload.upload_id, number, body, ssec_key=ssec_key_of(call.request.headers)
            )
        except BindingError as failure:
            raise from_binding(failure) from failure
        except StreamError as failure:  # the source's own bytes
            raise error("InternalError") from failure
    answer = xml_answer(
        "CopyPartResult",
        {"ETag": f'"{part.etag}"', "LastModified": iso_time(part.uploaded_ms), **_part_fields(upload, part)},
    )
    answer.headers |= ssec_headers(upload.metadata.encryption)
    return answer


def _part_fields(upload: UploadRecord, part: PartRecord) -> dict[str, Value]:
    algorithm = upload.checksum_algorithm
    return {} if algorithm is None else {f"Checksum{algorithm.upper()}": base64.b64encode(part.checksum).decode()}


async def complete_upload(call: Call) -> Answer:
    for name in ("if-match", "if-none-match"):
        if call.header(name) is not None:
            raise call.not_implemented_header(name)
    root = await call.xml("CompleteMultipartUpload", COMPLETE_XML_BYTES_MAX)
    upload = await _open_upload(call)
    numbers, checksums = _parts(root, upload.checksum_algorithm)
    size = call.header("x-amz-mp-object-size")
    if size is not None:
        await _check_size(call, upload, size, {number for number, _ in numbers})
    try:
        record = await call.bucket.complete_upload(
            call.key,
            upload.upload_id,
            numbers,
            part_checksums=checksums,
            checksum=_whole_checksum(call, upload.checksum_algorithm, len(numbers)),
        )
    except BindingError as failure:
        raise from_binding(failure) from failure
    answer = xml_answer(
        "CompleteMultipartUploadResult",
        {
            "Location": f"/{call.request.bucket}/{call.request.key}",
            "Bucket": call.request.bucket,
            "Key": call.request.key,
            "ETag": etag_of(record),
            **checksum_fields(record),
        },
    )
    answer.headers |= ssec_headers(record.metadata.encryption)
    return answer


def _parts(root: Element, algorithm: str | None) -> tuple[list[tuple[int, str]], dict[int, bytes]]:
    root.only({"Part"})
    if not 1 <= len(root.children) <= PART_NUMBER_MAX:
        raise error("MalformedXML")
    parts: list[tuple[int, str]] = []
    checksums: dict[int, bytes] = {}
    for part in root.children:
        part.only(_PART_FIELDS)
        number, etag = part.value("PartNumber") or "", part.value("ETag")
        if etag is None or not _DIGITS.fullmatch(number.strip()):
            raise error("MalformedXML")
        parts.append((int(number), valid_token("s3", etag.strip().strip('"'), 10025)))
        if algorithm is not None and (given := part.value(f"Checksum{algorithm.upper()}")) is not None:
            checksums[int(number)] = decoded_checksum(algorithm, given)
    if any(following <= number for (number, _), (following, _) in pairwise(parts)):
        raise error("InvalidPartOrder")
    return parts, checksums


async def _check_size(call: Call, upload: UploadRecord, given: str, numbers: set[int]) -> None:
    stored = await call.bucket.list_parts(call.key, upload.upload_id, 0, PART_NUMBER_MAX)
    if given != str(sum(part.size for part in stored if part.number in numbers)):
        raise error("InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed.")


def _whole_checksum(call: Call, algorithm: str | None, count: int) -> bytes | None:
    if algorithm is None:
        return None
    given = call.header(f"{CHECKSUM_HEADER}{algorithm}")
    return None if given is None else decoded_checksum(algorithm, given.removesuffix(f"-{count}"))


async def abort_upload(call: Call) -> Answer:
    upload = await _open_upload(call)
    await call.bucket.abort_upload(call.key, upload.upload_id)
    return Answer(204)


def _owner(call: Call) -> Value:
    return {"ID": call.directory.account_id, "DisplayName": call.directory.account_id}


async def list_parts(call: Call) -> Answer:
    upload = await _open_upload(call)
    limit = limit_of(call, "max-parts")
    marker = call.parameter("part-number-marker") or "0"
    if not _DIGITS.fullmatch(marker):
        raise error("InvalidArgument", "part-number-marker must be an integer")
    # One more than asked for says whether there is a next page.
    found = await call.bucket.list_parts(call.key, upload.upload_id, int(marker), limit + 1)
    parts = found[:limit]
    truncated = bool(limit) and len(found) > limit
    algorithm = upload.checksum_algorithm
    entries: list[Value] = [
        {
            "PartNumber": part.number,
            "LastModified": iso_time(part.uploaded_ms),
            "ETag": f'"{part.etag}"',
            "Size": part.size,
            **_part_fields(upload, part),
        }
        for part in parts
    ]
    return xml_answer(
        "ListPartsResult",
        {
            "Bucket": call.request.bucket,
            "Key": encoder_of(call)(call.request.key),
            "UploadId": upload.upload_id,
            "PartNumberMarker": int(marker),
            "NextPartNumberMarker": parts[-1].number if truncated else None,
            "MaxParts": limit,
            "IsTruncated": truncated,
            "Part": entries,
            "Initiator": _owner(call),
            "Owner": _owner(call),
            "StorageClass": storage_class_name(upload.metadata),
            "ChecksumAlgorithm": None if algorithm is None else algorithm.upper(),
            "ChecksumType": None if algorithm is None else _checksum_type(algorithm),
        },
    )


async def list_uploads(call: Call) -> Answer:
    prefix, delimiter = call.parameter("prefix") or "", call.parameter("delimiter") or ""
    key_marker, id_marker = call.parameter("key-marker") or "", call.parameter("upload-id-marker") or ""
    limit, encoded = limit_of(call, "max-uploads"), encoder_of(call)
    # Without an id the marker stands for all uploads of its key; no id of ours sorts behind this one.
    after = (key_bytes(key_marker), (id_marker or "\x7f") if key_marker else "")
    uploads: list[UploadRecord] = []
    prefixes: list[str] = []
    last: tuple[str, str] | None = None
    truncated = False
    while limit and not truncated:
        page = await call.bucket.list_uploads(UploadQuery(key_bytes(prefix), after, limit + 1))
        for upload in page:
            after = (key_bytes(upload.key), upload.upload_id)
            cut = upload.key.find(delimiter, len(prefix)) if delimiter else -1
            name = upload.key[: cut + len(delimiter)] if cut >= 0 else None
            # A prefix that a page ended with is not listed again.
            if name is not None and (prefixes[-1:] == [name] or key_marker.startswith(name)):
                last = (upload.key, upload.upload_id)
                continue
            if len(uploads) + len(prefixes) == limit:
                truncated = True
                break
            last = (upload.key, upload.upload_id)
            if name is None:
                uploads.append(upload)
            else:
                prefixes.append(name)
        if len(page) <= limit:
            break
        await asyncio.sleep(0)
    entries: list[Value] = [
        {
            "Key": encoded(upload.key),
            "UploadId": upload.upload_id,
            "Initiator": _owner(call),
            "Owner": _owner(call),
            "StorageClass": storage_class_name(upload.metadata),
            "Initiated": iso_time(upload.created_ms),
            "ChecksumAlgorithm": None if upload.checksum_algorithm is None else upload.checksum_algorithm.upper(),
            "ChecksumType": None if upload.checksum_algorithm is None else _checksum_type(upload.checksum_algorithm),
        }
        for upload in uploads
    ]
    folders: list[Value] = [{"Prefix": encoded(name)} for name in prefixes]
    return xml_answer(
        "ListMultipartUploadsResult",
        {
            "Bucket": call.request.bucket,
            "KeyMarker": encoded(key_marker),
            "UploadIdMarker": id_marker,
            "NextKeyMarker": encoded(last[0]) if truncated and last else None,
            "NextUploadIdMarker": last[1] if truncated and last else None,
            "Prefix": encoded(prefix),
            "Delimiter": encoded(delimiter) if delimiter else None,
            "EncodingType": call.parameter("encoding-type"),
            "MaxUploads": limit,
            "IsTruncated": truncated,
            "Upload": entries,
            "CommonPrefixes": folders,
        },
    )
