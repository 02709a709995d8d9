"""Payloads that are too long for one frame: cut into parts, and put together again within bounds."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry.errors import ProtocolError
from tenantry.wire.limits import PAYLOAD_BYTES_MAX, PAYLOAD_PART_BYTES, PENDING_PAYLOAD_BYTES_MAX

__all__ = ["PendingParts", "PendingPayloads", "cut"]


def cut(payload: bytes) -> tuple[Iterator[bytes], bytes]:
    """The parts that go ahead of a long payload's frame, and what is left for the frame itself."""
    last = (len(payload) - 1) // PAYLOAD_PART_BYTES * PAYLOAD_PART_BYTES
    return (payload[at : at + PAYLOAD_PART_BYTES] for at in range(0, last, PAYLOAD_PART_BYTES)), payload[last:]


PendingParts = dict[int, list[bytes]]
"""What has come of payloads that are not complete, by call."""


class PendingPayloads:
    """The parts that came of calls and of results. One bound holds for both together."""

    __slots__ = ("calls", "held_bytes", "results")

    def __init__(self) -> None:
        self.calls: PendingParts = {}
        self.results: PendingParts = {}
        self.held_bytes = 0

    def keep_untrusted(self, parts: PendingParts, call: int, body: bytes) -> None:
        """Raises ProtocolError."""
        # A part of a few bytes would be a way to make this side keep many times what was sent.
        if len(body) != PAYLOAD_PART_BYTES:
            raise ProtocolError("a part of the wrong size")
        self.held_bytes += len(body)
        if self.held_bytes > PENDING_PAYLOAD_BYTES_MAX:
            raise ProtocolError("too many bytes in payloads that are not complete")
        kept = parts.setdefault(call, [])
        kept.append(body)
        if len(kept) * PAYLOAD_PART_BYTES > PAYLOAD_BYTES_MAX:
            raise ProtocolError("a payload that is too large")

    def join_untrusted(self, parts: PendingParts, call: int, last: bytes) -> bytes:
        """The whole of a payload, whose last part came in its frame. Raises ProtocolError."""
        kept = parts.pop(call, None)
        if kept is None:
            return last
        self.held_bytes -= len(kept) * PAYLOAD_PART_BYTES
        kept.append(last)
        payload = b"".join(kept)
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ProtocolError("a payload that is too large")
        return payload
