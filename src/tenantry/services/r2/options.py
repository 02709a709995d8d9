"""The options of R2's methods, from what a worker sent to values that hold. Raises only BindingError.

Where R2 takes "an object or Headers" the wire has either the object or `{"headers": {name: value}}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from tenantry.services.r2.checksums import Checksum
from tenantry.services.r2.conditions import (
    UNCONDITIONAL,
    Conditions,
    conditions_from_headers,
    conditions_from_object,
    epoch_ms,
    http_date_ms,
)
from tenantry.services.r2.errors import r2_error, range_error, type_error
from tenantry.services.r2.limits import (
    HEADER_CHARACTERS_MAX,
    KEY_BYTES_MAX,
    LIST_LIMIT_MAX,
    LIST_TEXT_CHARACTERS_MAX,
    METADATA_BYTES_MAX,
    PART_NUMBER_MAX,
    SSEC_KEY_BYTES,
    UPLOAD_ID_CHARACTERS_MAX,
)
from tenantry.services.r2.model import ALGORITHMS, DEFAULT_STORAGE_CLASS, STORAGE_CLASSES, ObjectMetadata
from tenantry.services.r2.ranges import WHOLE, RangeRequest, range_from_header, range_from_object

__all__ = [
    "GetOptions",
    "ListOptions",
    "PutOptions",
    "get_options",
    "list_options",
    "option_mapping",
    "part_number",
    "parts_argument",
    "put_options",
    "ssec_key",
    "valid_key",
    "valid_token",
]

_HTTP_FIELDS: Final = {
    "contentType": "content-type",
    "contentLanguage": "content-language",
    "contentDisposition": "content-disposition",
    "contentEncoding": "content-encoding",
    "cacheControl": "cache-control",
}
_HEADERS_MAX: Final = 256
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_LOWER_HEX: Final = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class GetOptions:
    """`ssec_key` is the customer's own key, 32 bytes."""

    conditions: Conditions = UNCONDITIONAL
    range: RangeRequest = WHOLE
    ssec_key: bytes | None = field(default=None, repr=False)
    part: int | None = None
    """Only the bytes of this part, instead of a range."""


@dataclass(frozen=True, slots=True)
class PutOptions:
    """`checksums` are the digests that the caller expects, each algorithm once; `ssec_key` as in GetOptions."""

    metadata: ObjectMetadata = field(default_factory=ObjectMetadata)
    conditions: Conditions = UNCONDITIONAL
    checksums: tuple[Checksum, ...] = ()
    ssec_key: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ListOptions:
    prefix: str = ""
    delimiter: str = ""
    cursor: str | None = None
    start_after: str | None = None
    marker: str | None = None
    """The last entry of the page before: an object's key, or a delimited prefix, which is then not entered again."""
    limit: int = LIST_LIMIT_MAX
    include: frozenset[str] = frozenset()


def valid_key(action: str, key: object) -> str:
    """An object's key."""
    if not isinstance(key, str):
        raise type_error(f"Failed to execute '{action}' on 'R2Bucket': the key must be a string.")
    if len(key) > KEY_BYTES_MAX:
        raise r2_error(action, 10020)
    try:
        if len(key.encode()) > KEY_BYTES_MAX:
            raise r2_error(action, 10020)
    except UnicodeEncodeError:  # a lone surrogate, which has no UTF-8
        raise r2_error(action, 10020) from None
    return key


def valid_token(action: str, token: object, code: int) -> str:
    """An upload id or a part's etag. One that cannot be ours is answered like one that is not found."""
    if not isinstance(token, str):
        raise type_error(f"Failed to execute '{action}' on 'R2MultipartUpload': a string is missing.")
    if len(token) > UPLOAD_ID_CHARACTERS_MAX or not token.isascii():
        raise r2_error(action, code)
    return token


