"""Frames: how bytes on the channel are cut.

    ┌──────────────┬────────┬──────────┬───────────────────────┐
    │ length  u32  │ kind u8│  id u32  │ body, length - 5 bytes│      little-endian
    └──────────────┴────────┴──────────┴───────────────────────┘

`length` counts kind, id and body, and is between 5 and 1 MiB. A CANCEL of call 7 is `05 00 00 00  05  07 00 00 00`.
Control data and bodies never share a frame, so a body can hold anything and is never parsed.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

from tenantry.errors import ProtocolError
from tenantry.wire.limits import FRAME_BYTES_MAX

__all__ = ["HEADER", "FrameDecoder", "FrameKind", "encode_frame"]

HEADER: Final = struct.Struct("<IBI")
_LENGTH: Final = struct.Struct("<I")
_HEADER_BYTES: Final = HEADER.size
_PREFIX_BYTES: Final = 5
_LENGTH_BYTES: Final = 4


_pack_header: Final = HEADER.pack


class FrameKind(IntEnum):
    HELLO = 1
    CALL = 2
    RESULT = 3
    ERROR = 4
    CANCEL = 5
    DONE = 6
    RELEASE = 7
    DATA = 8
    END = 9
    ABORT = 10
    CREDIT = 11
    LOG = 12
    CALL_PART = 13
    RESULT_PART = 14
    LOG_CREDIT = 15
    LOG_LOST = 16


def encode_frame(kind: int, identifier: int, body: bytes = b"") -> bytes:
    return _pack_header(len(body) + _PREFIX_BYTES, kind, identifier) + body


class FrameDecoder:
    """Cuts a byte stream into (kind, id, body). Holds at most one incomplete frame."""

    __slots__ = ("_rest", "_wanted")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._wanted = 0  # how long the rest must be before it is worth looking at

    def feed_untrusted(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """All frames that `data` completes, in order. Raises ProtocolError, after which the decoder is of no use."""
        rest = self._rest
        if rest:
            # Appended in place: a peer that sends a large frame byte by byte must not make us copy it as many times.
            rest += data
            if len(rest) < self._wanted:
                return []
            data = bytes(rest)
            rest.clear()
        frames: list[tuple[int, int, bytes]] = []
        at = 0
        size = len(data)
        header_size = _HEADER_BYTES
        unpack = HEADER.unpack_from
        while size - at >= header_size:
            length, kind, identifier = unpack(data, at)
            if not _PREFIX_BYTES <= length <= FRAME_BYTES_MAX:
                raise ProtocolError(f"a frame of {length} bytes")
            end = at + _LENGTH_BYTES + length
            if end > size:
                break
            frames.append((kind, identifier, data[at + header_size : end]))
            at = end
        if at < size:
            self._wanted = _LENGTH_BYTES
            if size - at >= _LENGTH_BYTES:
                # The length is refused as soon as it is known, before anyone waits for such a frame.
                (length,) = _LENGTH.unpack_from(data, at)
                if not _PREFIX_BYTES <= length <= FRAME_BYTES_MAX:
                    raise ProtocolError(f"a frame of {length} bytes")
                self._wanted += length
            rest += data[at:]
        return frames
