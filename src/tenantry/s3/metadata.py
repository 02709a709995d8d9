"""Headers of S3 to what R2 keeps beside an object, and back."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from typing import Any, Final

from tenantry.s3.answer import http_date
from tenantry.s3.errors import S3Error, not_implemented
from tenantry.s3.payload import CHECKSUM_HEADER
from tenantry.services.r2.checksums import CHECKSUM_BYTES, FULL_OBJECT
from tenantry.services.r2.model import ObjectMetadata, ObjectRecord

__all__ = [
    "checksum_fields",
    "checksum_headers",
    "etag_of",
    "metadata_options",
    "record_headers",
    "refuse_unsupported",
    "storage_class_name",
]

_META: Final = "x-amz-meta-"
_HTTP_HEADERS: Final = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "cacheControl": "cache-control",
}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_STORAGE_CLASSES: Final = {"STANDARD": "Standard", "STANDARD_IA": "InfrequentAccess"}
_STORAGE_CLASS_NAMES: Final = {ours: theirs for theirs, ours in _STORAGE_CLASSES.items()}

_HARMLESS: Final = {
    # What is always so here, and what many clients send without being asked.
    "x-amz-acl": frozenset({"private", "bucket-owner-full-control"}),
    "x-amz-server-side-encryption": frozenset({"AES256"}),
    "x-amz-bucket-object-lock-enabled": frozenset({"false"}),
    "x-amz-object-ownership": frozenset({"BucketOwnerEnforced"}),
}
_UNSUPPORTED: Final = (
    "x-amz-acl",
    "x-amz-bucket-object-lock-enabled",
    "x-amz-bypass-governance-retention",
    "x-amz-expected-bucket-owner",
    "x-amz-grant-full-control",
    "x-amz-grant-read",
    "x-amz-grant-read-acp",
    "x-amz-grant-write",
    "x-amz-grant-write-acp",
    "x-amz-mfa",
    "x-amz-object-lock-legal-hold",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-object-ownership",
    "x-amz-request-payer",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-server-side-encryption-bucket-key-enabled",
    "x-amz-server-side-encryption-context",
    "x-amz-source-expected-bucket-owner",
    "x-amz-tagging",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
)
"""Headers that R2 does not implement: to leave one out of account would store or show what was not meant."""


def refuse_unsupported(headers: Mapping[str, str]) -> None:
    """Raises S3Error (NotImplemented) in R2's words."""
    for name in _UNSUPPORTED:
        value = headers.get(name)
        if value is not None and value not in _HARMLESS.get(name, ()):
            raise not_implemented(f"Header '{name}' with value '{value[:128]}'")


def metadata_options(headers: Mapping[str, str]) -> dict[str, Any]:
    """What `services.r2.options.put_options` takes, from the headers of a PutObject. Raises S3Error."""
    http = {name: headers[name] for name in (*_HTTP_HEADERS.values(), "expires") if name in headers}
    if "content-encoding" in http:
        # It speaks of the transfer, not of the object.
        codings = [coding.strip() for coding in http["content-encoding"].split(",")]
        left = ",".join(coding for coding in codings if coding and coding.lower() != "aws-chunked")
        http["content-encoding"] = left
        if not left:
            del http["content-encoding"]
    custom = {
        name.removeprefix(_META): _decoded(value)
        for name, value in headers.items()
        if name.startswith(_META) and name != _META
    }
    options: dict[str, Any] = {"httpMetadata": {"headers": http}, "customMetadata": custom}
    storage_class = headers.get("x-amz-storage-class")
    if storage_class is not None:
        if storage_class not in _STORAGE_CLASSES:
            raise S3Error("InvalidStorageClass", 400, "The storage class you specified is not valid.")
        options["storageClass"] = _STORAGE_CLASSES[storage_class]
    return options


def _decoded(value: str) -> str:
    """R2 decodes RFC 2047, by which clients send what is not ASCII."""
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value


def _encoded(value: str) -> str:
    return value if value.isascii() else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def etag_of(record: ObjectRecord) -> str:
    return f'"{record.etag}"'


def storage_class_name(metadata: ObjectMetadata) -> str:
    return _STORAGE_CLASS_NAMES.get(metadata.storage_class, "STANDARD")


def record_headers(record: ObjectRecord) -> dict[str, str]:
    """What GetObject and HeadObject say of an object."""
    metadata = record.metadata
    headers = {
        "etag": etag_of(record),
        "last-modified": http_date(record.uploaded_ms),
        "accept-ranges": "bytes",
        "content-type": "application/octet-stream",
    }
    for name, value in metadata.http.items():
        if name in _HTTP_HEADERS:
            headers[_HTTP_HEADERS[name]] = str(value)
        elif isinstance(value, int):
            headers["expires"] = http_date(value)
    missing = 0
    for name, text in metadata.custom.items():
        if _TOKEN.fullmatch(name):
            headers[f"{_META}{name.lower()}"] = _encoded(text)
        else:  # a Worker may use names that no header can have
            missing += 1
    if missing:
        headers["x-amz-missing-meta"] = str(missing)
    if metadata.storage_class == "InfrequentAccess":
        headers["x-amz-storage-class"] = "STANDARD_IA"
    return headers


def _checksum_of(record: ObjectRecord) -> tuple[str, str, str] | None:
    """The checksum that came with an object: name, value, type. One at most, but for a Worker's own."""
    for name in CHECKSUM_BYTES:
        value = record.metadata.checksums.get(name)
        if value is None:
            continue
        text = base64.b64encode(value).decode()
        if not record.part_count or name in FULL_OBJECT:
            return name, text, "FULL_OBJECT"
        return name, f"{text}-{record.part_count}", "COMPOSITE"
    return None


def checksum_headers(record: ObjectRecord) -> dict[str, str]:
    found = _checksum_of(record)
    if found is None:
        return {}
    return {f"{CHECKSUM_HEADER}{found[0]}": found[1], "x-amz-checksum-type": found[2]}


def checksum_fields(record: ObjectRecord) -> dict[str, str]:
    """The same for answers in XML."""
    found = _checksum_of(record)
    return {} if found is None else {f"Checksum{found[0].upper()}": found[1], "ChecksumType": found[2]}
