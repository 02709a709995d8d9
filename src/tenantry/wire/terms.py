"""What a caller attaches to a call: `env.DISPATCHER.get(name, args, {"limits": …, "outbound": …})`.

The terms are for the host; the arguments are for the Worker that is called, and the host does not read them. So the
terms go in front of the arguments, in the payload of a call whose method begins with `?`:

    method    "?customer-1/fetch"
    payload   00 00 00 10 | 81 a6 limits 81 a5 cpuMs 32 | 91 … (the arguments, as without terms)
              length        {"limits": {"cpuMs": 50}}

The host takes them off. Values are plain: nothing in them names a stream or a stub.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from tenantry.errors import ProtocolError
from tenantry.wire.limits import TERMS_BYTES_MAX
from tenantry.wire.values import DataCloneError, decode_untrusted, encode

__all__ = ["TERMS_MARK", "pack_terms", "split_terms_untrusted"]

TERMS_MARK: Final = "?"

_LENGTH_BYTES: Final = 4
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes, datetime})


def pack_terms(terms: dict[str, Any]) -> bytes:
    """What goes in front of the arguments. Raises DataCloneError for values that are not plain, or are too many."""
    if not _is_plain(terms):
        raise DataCloneError("The options of a call can hold plain values only.")
    packed = encode(terms)
    if len(packed) > TERMS_BYTES_MAX:
        raise DataCloneError(f"The options of a call are limited to {TERMS_BYTES_MAX} bytes.")
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed


def split_terms_untrusted(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """(terms, arguments). Raises ProtocolError."""
    end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    if len(payload) < end or end > _LENGTH_BYTES + TERMS_BYTES_MAX:
        raise ProtocolError("the terms of a call are too long")
    terms = decode_untrusted(payload[_LENGTH_BYTES:end])
    if type(terms) is not dict or not _is_plain(terms):
        raise ProtocolError("the terms of a call are not plain values")
    return terms, payload[end:]


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return True
    if isinstance(value, dict):
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    return isinstance(value, list) and all(map(_is_plain, value))