def part_number(value: object) -> int:
    """A part number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise type_error("Part number must be a number.")
    if value != value or not 1 <= value <= PART_NUMBER_MAX:
        shown = int(value) if isinstance(value, int) and abs(value) < 2**53 else "out of range"
        raise type_error(f"Part number must be between 1 and {PART_NUMBER_MAX} (inclusive). Actual value was: {shown}")
    return int(value)


def parts_argument(value: object) -> list[tuple[int, str]]:
    """The list that `complete` gets: `{partNumber, etag}` each."""
    if not isinstance(value, list):
        raise type_error("complete needs a list of uploaded parts.")
    if len(value) > PART_NUMBER_MAX:
        raise r2_error("completeMultipartUpload", 10025)
    parts = []
    for part in value:
        if not isinstance(part, dict):
            raise type_error("An uploaded part has the fields partNumber and etag.")
        number = part_number(part.get("partNumber"))
        parts.append((number, valid_token("completeMultipartUpload", part.get("etag"), 10025)))
    return parts


def option_mapping(value: object) -> Mapping[Any, Any]:
    """The options object itself."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise type_error("The options must be an object.")
    return value


def ssec_key(options: Mapping[Any, Any]) -> bytes | None:
    """The customer's own key: 32 bytes, or as many in lower-case hex."""
    key = options.get("ssecKey")
    if key is None:
        return None
    if isinstance(key, str):
        if len(key) != 2 * SSEC_KEY_BYTES or not set(key) <= _LOWER_HEX:
            raise type_error("SSE-C Key has invalid format")
        return bytes.fromhex(key)
    if not isinstance(key, bytes):
        raise type_error("SSE-C Key has invalid format")
    if len(key) != SSEC_KEY_BYTES:
        raise type_error("SSE-C Key must be 32 bytes in length")
    return key


def get_options(value: object) -> GetOptions:
    """The options of `get`."""
    options = option_mapping(value)
    key = ssec_key(options)
    wanted = options.get("range")
    if wanted is None:
        chosen = WHOLE
    elif (headers := _headers(wanted, "range")) is not None:
        chosen = range_from_header(headers["range"]) if "range" in headers else WHOLE
    else:
        chosen = range_from_object(option_mapping(wanted))
    return GetOptions(_conditions(options), chosen, key)


def _conditions(options: Mapping[Any, Any]) -> Conditions:
    given = options.get("onlyIf")
    if given is None:
        return UNCONDITIONAL
    headers = _headers(given, "onlyIf")
    return conditions_from_object(option_mapping(given)) if headers is None else conditions_from_headers(headers)


def _headers(value: object, name: str) -> dict[str, str] | None:
    """The Headers form with names in lower case; None when it is the object form."""
    if not isinstance(value, dict) or "headers" not in value:
        return None
    given = value["headers"]
    if not isinstance(given, dict) or len(given) > _HEADERS_MAX:
        raise type_error(f"The headers of {name} cannot be read.")
    headers: dict[str, str] = {}
    for header, text in given.items():
        if not isinstance(header, str) or not isinstance(text, str):
            raise type_error(f"The headers of {name} must be strings.")
        if len(header) + len(text) > HEADER_CHARACTERS_MAX:
            raise type_error(f"A header of {name} is too long.")
        headers[header.lower()] = text
    return headers


def put_options(action: str, value: object) -> PutOptions:
    """The options of `put` and, less the conditions and the checksum, of `createMultipartUpload`."""
    options = option_mapping(value)
    key = ssec_key(options)
    if action != "put":
        return PutOptions(_metadata(action, options), ssec_key=key)
    conditions = _conditions(options)
    checksums = _checksums(options)
    return PutOptions(_metadata(action, options), conditions, checksums, key)


def _metadata(action: str, options: Mapping[Any, Any]) -> ObjectMetadata:
    storage_class = options.get("storageClass")
    if storage_class is None:
        storage_class = DEFAULT_STORAGE_CLASS
    elif storage_class not in STORAGE_CLASSES:
        raise r2_error(action, 10062)
    http, http_bytes = _http_metadata(action, options.get("httpMetadata"))
    custom, custom_bytes = _custom_metadata(action, options.get("customMetadata"))
    if http_bytes + custom_bytes > METADATA_BYTES_MAX:
        raise r2_error(action, 10012)
    return ObjectMetadata(storage_class=storage_class, http=http, custom=custom)


