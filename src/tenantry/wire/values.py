"""Values: what may cross the channel, and how.

The list is structured clone's, as Python has it: None, bool, int, float, str, bytes, datetime, list, dict, set, errors,
Request, Response, Headers, FormData, Blob and File, byte streams and stubs. A payload is msgpack; what msgpack lacks is
an extension type. Streams and stubs are not in the payload: it names them by their index in the capability list that
travels beside it, so that a relay passes payloads on unread and rewrites only that list.

Python loses nothing on the way but what JavaScript has no notion of: a tuple is refused, and a naive datetime is UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tenantry.errors import ProtocolError
from tenantry.wire.limits import BIGINT_BYTES_MAX, PAYLOAD_BYTES_MAX, VALUE_DEPTH_MAX, VALUE_ITEMS_MAX
from tenantry.wire.shape import BIGINT, check_shape_untrusted

__all__ = [
    "BlobValue",
    "DataCloneError",
    "ErrorValue",
    "FormDataValue",
    "HeadersValue",
    "RequestValue",
    "ResponseValue",
    "StreamValue",
    "StubValue",
    "capability",
    "decode_untrusted",
    "encode",
]

_SET: Final = 2
_ERROR: Final = 3
_REQUEST: Final = 4
_RESPONSE: Final = 5
_HEADERS: Final = 6
_FORM_DATA: Final = 7
_BLOB: Final = 8
_STREAM: Final = 9
_STUB: Final = 10
_DATE: Final = 11

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

Pairs = list[tuple[str, str]]


class DataCloneError(TypeError):
    """A value that cannot cross. The message is Cloudflare's."""


class Struct(msgspec.Struct, array_like=True, forbid_unknown_fields=True, eq=False):
    """A value with fields, sent as an array."""


class StreamValue(Struct):
    """A byte stream: either its bytes, when they are few, or the index of a capability that is a stream."""

    body: bytes | int


class StubValue(Struct):
    """Something that can be called: the index of a capability that is a stub."""

    capability: int


class HeadersValue(Struct):
    pairs: Pairs


class RequestValue(Struct):
    """An HTTP request. `body` is None, its bytes, or the index of a stream capability."""

    method: str
    url: str
    headers: Pairs
    body: bytes | int | None = None
    redirect: str = "follow"
    cf: Any = None  # plain values; Cloudflare documents no closed set


class ResponseValue(Struct):
    """An HTTP response. `body` as in RequestValue."""

    status: int
    headers: Pairs
    body: bytes | int | None = None
    status_text: str = ""
    url: str = ""
    redirected: bool = False


class BlobValue(Struct):
    """A Blob, or a File when `name` is not None. `last_modified` is in milliseconds."""

    body: bytes | int
    size: int
    content_type: str = ""
    name: str | None = None
    last_modified: int = 0


class FormDataValue(Struct):
    """Entries in order; names may repeat."""

    entries: list[tuple[str, str | BlobValue]]


class ErrorValue(Struct):
    """An exception as a value: JavaScript's class name and message."""

    name: str
    message: str


_STRUCT_CODES: Final[dict[type[Struct], int]] = {
    ErrorValue: _ERROR,
    RequestValue: _REQUEST,
    ResponseValue: _RESPONSE,
    HeadersValue: _HEADERS,
    FormDataValue: _FORM_DATA,
    BlobValue: _BLOB,
    StreamValue: _STREAM,
    StubValue: _STUB,
}
_encoder: Final = msgspec.msgpack.Encoder()
_pack = _encoder.encode
_Ext = msgspec.msgpack.Ext

Convert = Callable[[Any], Any]
"""Turns an object of the caller's own into a value of this module, or raises DataCloneError."""


def _refuse(value: object) -> Any:
    raise DataCloneError(
        f'Could not serialize object of type "{type(value).__name__}". This type does not support serialization.'
    )


def encode(value: Any, convert: Convert = _refuse) -> bytes:
    """The payload of a value. `convert` is asked about every object that is not of this module's types.

    Raises DataCloneError for a value that cannot cross, or is too deep or too large.
    """
    try:
        payload = _pack(_plain(value, convert, VALUE_DEPTH_MAX))
    except UnicodeEncodeError as error:
        raise DataCloneError("A str with a lone surrogate could not be cloned.") from error
    except RecursionError as error:
        raise DataCloneError("A value nested too deeply for the stack that is left could not be cloned.") from error
    if len(payload) > PAYLOAD_BYTES_MAX:
        raise DataCloneError(
            "Serialized RPC arguments or return values are limited to 32MiB, but the size of this value was: "
            f"{len(payload)} bytes."
        )
    if len(payload) > VALUE_ITEMS_MAX:  # a shorter one cannot hold too many
        try:
            check_shape_untrusted(payload)
        except ProtocolError as error:
            raise DataCloneError(f"A value of more than {VALUE_ITEMS_MAX:,} items could not be cloned.") from error
    return payload


