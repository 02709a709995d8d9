"""What a caller attaches to a call: `env.DISPATCHER.get(name, args, {"limits": …, "outbound": …})`.

The terms are for the host; the arguments are for the Worker that is called, and the host does not read them. So the
terms go in front of the arguments (`front`), in the payload of a call whose method begins with `?`, such as
`?customer-1/fetch`. The host takes them off.
"""

from __future__ import annotations

from typing import Any, Final

from tenantry.wire.front import pack_front, split_front_untrusted
from tenantry.wire.limits import TERMS_BYTES_MAX

__all__ = ["TERMS_MARK", "pack_terms", "split_terms_untrusted"]

TERMS_MARK: Final = "?"


def pack_terms(terms: dict[str, Any]) -> bytes:
    """What goes in front of the arguments. Raises DataCloneError for values that are not plain, or are too many."""
    return pack_front(terms, TERMS_BYTES_MAX)


def split_terms_untrusted(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """(terms, arguments). Raises ProtocolError."""
    return split_front_untrusted(payload, TERMS_BYTES_MAX)
