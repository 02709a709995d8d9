"""What the code of invocations says: LOG, LOG_CREDIT and LOG_LOST, in both directions.

A side says what fits into a window of bytes, and loses the rest: a log holds nobody up. The other side opens the window
again at a pace of its own, and learns then how many messages were lost. What is said for one invocation at one level,
with nothing in between, shares a frame.
"""

from __future__ import annotations

from typing import Final

from tenantry.errors import ProtocolError
from tenantry.wire.bodies import LogBody, cut_text, decode_integer, decode_log, pack, read_untrusted
from tenantry.wire.events import LogLost, LogReceived
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import LOG_MESSAGE_BYTES, LOG_MESSAGES_MAX, LOG_RESERVE_BYTES, LOG_WINDOW_BYTES

__all__ = ["LogWindow", "log_size"]

_SHARED_FRAME_BYTES_MAX: Final = 4096
"""With this much in it, a frame takes no message more."""


def log_size(message: str) -> int:
    """What it takes of a window."""
    return LOG_MESSAGE_BYTES + (len(message) if message.isascii() else len(message.encode()))


class LogWindow:
    """Of one session, both directions. Frames are appended to `outbox`, the last of them perhaps unfinished: `finish`
    before it is taken."""

    def __init__(self, outbox: list[bytes]) -> None:
        self._outbox = outbox
        self._room_bytes = self._peers_room_bytes = LOG_WINDOW_BYTES
        """What this side may still say, and the peer."""
        self._lost = self._lost_call = 0
        # The unfinished frame: its place in the outbox, and what it says.
        self._at = self._call = self._joined_bytes = 0
        self._level = ""
        self._messages: list[str] = []

    def say(self, call: int, level: str, message: str) -> None:
        if self._room_bytes <= _floor(level):
            self._lost += 1
            self._lost_call = call
            return
        level, message = cut_text(level), cut_text(message)
        size = log_size(message)
        self._room_bytes -= size
        if not self._joins(call, level):
            self.finish()
            self._at, self._call, self._level, self._joined_bytes = len(self._outbox), call, level, 0
            self._outbox.append(b"")
        self._messages.append(message)
        self._joined_bytes += size

    def _joins(self, call: int, level: str) -> bool:
        """Whether a message goes into the unfinished frame: nothing came behind it, and there is room in it."""
        return (
            0 < len(self._messages) < LOG_MESSAGES_MAX
            and self._joined_bytes < _SHARED_FRAME_BYTES_MAX
            and self._at == len(self._outbox) - 1
            and self._call == call
            and self._level == level
        )

    def finish(self) -> None:
        if self._messages:
            body = pack(LogBody(self._level, self._messages))
            self._outbox[self._at] = encode_frame(FrameKind.LOG, self._call, body)
            self._messages = []

    def grant(self, size: int) -> None:
        """Let the peer say `size` bytes more: no more than what its messages have taken."""
        assert size > 0, "room only grows"
        self._peers_room_bytes += size
        assert self._peers_room_bytes <= LOG_WINDOW_BYTES, "more room than a peer accepts"
        self._outbox.append(encode_frame(FrameKind.LOG_CREDIT, 0, pack(size)))

    def receive_untrusted(self, call: int, body: bytes) -> LogReceived:
        """A LOG frame. As the other two, raises ProtocolError and nothing else."""
        said = read_untrusted(decode_log, body)
        room = self._peers_room_bytes - _floor(said.level)
        size = 0
        for message in said.messages:
            if size >= room:
                raise ProtocolError("a log that there was no room for")
            if size >= _SHARED_FRAME_BYTES_MAX:
                raise ProtocolError("a message in a frame that has no room for it")
            size += log_size(message)
        self._peers_room_bytes -= size
        return LogReceived(call, said.level, said.messages, size)

    def receive_credit_untrusted(self, identifier: int, body: bytes) -> None:
        size = read_untrusted(decode_integer, body)
        if identifier or size <= 0 or self._room_bytes + size > LOG_WINDOW_BYTES:
            raise ProtocolError("room for logs out of bounds")
        self._room_bytes += size
        if self._lost and self._room_bytes > 0:
            self._outbox.append(encode_frame(FrameKind.LOG_LOST, self._lost_call, pack(self._lost)))
            self._lost = 0

    def receive_lost_untrusted(self, call: int, body: bytes) -> LogLost:
        count = read_untrusted(decode_integer, body)
        if count <= 0:
            raise ProtocolError("no log at all that was lost")
        return LogLost(call, count)


def _floor(level: str) -> int:
    """Where the room for messages of a level ends."""
    return -LOG_RESERVE_BYTES if level == "error" else 0