def _http_metadata(action: str, given: object) -> tuple[dict[str, str | int], int]:
    if given is None:
        return {}, 0
    headers = _headers(given, "httpMetadata")
    fields = option_mapping(given)
    metadata: dict[str, str | int] = {}
    size = 0
    for name, header in _HTTP_FIELDS.items():
        text = fields.get(name) if headers is None else headers.get(header)
        if text is None:
            continue
        # A control character would break out of the header that this becomes one day.
        if not isinstance(text, str) or any(character < " " or character == "\x7f" for character in text):
            raise r2_error(action, 10029)
        metadata[name] = text
        size += _utf8_bytes(action, text)
    if headers is not None:
        expiry = http_date_ms(headers.get("expires"))
    else:
        moment = fields.get("cacheExpiry")
        if moment is not None and not isinstance(moment, datetime):
            raise r2_error(action, 10029)
        expiry = None if moment is None else epoch_ms(moment)
    if expiry is not None:
        metadata["cacheExpiry"] = expiry
    return metadata, size


def _custom_metadata(action: str, given: object) -> tuple[dict[str, str], int]:
    metadata: dict[str, str] = {}
    size = 0
    for name, text in option_mapping(given).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise type_error("customMetadata must map strings to strings.")
        size += _utf8_bytes(action, name) + _utf8_bytes(action, text)
        if size > METADATA_BYTES_MAX:
            raise r2_error(action, 10012)
        metadata[name] = text
    return metadata, size


def _utf8_bytes(action: str, text: str) -> int:
    if len(text) > METADATA_BYTES_MAX:
        raise r2_error(action, 10012)
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        raise r2_error(action, 10029) from None


def _checksums(options: Mapping[Any, Any]) -> tuple[Checksum, ...]:
    given = [(name, options[name]) for name in ALGORITHMS if options.get(name) is not None]
    if not given:
        return ()
    if len(given) > 1:
        raise type_error("You cannot specify multiple hashing algorithms.")
    name, value = given[0]
    label, size = ALGORITHMS[name]
    if isinstance(value, bytes):
        if len(value) != size:
            raise type_error(f"{label} is {size} bytes, not {len(value)}")
        return (Checksum(name, value),)
    if not isinstance(value, str):
        raise type_error(f"{label} must be bytes or a hex string")
    if len(value) != 2 * size:
        raise type_error(f"{label} is {2 * size} hex characters, not {len(value)}")
    if not set(value) <= _HEX:
        raise type_error(f"Provided {label} wasn't a valid hex string")
    return (Checksum(name, bytes.fromhex(value)),)


def list_options(value: object) -> ListOptions:
    """The options of `list`."""
    options = option_mapping(value)
    limit = options.get("limit", LIST_LIMIT_MAX)
    if limit is None:
        limit = LIST_LIMIT_MAX
    if not isinstance(limit, (int, float)) or isinstance(limit, bool) or not 1 <= limit <= LIST_LIMIT_MAX:
        raise r2_error("list", 10022)
    include = options.get("include")
    if include is None:
        include = []
    if not isinstance(include, list) or len(include) > len(_HTTP_FIELDS):
        raise type_error("include must be a list of httpMetadata and customMetadata.")
    for entry in include:
        if entry not in ("httpMetadata", "customMetadata"):
            shown = entry[:64] if isinstance(entry, str) else type(entry).__name__
            raise range_error(f"Unsupported include value {shown}")
    return ListOptions(
        prefix=_list_text(options, "prefix") or "",
        delimiter=_list_text(options, "delimiter") or "",
        cursor=_list_text(options, "cursor"),
        start_after=_list_text(options, "startAfter"),
        limit=int(limit),
        include=frozenset(include),
    )


def _list_text(options: Mapping[Any, Any], name: str) -> str | None:
    text = options.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise type_error(f"{name} must be a string.")
    if len(text) > LIST_TEXT_CHARACTERS_MAX:
        raise type_error(f"{name} is too long.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise type_error(f"{name} is not valid Unicode.") from None
    return text
