"""What is asked of the value codec. The first byte of an input says which of two things the rest of it is.

* A payload, as a peer may send it: it is decoded, or a ProtocolError says why not. What was decoded can be encoded
  again, and then means the same, or is refused with a DataCloneError.
* Choices, from which a value is built as a Worker may have it: it is encoded or refused, and arrives as it was sent.
"""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

from fuzz_input import Choices

from tenantry.errors import ProtocolError
from tenantry.wire.limits import BIGINT_BYTES_MAX
from tenantry.wire.values import (
    BlobValue,
    DataCloneError,
    ErrorValue,
    FormDataValue,
    HeadersValue,
    RequestValue,
    ResponseValue,
    StreamValue,
    Struct,
    StubValue,
    capability,
    decode_untrusted,
    encode,
)

__all__ = ["check"]

_DEPTH_MAX: Final = 12
_ITEMS_MAX: Final = 7


def _refuse(value: Any) -> Any:
    raise DataCloneError(f"a {type(value).__name__}")


def _check_payload(payload: bytes) -> None:
    try:
        value = decode_untrusted(payload)
    except ProtocolError:
        return
    try:
        encoded = encode(value, _refuse)
    except DataCloneError:
        return  # deeper than what is sent here, or one of the strange keys that a short payload may have
    again = decode_untrusted(encoded)
    assert is_same(value, again), "a value that was decoded changes when it is sent on"
    for index in (value, getattr(value, "body", None)):
        with contextlib.suppress(ProtocolError):
            capability(index, ["the only one"])


def _check_value(choices: Choices) -> None:
    value = _build(choices, _DEPTH_MAX)
    try:
        payload = encode(value, _refuse)
    except DataCloneError:
        return
    assert is_same(value, decode_untrusted(payload)), "a value does not arrive as it was sent"


def _build(choices: Choices, depth: int) -> Any:
    what = choices.byte() % (23 if depth else 14)
    match what:
        case 0:
            return None
        case 1:
            return bool(choices.byte() & 1)
        case 2:
            return choices.byte() - 128
        case 3:
            return choices.integer(9) - 2**63
        case 4:
            sign = choices.one((1, -1))
            return sign * (1 << 8 * choices.word() % (8 * BIGINT_BYTES_MAX + 16)) + choices.byte()
        case 5:
            return float(choices.integer(4)) / (choices.byte() + 1)
        case 6:
            return choices.one((math.nan, math.inf, -math.inf, -0.0, 5e-324))
        case 7:
            return choices.short().decode("utf-8", "replace")
        case 8:
            return chr(choices.integer(3) % 0x110000)  # surrogates too
        case 9:
            return choices.short() * choices.one((1, 1, 1, 300))
        case 10:
            return _moment(choices)
        case 11:
            return ErrorValue(_text(choices), _text(choices))
        case 12:
            return choices.one((StreamValue(choices.short()), StreamValue(choices.byte()), StubValue(choices.byte())))
        case 13:
            return BlobValue(choices.short(), choices.byte(), _text(choices), choices.one((None, _text(choices))))
        case 14 | 15:
            return [_build(choices, depth - 1) for _ in range(choices.byte() & _ITEMS_MAX)]
        case 16 | 17:
            return {_key(choices): _build(choices, depth - 1) for _ in range(choices.byte() & _ITEMS_MAX)}
        case 18:
            return _set(choices, depth)
        case 19:
            return HeadersValue(_pairs(choices))
        case 20:
            return RequestValue("GET", _text(choices), _pairs(choices), _body(choices), cf=_build(choices, depth - 1))
        case 21:
            return ResponseValue(choices.word(), _pairs(choices), _body(choices), _text(choices))
        case _:
            entries: list[tuple[str, str | BlobValue]] = [(_text(choices), _text(choices))]
            entries.append((_text(choices), BlobValue(choices.short(), choices.byte())))
            return FormDataValue(entries[choices.byte() & 1 :])


def _moment(choices: Choices) -> datetime:
    zone = choices.one((UTC, None, timezone(timedelta(minutes=choices.word() % 1440 - 720))))
    year, day = choices.word() % 9999 + 1, choices.word() % 365
    return datetime(year, 1, 1, tzinfo=zone) + (timedelta(days=day) if year < 9999 else timedelta(0))


def _text(choices: Choices) -> str:
    return choices.short().decode("utf-8", "replace")


def _key(choices: Choices) -> Any:
    return choices.one((_text(choices), choices.byte(), choices.integer(9), 1.5))


def _set(choices: Choices, depth: int) -> set[Any]:
    made = set()
    for _ in range(choices.byte() & _ITEMS_MAX):
        item = _build(choices, depth - 1)
        try:
            made.add(item)
        except TypeError:
            made.add(_text(choices))
    return made


def _pairs(choices: Choices) -> list[tuple[str, str]]:
    return [(_text(choices), _text(choices)) for _ in range(choices.byte() & _ITEMS_MAX)]


def _body(choices: Choices) -> bytes | int | None:
    return choices.one((None, choices.short(), choices.byte()))


def is_same(one: Any, other: Any) -> bool:
    """Equal, of the same type, all the way down; what is not a number is equal to itself, and a date without a zone to
    the one in UTC.
    """
    if isinstance(one, Struct):
        if type(one) is not type(other):
            return False
        return all(is_same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    if isinstance(one, datetime) and isinstance(other, datetime):
        return (one if one.tzinfo else one.replace(tzinfo=UTC)) == other
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict):
        # Keys are text and integers: equal ones of either type would be one key.
        return list(one) == list(other) and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and str(one) == str(other))
    if isinstance(one, set):
        return _are_same_items(one, other)
    return bool(one == other)


def _are_same_items(one: set[Any], other: set[Any]) -> bool:
    """Each has its like in the other: an item may be a Struct, which knows no equality, or not a number, which equals
    nothing. A date in UTC and the same one without a zone are two items before the journey, and one after it.
    """
    return all(any(is_same(item, candidate) for candidate in other) for item in one) and len(other) <= len(one)


def check(data: bytes) -> None:
    """Raises what is a finding."""
    if data[:1] >= b"\x80":
        _check_value(Choices(data[1:]))
    else:
        _check_payload(data[1:])
