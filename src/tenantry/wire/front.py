"""Plain values in front of the arguments of a call, for somebody who reads them and not the arguments:

    00 00 00 10 | 81 a6 limits 81 a5 cpuMs 32 | 91 … (the arguments, as without)
    length        {"limits": {"cpuMs": 50}}

They name no stream and no stub.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from tenantry.errors import ProtocolError
from tenantry.wire.values import DataCloneError, decode_untrusted, encode

__all__ = ["pack_front", "split_front_untrusted"]

_LENGTH_BYTES: Final = 4
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, datetime})


def pack_front(values: dict[str, Any], bytes_max: int) -> bytes:
    """What goes in front of the arguments. Raises DataCloneError for values that are not plain, or are too many."""
    if not _is_plain(values):
        raise DataCloneError("The options of a call can hold plain values only.")
    packed = encode(values)
    if len(packed) > bytes_max:
        raise DataCloneError(f"The options of a call are limited to {bytes_max} bytes.")
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed


def split_front_untrusted(payload: bytes, bytes_max: int) -> tuple[dict[str, Any], bytes]:
    """(values, arguments). Raises ProtocolError."""
    end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    if len(payload) < end or end > _LENGTH_BYTES + bytes_max:
        raise ProtocolError("the options of a call are too long")
    values = decode_untrusted(payload[_LENGTH_BYTES:end])
    if type(values) is not dict or not _is_plain(values):
        raise ProtocolError("the options of a call are not plain values")
    return values, payload[end:]


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return isinstance(value, list) and all(map(_is_plain, value))
