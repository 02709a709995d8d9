"""Objects: put, get, head, delete one or many."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from tenantry.errors import BindingError, StreamError
from tenantry.s3.answer import Answer, xml_answer
from tenantry.s3.call import Call
from tenantry.s3.conditions import conditions_of, is_not_modified
from tenantry.s3.errors import error, from_binding
from tenantry.s3.limits import LIST_KEYS_MAX, XML_BYTES_MAX
from tenantry.s3.metadata import checksum_headers, etag_of, metadata_options, record_headers
from tenantry.s3.ssec import ssec_headers, ssec_key_of
from tenantry.s3.xml import Value
from tenantry.services.r2.model import ObjectRecord, Window
from tenantry.services.r2.options import GetOptions, part_number, put_options, valid_key
from tenantry.services.r2.ranges import WHOLE, RangeRequest, range_from_header
from tenantry.services.r2.ssec import check_object_key

__all__ = ["delete_object", "delete_objects", "get_object", "head_object", "put_object"]

_OVERRIDES: Final = {
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-content-type": "content-type",
    "response-expires": "expires",
}
_DIGITS: Final = re.compile(r"\d{1,9}", re.ASCII)


async def put_object(call: Call) -> Answer:
    headers = call.request.headers
    key = call.key
    options = put_options("put", metadata_options(headers))
    options = replace(
        options, conditions=conditions_of(headers), checksums=call.payload.checks, ssec_key=ssec_key_of(headers)
    )
    if call.payload.length is None:
        raise error("MissingContentLength")
    try:
        record = await call.bucket.put(key, call.payload, options)
    except (BindingError, StreamError) as failure:
        raise call.failure_of(failure) from failure
    if record is None:
        raise error("PreconditionFailed")
    return Answer(
        headers={"etag": etag_of(record), **checksum_headers(record), **ssec_headers(record.metadata.encryption)}
    )


async def get_object(call: Call) -> Answer:
    call.refuse_version()
    conditions = conditions_of(call.request.headers)
    part, ssec_key = part_of(call), ssec_key_of(call.request.headers)
    found = await call.bucket.get(call.key, GetOptions(conditions, _range(call, part), ssec_key, part))
    if found is None:
        raise error("NoSuchKey")
    record, window, body = found
    if window is None or body is None:
        if is_not_modified(conditions, record):
            return Answer(304, record_headers(record))
        raise error("PreconditionFailed")
    if _range_is_stale(call, record):
        await body.aclose()
        # The object is another than the client has a part of: it gets the whole (RFC 9110, section 13.1.5).
        found = await call.bucket.get(call.key, GetOptions(ssec_key=ssec_key))
        if found is None or found[2] is None:
            raise error("NoSuchKey")
        record, window, body = found[0], Window(0, found[0].size), found[2]
    return _answer(call, record, window, Answer(body=body))


async def head_object(call: Call) -> Answer:
    call.refuse_version()
    record = await call.bucket.head(call.key)
    if record is None:
        raise error("NoSuchKey")
    check_object_key("head", record, ssec_key_of(call.request.headers))
    conditions = conditions_of(call.request.headers)
    if not conditions.holds(record):
        if is_not_modified(conditions, record):
            return Answer(304, record_headers(record))
        raise error("PreconditionFailed")
    part = part_of(call)
    if part is not None:
        window = record.part_window(part)
        if window is None:
            raise error("InvalidRange")
    elif _range_is_stale(call, record):
        window = Window(0, record.size)
    else:
        window = _range(call, None).window("head", record.size)
    return _answer(call, record, window, Answer(length=window.length))


def _answer(call: Call, record: ObjectRecord, window: Window, answer: Answer) -> Answer:
    headers = record_headers(record) | ssec_headers(record.metadata.encryption)
    whole = window.length == record.size
    if call.header("x-amz-checksum-mode") == "ENABLED" and whole:
        headers |= checksum_headers(record)
    for parameter, name in _OVERRIDES.items():
        value = call.parameter(parameter)
        if value is not None:
            headers[name] = value
    asked = call.parameter("partNumber")
    if asked is not None and record.part_count:
        headers["x-amz-mp-parts-count"] = str(record.part_count)
    # The whole of an object that was asked for as a range is a part all the same, unless the range had no meaning.
    partial = not whole or asked is not None or (_has_range(call) and not _range_is_stale(call, record))
    if partial and window.length:
        headers["content-range"] = f"bytes {window.offset}-{window.offset + window.length - 1}/{record.size}"
        answer.status = 206
    answer.headers = headers
    return answer


def _has_range(call: Call) -> bool:
    return range_from_header(call.header("range") or "") != WHOLE


def _range(call: Call, part: int | None) -> RangeRequest:
    if part is not None:
        if call.header("range") is not None:
            raise error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        return WHOLE
    # Unlike a Worker's Headers form, S3 says 416 to what cannot be satisfied.
    return replace(range_from_header(call.header("range") or ""), lenient=False)


def _range_is_stale(call: Call, record: ObjectRecord) -> bool:
    """Whether `If-Range` names another object than this one. A date never does it: one second is no validator."""
    given = call.header("if-range")
    return given is not None and call.header("range") is not None and given.strip() != etag_of(record)


def part_of(call: Call) -> int | None:
    """The parameter `partNumber`. Raises S3Error."""
    text = call.parameter("partNumber")
    if text is None:
        return None
    try:
        return part_number(int(text) if _DIGITS.fullmatch(text) else 0)
    except BindingError:
        raise error("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive") from None


async def delete_object(call: Call) -> Answer:
    call.refuse_version()
    if call.header("if-match") is not None:
        raise call.not_implemented_header("if-match")
    await call.bucket.delete([call.key])
    return Answer(204)


async def delete_objects(call: Call) -> Answer:
    root = await call.xml("Delete", XML_BYTES_MAX)
    root.only({"Object", "Quiet"})
    quiet = root.value("Quiet") == "true"
    entries = list(root.all("Object"))
    if not 1 <= len(entries) <= LIST_KEYS_MAX:
        raise error("MalformedXML")
    keys: dict[str, None] = {}
    failures: list[Value] = []
    for entry in entries:
        key = entry.value("Key")
        version = entry.value("VersionId")
        if not key:
            raise error("MalformedXML")
        try:
            if version not in (None, "", "null"):
                raise call.not_implemented_version()
            keys[valid_key("delete", key)] = None
        except BindingError as failure:
            refused = from_binding(failure)
            failures.append({"Key": key, "Code": refused.name, "Message": refused.message})
    await call.bucket.delete(list(keys))
    deleted: list[Value] = [] if quiet else [{"Key": key} for key in keys]
    return xml_answer("DeleteResult", {"Deleted": deleted, "Error": failures})