_ATOMS: Final = frozenset({type(None), bool, str, float, bytes})


def _plain(value: Any, convert: Convert, depth: int) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is int:
        if _INT_MIN <= value <= _INT_MAX:
            return value
        size = value.bit_length() // 8 + 1
        if size > BIGINT_BYTES_MAX:
            raise DataCloneError(f"An integer of {8 * BIGINT_BYTES_MAX:,} bits or more could not be cloned.")
        return _Ext(BIGINT, value.to_bytes(size, "little", signed=True))
    if depth == 0:
        raise DataCloneError(f"A value nested more than {VALUE_DEPTH_MAX} deep could not be cloned.")
    if kind is list:
        return [item if type(item) in _ATOMS else _plain(item, convert, depth - 1) for item in value]
    if kind is dict:
        return {
            (key if type(key) is str else _key(key)): (
                item if type(item) in _ATOMS else _plain(item, convert, depth - 1)
            )
            for key, item in value.items()
        }
    code = _STRUCT_CODES.get(kind)
    if code is not None:
        if kind is RequestValue and value.cf is not None:
            value = msgspec.structs.replace(value, cf=_plain(value.cf, convert, depth - 1))
        return _Ext(code, _pack(value))
    if isinstance(value, (set, frozenset)):
        return _Ext(_SET, _pack([_member(item, convert, depth - 1) for item in value]))
    if isinstance(value, datetime):
        return _Ext(_DATE, _pack(_microseconds(value)))
    if isinstance(value, dict):
        return _plain(dict(value), convert, depth)
    if isinstance(value, list):
        return _plain(list(value), convert, depth)
    # A member of an enum, say: its value crosses, its class does not. `str(value)` would be the member's name.
    if isinstance(value, int):
        return _plain(int.__int__(value), convert, depth)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        return str.__str__(value)
    return _plain(convert(value), convert, depth - 1)


def _member(item: Any, convert: Convert, depth: int) -> Any:
    plain = _plain(item, convert, depth)
    # What the other side could not put into a set: what is not hashable there, and integers whose hashes can be chosen.
    if isinstance(plain, (list, dict)) or (type(plain) is _Ext and plain.code in (_SET, BIGINT)):
        raise DataCloneError(f'A set with an item of type "{type(item).__name__}" could not be cloned.')
    return plain


def _microseconds(moment: datetime) -> int:
    if moment.utcoffset() is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        return (moment.astimezone(UTC) - _EPOCH) // _MICROSECOND
    except OverflowError as error:
        raise DataCloneError("A datetime that is outside of the years 1 to 9999 in UTC could not be cloned.") from error


def _key(key: Any) -> Any:
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, int) and _INT_MIN <= key <= _INT_MAX:
        return int.__int__(key)
    raise DataCloneError(f'A dict with a key of type "{type(key).__name__}" could not be cloned: use str.')


def _ext_hook(code: int, data: memoryview) -> Any:
    decoder = _STRUCT_DECODERS.get(code)
    if decoder is not None:
        return decoder.decode(data)
    if code == _SET:
        items = _unpack(data)
        if not isinstance(items, list):
            raise ValueError("a set that is not a list")
        for item in items:
            if type(item) is int and not _INT_MIN <= item <= _INT_MAX:
                raise ValueError("a set of integers whose hashes can be chosen")
        return set(items)
    if code == _DATE:
        return _EPOCH + _MICROSECOND * _unpack_int(data)
    if code == BIGINT and len(data) <= BIGINT_BYTES_MAX:
        return int.from_bytes(data, "little", signed=True)
    raise ValueError(f"extension {code}")


_unpack = msgspec.msgpack.Decoder(ext_hook=_ext_hook).decode
_unpack_int = msgspec.msgpack.Decoder(int).decode
_STRUCT_DECODERS: Final[dict[int, msgspec.msgpack.Decoder[Any]]] = {  # Any: one for each Struct
    code: msgspec.msgpack.Decoder(kind, ext_hook=_ext_hook) for kind, code in _STRUCT_CODES.items()
}


def decode_untrusted(payload: bytes) -> Any:
    """The value of a payload. Raises only ProtocolError."""
    check_shape_untrusted(payload)
    try:
        return _unpack(payload)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, OSError, RecursionError, MemoryError) as error:
        raise ProtocolError(f"a payload that cannot be read: {type(error).__name__}") from error


def capability(index: Any, capabilities: Sequence[Any]) -> Any:
    """The capability that a payload names by `index`. Raises ProtocolError where there is none."""
    if type(index) is not int or not 0 <= index < len(capabilities):
        raise ProtocolError("a payload names a capability that was not sent")
    return capabilities[index]
