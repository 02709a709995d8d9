"""The shape of a payload: looked at before it is decoded, because the decoder cannot be told to be careful.

A few bytes can cost a receiver much: an empty list is one byte on the wire and 64 in memory; integers beyond 64 bits,
and lists (which become tuples) as keys of a map, can be chosen so that all of their hashes are equal, which makes a
dict quadratic. So one pass over the tags, which allocates nothing, bounds the number of items and the depth, and lets
only strings and integers of 64 bits be keys. It does not prove that a payload is good: the decoder still refuses what
is malformed. Of most short payloads it is known without that: see FEW_TAGS.

Every extension holds exactly one msgpack value, but BIGINT, which holds the bytes of an integer.
"""

from __future__ import annotations

from typing import Final

from tenantry.errors import ProtocolError
from tenantry.wire.limits import VALUE_DEPTH_MAX, VALUE_ITEMS_MAX

__all__ = ["BIGINT", "check_shape_untrusted"]

BIGINT: Final = 1

_LEVELS_MAX: Final = VALUE_DEPTH_MAX + 8
"""Headers in a Request are four levels of tags (extension, fields, list, pair) and one of nesting."""


FEW_TAGS: Final = 100
"""Looking at a payload costs four times what decoding it does, and a request crosses the channel several times. So
first the bytes are counted that could be the tag of a container, an extension or a float, in one pass of C. Not all of
them are, for they occur in texts and lengths as well; but there are no more such values than such bytes. With few of
them a value cannot be deep, and has too few strange keys to hurt anybody; and it has no more items than bytes."""


SHORT_BYTES: Final = 1024
"""Of a longer payload most is one text or one body, which a look at the tags steps over and a count does not."""

assert SHORT_BYTES <= VALUE_ITEMS_MAX


def _steps() -> bytes:
    """The size of a value by its tag; 0 where the tag does not say it."""
    steps = bytearray(256)
    for tag in (*range(0x80), *range(0xE0, 0x100), 0xC0, 0xC2, 0xC3):  # small integers, nil, false, true
        steps[tag] = 1
    for tag in range(0xA0, 0xC0):  # short strings
        steps[tag] = 1 + (tag & 0x1F)
    steps[0xCA], steps[0xCB] = 5, 9  # floats
    for index in range(4):  # unsigned and signed integers of 1, 2, 4 and 8 bytes
        steps[0xCC + index] = steps[0xD0 + index] = 1 + (1 << index)
    return bytes(steps)


_STEPS: Final = _steps()
_OTHER_BYTES: Final = bytes(
    tag
    for tag in range(256)
    if not (
        0x80 <= tag < 0xA0 or 0xDC <= tag < 0xE0 or 0xC7 <= tag <= 0xC9 or 0xD4 <= tag <= 0xD8 or tag in (0xCA, 0xCB)
    )
)
_LENGTH_BYTES: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}  # bin and str
_COUNT_BYTES: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}  # array and map
_EXTENSION_LENGTH_BYTES: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_KEY_TAGS: Final = frozenset(
    {*range(0x80), *range(0xE0, 0x100), *range(0xA0, 0xC0), *range(0xCC, 0xD4), 0xD9, 0xDA, 0xDB}
)


def check_shape_untrusted(payload: bytes) -> None:
    """Raises ProtocolError for a payload that is too much to decode."""
    if len(payload) <= SHORT_BYTES and len(payload.translate(None, _OTHER_BYTES)) <= FEW_TAGS:
        return
    try:
        _check(payload)
    except IndexError:
        raise ProtocolError("a payload that ends early") from None


def _check(payload: bytes) -> None:
    steps = _STEPS
    at = 0
    items = 1
    left = 1  # values that the innermost container still has to hold
    in_map = False
    end = -1  # where the innermost container must end, if it is an extension
    outer: list[tuple[int, bool, int]] = []
    while True:
        while left:
            tag = payload[at]
            if in_map and not left & 1 and tag not in _KEY_TAGS:
                raise ProtocolError("a key that is neither a string nor an integer")
            left -= 1
            step = steps[tag]
            if step:
                at += step
                continue
            at += 1
            if tag in _LENGTH_BYTES:
                width = _LENGTH_BYTES[tag]
                at += width + int.from_bytes(payload[at : at + width], "big")
                continue
            is_map = False
            extension_end = -1
            if 0x80 <= tag < 0x90:
                is_map, count = True, (tag & 0x0F) * 2
            elif 0x90 <= tag < 0xA0:
                count = tag & 0x0F
            elif tag in _COUNT_BYTES:
                width = _COUNT_BYTES[tag]
                is_map = tag >= 0xDE
                count = int.from_bytes(payload[at : at + width], "big") * (2 if is_map else 1)
                at += width
            elif 0xC7 <= tag <= 0xC9 or 0xD4 <= tag <= 0xD8:
                if tag >= 0xD4:
                    length = 1 << (tag - 0xD4)
                else:
                    width = _EXTENSION_LENGTH_BYTES[tag]
                    length = int.from_bytes(payload[at : at + width], "big")
                    at += width
                code = payload[at]
                at += 1
                if code == BIGINT:
                    at += length
                    continue
                count, extension_end = 1, at + length
            else:
                raise ProtocolError("a payload with an unknown tag")
            items += count
            if items > VALUE_ITEMS_MAX:
                raise ProtocolError("a payload of too many items")
            if len(outer) >= _LEVELS_MAX:
                raise ProtocolError("a payload that is nested too deeply")
            outer.append((left, in_map, end))
            left, in_map, end = count, is_map, extension_end
        if end >= 0 and at != end:
            raise ProtocolError("an extension that does not hold one value")
        if not outer:
            return
        left, in_map, end = outer.pop()
