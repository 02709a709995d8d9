"""The tenants' port: its listener, and the connections that came through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from tenantry.gateway.connection import Connection
from tenantry.gateway.limits import CONNECTIONS_MAX, LOOK_SECONDS

if TYPE_CHECKING:
    from tenantry.gateway.gateway import Gateway

__all__ = ["listening"]

_BACKLOG: Final = 4096
_FILE_THREADS: Final = 4


@asynccontextmanager
async def listening(gateway: Gateway, host: str, port: int, stop_seconds_max: float) -> AsyncIterator[int]:
    """Serve a gateway. Gives the port, a free one for 0. In the end it waits for what is in flight. Raises OSError."""
    server = GatewayServer(gateway)
    listener = await server.loop.create_server(lambda: Connection(server), host, port, backlog=_BACKLOG)
    server.look_soon()
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        await server.aclose(stop_seconds_max)


class GatewayServer:
    """Made and used on one event loop."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.loop = asyncio.get_running_loop()
        self.threads = ThreadPoolExecutor(_FILE_THREADS, thread_name_prefix="gateway-files")
        self._connections: set[Connection] = set()
        self._emptied: asyncio.Event = asyncio.Event()
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._date = (0, b"")

    def admit(self, connection: Connection) -> bool:
        """Count a new connection in. False: there are too many, or this is the end."""
        if self._closing or len(self._connections) >= CONNECTIONS_MAX:
            return False
        self._connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._emptied.set()

    @property
    def is_draining(self) -> bool:
        return self._closing or self.gateway.is_draining

    def date(self) -> bytes:
        """The header line for now."""
        now = int(time.time())
        if now != self._date[0]:
            self._date = (now, f"date: {formatdate(now, usegmt=True)}\r\n".encode("ascii"))
        return self._date[1]

    def look_soon(self) -> None:
        self._timer = self.loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        now = self.loop.time()
        for connection in list(self._connections):
            connection.look(now)
        self.look_soon()

    async def aclose(self, seconds_max: float) -> None:
        """End the connections: those without a request now, others with their answer, the rest when time is up."""
        self._closing = True
        for connection in list(self._connections):
            connection.close_idle()
        if self._connections:
            self._emptied.clear()
            try:
                async with asyncio.timeout(seconds_max):
                    await self._emptied.wait()
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
                await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()
        self.threads.shutdown(wait=False)
