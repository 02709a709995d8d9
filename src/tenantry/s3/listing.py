"""ListObjects in both versions, over R2's listing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.errors import error
from tenantry.s3.limits import LIST_KEYS_MAX
from tenantry.s3.metadata import etag_of, storage_class_name
from tenantry.s3.times import iso_time
from tenantry.s3.xml import Value, url_encoded
from tenantry.services.r2.model import ObjectRecord
from tenantry.services.r2.options import ListOptions, list_options
from tenantry.services.r2.service import ObjectPage

__all__ = ["encoder_of", "limit_of", "list_objects", "list_objects_v2"]

_DIGITS: Final = re.compile(r"\d{1,9}", re.ASCII)


def limit_of(call: Call, name: str) -> int:
    """A parameter that bounds a page. Raises S3Error."""
    text = call.parameter(name)
    if text is None:
        return LIST_KEYS_MAX
    if not _DIGITS.fullmatch(text) or int(text) > 2**31 - 1:
        raise error("InvalidArgument", f"{name} must be an integer from 0 to 2147483647")
    return min(int(text), LIST_KEYS_MAX)


def encoder_of(call: Call) -> Callable[[str], str]:
    """How names are written. Raises S3Error."""
    encoding = call.parameter("encoding-type")
    if encoding is None:
        return str
    if encoding != "url":
        raise error("InvalidArgument", "Invalid Encoding Method specified in Request")
    return url_encoded


@dataclass(frozen=True, slots=True)
class _Listing:
    """What both versions share. `page` is None for a page of no entries, which is never truncated."""

    prefix: str
    delimiter: str
    limit: int
    encoded: Callable[[str], str]
    page: ObjectPage | None

    def contents(self, owner: str | None) -> list[Value]:
        records = [] if self.page is None else self.page.objects
        return [self._entry(record, owner) for record in records]

    def _entry(self, record: ObjectRecord, owner: str | None) -> Value:
        return {
            "Key": self.encoded(record.key),
            "LastModified": iso_time(record.uploaded_ms),
            "ETag": etag_of(record),
            "Size": record.size,
            "StorageClass": storage_class_name(record.metadata),
            "Owner": None if owner is None else {"ID": owner, "DisplayName": owner},
        }

    def prefixes(self) -> list[Value]:
        found = [] if self.page is None else self.page.prefixes
        return [{"Prefix": self.encoded(prefix)} for prefix in found]

    @property
    def cursor(self) -> str | None:
        return None if self.page is None else self.page.cursor


async def _listing(call: Call, **options: str | None) -> _Listing:
    prefix, delimiter = call.parameter("prefix") or "", call.parameter("delimiter") or ""
    limit = limit_of(call, "max-keys")
    encoded = encoder_of(call)
    checked = list_options({"prefix": prefix, "delimiter": delimiter, "cursor": options.get("cursor")})
    page = None
    if limit:
        wanted: ListOptions = replace(
            checked, limit=limit, start_after=options.get("start_after"), marker=options.get("marker")
        )
        page = await call.bucket.list(wanted)
    return _Listing(prefix, delimiter, limit, encoded, page)


async def list_objects(call: Call) -> Answer:
    marker = call.parameter("marker") or ""
    found = await _listing(call, marker=marker or None)
    following = None
    if found.page is not None and found.cursor is not None:
        names = [*(record.key for record in found.page.objects[-1:]), *found.page.prefixes[-1:]]
        following = max(names, key=str.encode)
    return xml_answer(
        "ListBucketResult",
        {
            "Name": call.request.bucket,
            "Prefix": found.encoded(found.prefix),
            "Marker": found.encoded(marker),
            "NextMarker": None if following is None else found.encoded(following),
            "MaxKeys": found.limit,
            "Delimiter": found.encoded(found.delimiter) if found.delimiter else None,
            "EncodingType": call.parameter("encoding-type"),
            "IsTruncated": found.cursor is not None,
            "Contents": found.contents(call.directory.account_id),
            "CommonPrefixes": found.prefixes(),
        },
    )


async def list_objects_v2(call: Call) -> Answer:
    token, start_after = call.parameter("continuation-token"), call.parameter("start-after") or ""
    if token == "":
        raise error("InvalidArgument", "The continuation token provided is incorrect")
    # A continuation token knows where to go on; where the listing began has no say any more.
    found = await _listing(call, cursor=token, start_after=None if token else start_after or None)
    contents, prefixes = (
        found.contents(call.directory.account_id if call.parameter("fetch-owner") == "true" else None),
        found.prefixes(),
    )
    return xml_answer(
        "ListBucketResult",
        {
            "Name": call.request.bucket,
            "Prefix": found.encoded(found.prefix),
            "StartAfter": found.encoded(start_after) if start_after else None,
            "ContinuationToken": token,
            "NextContinuationToken": found.cursor,
            "KeyCount": len(contents) + len(prefixes),
            "MaxKeys": found.limit,
            "Delimiter": found.encoded(found.delimiter) if found.delimiter else None,
            "EncodingType": call.parameter("encoding-type"),
            "IsTruncated": found.cursor is not None,
            "Contents": contents,
            "CommonPrefixes": prefixes,
        },
    )
