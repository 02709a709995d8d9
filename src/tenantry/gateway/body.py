"""The body of a request, while it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from tenantry.errors import StreamError
from tenantry.gateway.limits import READ_AHEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.gateway.exchange import Exchange

__all__ = ["RequestBody"]


class RequestBody:
    """A ByteStream, of one exchange: what is not read stays with the client, for its connection is not read either."""

    def __init__(self, exchange: Exchange, length: int | None, loop: asyncio.AbstractEventLoop) -> None:
        self.length = length
        self._exchange = exchange
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._error: str | None = None
        self._closed = False
        self._arrived: asyncio.Future[None] | None = None
        self._bytes = 0
        self._bytes_max: int | None = None
        self._refuse: Callable[[], None] = lambda: None

    def limit(self, bytes_max: int, refuse: Callable[[], None]) -> None:
        """One that becomes longer breaks off, and `refuse` is told."""
        self._bytes_max, self._refuse = bytes_max, refuse

    # From the connection -------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether no more of it is to be read for now."""
        return self._closed or self._held_bytes >= READ_AHEAD_BYTES

    def feed(self, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes_max is not None and self._bytes > self._bytes_max:
            if self._error is None:
                self.fail("the request's body is longer than it may be")
                self._refuse()
        elif not self._closed:
            self._chunks.append(data)
            self._held_bytes += len(data)
            self._wake()

    def end(self) -> None:
        self._ended = True
        self._wake()

    def fail(self, reason: str) -> None:
        """What came is not the whole, and no more comes."""
        if not self._ended:
            self._error = reason
            self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    # A ByteStream --------------------------------------------------------------------------------------------------

    async def read(self, size_max: int) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise StreamError(self._error)
            if self._ended or self._closed:
                return b""
            self._exchange.body_wanted()
            self._arrived = self._loop.create_future()
            await self._arrived
        chunk = self._chunks.popleft()
        if len(chunk) > size_max:
            self._chunks.appendleft(chunk[size_max:])
            chunk = chunk[:size_max]
        self._held_bytes -= len(chunk)
        self._exchange.body_taken()
        return chunk

    async def aclose(self) -> None:
        """The rest stays with the client, until the connection sees what to do with it."""
        self._closed = True
        self._chunks.clear()
        self._held_bytes = 0
        self._wake()
