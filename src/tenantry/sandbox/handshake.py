"""What crosses a channel before it belongs to the tenant: one order to a blank worker, and its one answer.

    order    u8 flags (1 self-test, 2 sockets) · u16 length of name · u32 length of assignment · bundle's name
             · assignment
    answer   u8 kind (0 sealed, 1 refused) · u16 length · text: the missing layer's name, a line feed, the reason
             With the answer "sealed" to an order with sockets comes one descriptor: the listener.

Both sides are our own code: the tenant's starts after the answer. Each reads to the last byte of the message and no
further, because what follows on the channel is another protocol's.

    00 0003 00000002 "abc" "hi"   →  00 0000
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from tenantry.errors import IsolationError, ProtocolError
from tenantry.sandbox import limits

_ORDER = struct.Struct("!BHI")
_ANSWER = struct.Struct("!BH")
_SELF_TEST = 1
_SOCKETS = 2
ANSWER_HEADER_BYTES = _ANSWER.size


@dataclass(frozen=True, slots=True)
class Order:
    """`bundle` is empty in a self-test, which runs nothing. `sockets`: TCP to the host's listener is let through."""

    bundle: str
    assignment: bytes
    self_test: bool = False
    sockets: bool = False

    def encode(self) -> bytes:
        name = self.bundle.encode()
        flags = _SELF_TEST * self.self_test | _SOCKETS * self.sockets
        return _ORDER.pack(flags, len(name), len(self.assignment)) + name + self.assignment


def try_receive_order(channel: socket.socket) -> Order | None:
    """Wait for the order. None when the host went away instead."""
    header = _receive_exactly(channel, _ORDER.size)
    if header is None:
        return None
    flags, name_length, assignment_length = _ORDER.unpack(header)
    if name_length > limits.BUNDLE_NAME_BYTES_MAX or assignment_length > limits.ASSIGNMENT_BYTES_MAX:
        raise ProtocolError("an order longer than its limit")
    body = _receive_exactly(channel, name_length + assignment_length)
    if body is None:
        return None
    name, assignment = body[:name_length].decode(), body[name_length:]
    return Order(name, assignment, bool(flags & _SELF_TEST), bool(flags & _SOCKETS))


def sealed() -> bytes:
    return _ANSWER.pack(0, 0)


def refused(layer: str, reason: str) -> bytes:
    text = f"{layer}\n{reason}".encode()[: limits.REFUSAL_BYTES_MAX]
    return _ANSWER.pack(1, len(text)) + text


def refusal_bytes_untrusted(header: bytes) -> int:
    """How many bytes follow the header of an answer: 0 when the worker is sealed. Raises ProtocolError."""
    kind, length = _ANSWER.unpack(header)
    if kind not in (0, 1) or length > limits.REFUSAL_BYTES_MAX or (kind == 1) != (length > 0):
        raise ProtocolError("not the answer of a blank worker")
    return int(length)


def refusal_untrusted(text: bytes) -> IsolationError:
    layer, _, reason = text.decode(errors="replace").partition("\n")
    return IsolationError(layer, reason)


def _receive_exactly(channel: socket.socket, size: int) -> bytes | None:
    received = bytearray()
    while len(received) < size:
        chunk = channel.recv(size - len(received))
        if not chunk:
            return None
        received += chunk
    return bytes(received)
