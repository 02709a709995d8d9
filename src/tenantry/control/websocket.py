"""As much of RFC 6455 as a server needs that only tells: bytes in, events out, and frames to send.

It is here, and not a library's, for one reason: wrangler sends a frame without a mask, which the RFC forbids and every
library answers by closing. Masked or not, what a client sends is read, bounded and mostly ignored.

      0                   1                   2                   3
      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
     +-+-+-+-+-------+-+-------------+-------------------------------+
     |F|R|R|R| opcode|M| length (7)  |  length (16 or 64), if 126/127|
     +-+-+-+-+-------+-+-------------+-------------------------------+
     | mask (4 bytes, if M)          | payload …                     |

`81 05 68 65 6c 6c 6f` is the text `hello`, without a mask.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Final

from tenantry.errors import ProtocolError

__all__ = ["CLOSE", "PING", "PONG", "TEXT", "Frame", "FrameReader", "accept_key", "encode_frame"]

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_KNOWN: Final = frozenset({0x0, TEXT, BINARY, CLOSE, PING, PONG})
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PAYLOAD_BYTES_MAX: Final = 4096
"""Of a frame from the client: it has next to nothing to say."""


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes


def accept_key(key: str) -> str:
    """The answer to a `Sec-WebSocket-Key`."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()).decode()


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """A whole message in one frame, from the server: without a mask."""
    head = bytes([0x80 | opcode])
    if len(payload) < 126:
        return head + bytes([len(payload)]) + payload
    if len(payload) < 1 << 16:
        return head + b"\x7e" + len(payload).to_bytes(2, "big") + payload
    return head + b"\x7f" + len(payload).to_bytes(8, "big") + payload


class FrameReader:
    """Feed it what arrives; it keeps at most one frame that is not complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed_untrusted(self, data: bytes) -> list[Frame]:
        """The frames that are complete by now. Raises ProtocolError."""
        self._buffer += data
        frames: list[Frame] = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        if buffer[0] & 0x70:
            raise ProtocolError("reserved bits of a WebSocket frame are set")
        opcode, masked, length, at = buffer[0] & 0x0F, buffer[1] & 0x80, buffer[1] & 0x7F, 2
        if opcode not in _KNOWN or (opcode >= CLOSE and (length > 125 or not buffer[0] & 0x80)):
            raise ProtocolError("a WebSocket frame of no known kind")
        if length > 125:
            size = 2 if length == 126 else 8
            if len(buffer) < at + size:
                return None
            length, at = int.from_bytes(buffer[at : at + size], "big"), at + size
        if length > PAYLOAD_BYTES_MAX:
            raise ProtocolError("a WebSocket frame that is too large")
        mask = b""
        if masked:
            mask, at = bytes(buffer[at : at + 4]), at + 4
        if len(buffer) < at + length:
            return None
        payload = bytes(buffer[at : at + length])
        del buffer[: at + length]
        if mask:
            payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        return Frame(opcode, payload)
