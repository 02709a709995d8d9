"""The reading end of a stream whose bytes lie with the peer."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from tenantry.errors import StreamError
from tenantry.wire.events import Import
from tenantry.wire.limits import STREAM_WINDOW_BYTES, STREAM_WINDOW_BYTES_MIN, STREAM_WINDOWS_BYTES

if TYPE_CHECKING:
    from tenantry.channel.peer import Peer

__all__ = ["RemoteStream"]


class RemoteStream:
    """A `ByteStream` over an imported stream.

    Nothing is asked of the peer before the first read; then up to a window is kept under way, so that the bytes on hand
    and on the wire never exceed it, however slow the reader is. Streams of one peer that are read at the same time have
    smaller windows, so that a peer cannot make this side hold a window for each of thousands.
    """

    __slots__ = ("_asking", "_buffered", "_chunks", "_ended", "_failure", "_waiter", "imported", "length", "peer")

    def __init__(self, peer: Peer, imported: Import) -> None:
        self.peer = peer
        self.imported = imported
        self.length = imported.length
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._asking = False
        self._ended = False
        self._failure: str | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def untouched(self) -> bool:
        """Whether no byte of it was asked for, so that it can be handed back to its owner whole."""
        return self.imported.live and not self.imported.credit and not self._buffered and not self._ended

    async def read(self, size_max: int) -> bytes:
        while not self._chunks:
            if self._failure is not None:
                raise StreamError(self._failure)
            if self._ended:
                return b""
            if not self.imported.live:
                raise StreamError("the stream was passed on, or its invocation is over")
            self._ask()
            self._waiter = self.peer.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunk = self._chunks.popleft()
        if len(chunk) > size_max:
            self._chunks.appendleft(chunk[size_max:])
            chunk = chunk[:size_max]
        self._buffered -= len(chunk)
        if not self._ended:
            self._ask()
        return chunk

    async def aclose(self) -> None:
        self._chunks.clear()
        self._buffered = 0
        if not self._ended:
            self._finish("the stream was closed")
            self.peer.release(self.imported)

    def _ask(self) -> None:
        if not self._asking:
            self._asking = True
            self.peer.windows += 1
        window = min(STREAM_WINDOW_BYTES, max(STREAM_WINDOWS_BYTES // self.peer.windows, STREAM_WINDOW_BYTES_MIN))
        want = window - self.imported.credit - self._buffered
        if want >= window // 2:
            self.peer.credit(self.imported, want)

    # What the peer's frames do to it.

    def receive(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        self._wake()

    def finish(self) -> None:
        self._finish(None)

    def fail(self, reason: str) -> None:
        if not self._ended:
            self._finish(reason)

    def _finish(self, failure: str | None) -> None:
        self._ended = True
        self._failure = failure
        if self._asking:
            self._asking = False
            self.peer.windows -= 1
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
