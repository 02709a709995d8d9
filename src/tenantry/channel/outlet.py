"""What is on its way into the socket of a channel: written at once as far as the kernel takes it, the rest later."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

from tenantry.wire.limits import MIB

__all__ = ["Outlet"]

_WRITE_BYTES_MAX: Final = 256 * 1024
_HIGH_WATER_BYTES: Final = 2 * MIB


class Outlet:
    """`on_broken` is called when nothing can be written any more."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, on_broken: Callable[[], None]) -> None:
        self._socket = sock
        self._loop = loop
        self._on_broken = on_broken
        self._unsent = bytearray()
        self._drained: asyncio.Future[None] | None = None

    def write(self, data: bytes | bytearray) -> int:
        """How many bytes wait now."""
        if self._unsent:
            self._unsent += data
            return len(self._unsent)
        try:
            sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._on_broken()
            return 0
        if sent == len(data):
            return 0
        self._unsent += memoryview(data)[sent:]
        self._loop.add_writer(self._socket.fileno(), self._writable)
        return len(self._unsent)

    @property
    def is_full(self) -> bool:
        """So much waits that streams should."""
        return len(self._unsent) > _HIGH_WATER_BYTES

    async def drain(self) -> None:
        """While it is full: until it no longer is, or closed."""
        if self._drained is None:
            self._drained = self._loop.create_future()
        await asyncio.shield(self._drained)

    def close(self) -> None:
        """Before the socket is closed. What waits is lost."""
        if self._unsent:
            self._loop.remove_writer(self._socket.fileno())
            self._unsent.clear()
        self._wake()

    def _writable(self) -> None:
        try:
            sent = self._socket.send(memoryview(self._unsent)[:_WRITE_BYTES_MAX])
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            sent = len(self._unsent)
            self._on_broken()
        del self._unsent[:sent]
        if not self.is_full:
            self._wake()
        if not self._unsent:
            self._loop.remove_writer(self._socket.fileno())

    def _wake(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None
