"""What moves over capabilities once they are there: RELEASE, CREDIT, DATA, END and ABORT, in both directions.

A stream sends nothing until its reader grants credit, in bytes, and never more than was granted.
"""

from __future__ import annotations

from tenantry.errors import ProtocolError
from tenantry.wire.bodies import decode_integer, decode_text, encode_text, pack, read_untrusted
from tenantry.wire.capabilities import Capabilities
from tenantry.wire.events import (
    Event,
    Import,
    StreamAborted,
    StreamCredited,
    StreamData,
    StreamEnded,
    StreamExport,
)
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import CREDIT_BYTES_MAX, DATA_BYTES_MAX

__all__ = ["Flow"]


class Flow:
    """The lower half of a session: its outbox, its capabilities, and what becomes of each of them."""

    def __init__(self) -> None:
        self._outbox: list[bytes] = []
        self._capabilities = Capabilities()
        self.dropped = self._capabilities.dropped
        """What ended without an event of its own. Whoever looks at it clears it."""

    def take_outbox(self) -> bytes:
        frames = self._outbox
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        frames.clear()
        return data

    @property
    def has_output(self) -> bool:
        return bool(self._outbox)

    def release(self, imported: Import) -> None:
        """Give a capability of the peer back."""
        if self._capabilities.forget_import(imported):
            self._outbox.append(encode_frame(FrameKind.RELEASE, imported.identifier))

    def credit(self, stream: Import, size: int) -> None:
        """Ask for `size` bytes more of a stream."""
        assert size > 0, "credit only grows"
        if stream.live:
            stream.credit += size
            assert stream.credit <= CREDIT_BYTES_MAX, "more credit than a peer accepts"
            self._outbox.append(encode_frame(FrameKind.CREDIT, stream.identifier, pack(size)))

    def data(self, stream: StreamExport, data: bytes) -> None:
        """Send bytes of a stream, at most `stream.credit`. Nothing happens when the peer has it no more."""
        if not data or self._capabilities.exports.get(stream.identifier) is not stream:
            return
        assert len(data) <= stream.credit, "more than the reader asked for"
        stream.credit -= len(data)
        if len(data) <= DATA_BYTES_MAX:
            self._outbox.append(encode_frame(FrameKind.DATA, stream.identifier, data))
            return
        for at in range(0, len(data), DATA_BYTES_MAX):
            self._outbox.append(encode_frame(FrameKind.DATA, stream.identifier, data[at : at + DATA_BYTES_MAX]))

    def end(self, stream: StreamExport) -> None:
        """All bytes were sent."""
        stream.ended = True
        if self._capabilities.forget_export(stream):
            self._outbox.append(encode_frame(FrameKind.END, stream.identifier))

    def abort(self, stream: StreamExport, reason: str) -> None:
        """The bytes broke off."""
        stream.ended = True
        if self._capabilities.forget_export(stream):
            self._outbox.append(encode_frame(FrameKind.ABORT, stream.identifier, encode_text(reason)))

    # What the peer does --------------------------------------------------------------------------------------------

    def _receive_release(self, identifier: int, body: bytes, events: list[Event]) -> None:
        export = self._capabilities.find_export_untrusted(identifier)
        if body:
            raise ProtocolError("a release with a body")
        if export is not None:
            self._capabilities.drop_export(export)

    def _receive_credit(self, identifier: int, body: bytes, events: list[Event]) -> None:
        size = read_untrusted(decode_integer, body)
        export = self._capabilities.find_export_untrusted(identifier)
        if export is None:
            return
        if not isinstance(export, StreamExport):
            raise ProtocolError("credit for something that is not a stream")
        if size <= 0 or export.credit + size > CREDIT_BYTES_MAX:
            raise ProtocolError("credit out of bounds")
        export.credit += size
        events.append(StreamCredited(export))

    def _receive_data(self, identifier: int, body: bytes, events: list[Event]) -> None:
        stream = self._capabilities.find_stream_untrusted(identifier)
        if stream is None:
            return
        if len(body) > stream.credit or not body:
            raise ProtocolError("bytes that were not asked for")
        stream.credit -= len(body)
        events.append(StreamData(stream, body))

    def _receive_end(self, identifier: int, body: bytes, events: list[Event]) -> None:
        stream = self._capabilities.find_stream_untrusted(identifier)
        if body:
            raise ProtocolError("an end with a body")
        if stream is not None:
            self._capabilities.forget_import(stream)
            events.append(StreamEnded(stream))

    def _receive_abort(self, identifier: int, body: bytes, events: list[Event]) -> None:
        reason = read_untrusted(decode_text, body)
        stream = self._capabilities.find_stream_untrusted(identifier)
        if stream is not None:
            self._capabilities.forget_import(stream)
            events.append(StreamAborted(stream, reason))
