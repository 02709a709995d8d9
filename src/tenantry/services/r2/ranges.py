"""`range`: which bytes of an object a get wants.

The object form is strict: what cannot be satisfied is an error (10039). The header form is HTTP's, and like HTTP it is
lenient: a header that is no single satisfiable range means the whole object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tenantry.services.r2.errors import r2_error, range_error, type_error
from tenantry.services.r2.model import Window

__all__ = ["WHOLE", "RangeRequest", "range_from_header", "range_from_object"]

_HEADER: Final = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.ASCII | re.IGNORECASE)
_NUMBER_MAX: Final = 2**53
"""Beyond it a JavaScript number is not exact, and no object is that large."""


@dataclass(frozen=True, slots=True)
class RangeRequest:
    """What was asked. `lenient` is the header form. Nothing given means the whole object."""

    offset: int | None = None
    length: int | None = None
    suffix: int | None = None
    lenient: bool = False

    def window(self, action: str, size: int) -> Window:
        """The bytes of an object of `size`. Raises BindingError (10039) in the object form."""
        if self.offset is None and self.length is None and self.suffix is None:
            return Window(0, size)
        if self.suffix is not None:
            length = min(self.suffix, size)
            offset = size - length
        else:
            offset = self.offset or 0
            available = max(size - offset, 0)
            length = available if self.length is None else min(self.length, available)
        if length > 0:
            return Window(offset, length)
        if self.lenient:
            return Window(0, size)
        raise r2_error(action, 10039)


WHOLE: Final = RangeRequest()


def range_from_object(given: Mapping[Any, Any]) -> RangeRequest:
    """`{offset, length?}`, `{length}` or `{suffix}`. Raises BindingError."""
    offset, length, suffix = given.get("offset"), given.get("length"), given.get("suffix")
    if suffix is not None:
        if offset is not None:
            raise type_error("Suffix is incompatible with offset.")
        if length is not None:
            raise type_error("Suffix is incompatible with length.")
        return RangeRequest(suffix=_whole(suffix, "Invalid suffix. Suffix", "Invalid range. Suffix"))
    return RangeRequest(
        offset=None if offset is None else _whole(offset, "Invalid range. Starting offset"),
        length=None if length is None else _whole(length, "Invalid range. Length"),
    )


def _whole(value: object, negative: str, fractional: str | None = None) -> int:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise type_error("A range is made of numbers.")
    if isinstance(value, float) and math.isnan(value):
        raise range_error(f"{fractional or negative} (NaN) must be an integer, not floating point.")
    if value < 0:
        raise range_error(f"{negative} ({_text(value)}) must be greater than or equal to 0.")
    if isinstance(value, float) and not value.is_integer():
        raise range_error(f"{fractional or negative} ({_text(value)}) must be an integer, not floating point.")
    return int(min(value, _NUMBER_MAX))


def _text(value: float) -> str:
    """A number as JavaScript prints it, near enough, and never a long one."""
    if abs(value) >= _NUMBER_MAX:
        return "-Infinity" if value < 0 else "Infinity"
    return str(int(value)) if value == int(value) else repr(value)


def range_from_header(text: str) -> RangeRequest:
    """A `Range` header."""
    match = _HEADER.fullmatch(text)
    if match is None:
        return WHOLE
    first, last = match.groups()
    if first and last:
        if int(last) < int(first):
            return WHOLE
        return RangeRequest(offset=int(first), length=int(last) - int(first) + 1, lenient=True)
    if first:
        return RangeRequest(offset=int(first), lenient=True)
    if last:
        return RangeRequest(suffix=int(last), lenient=True)
    return WHOLE
