"""Plain TCP connections of one Worker, for its proxy: judged like the requests of `fetch()`, by the same functions.

The port and the name are judged before anything is resolved, each address before it is connected to, and what is
connected to is that address and never the name again.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from tenantry.host.egress.addresses import parse_address, parse_host_untrusted
from tenantry.host.egress.limits import (
    CONNECT_ADDRESS_SECONDS_MAX,
    CONNECT_SECONDS_MAX,
    CONNECTIONS_PER_WORKER_MAX,
    QUEUE_SECONDS_MAX,
    READ_BYTES,
)
from tenantry.host.egress.policy import permits_address, permits_name, permits_port, permits_socket
from tenantry.host.egress.resolver import NotPermitted, PolicyResolver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tenantry.config.egress import EgressPolicy
    from tenantry.host.egress.addresses import Address
    from tenantry.host.egress.client import EgressNetwork

__all__ = ["Connection", "Crowded", "Dialer"]

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Crowded(Exception):
    """The Worker, or the platform, has as many connections as it may."""


class Dialer:
    """One for all processes of a Worker: what it counts, it counts for the tenant."""

    def __init__(self, network: EgressNetwork, policy: EgressPolicy) -> None:
        self._network = network
        self._policy = policy
        self._resolver = PolicyResolver(policy, network.lookup)
        self._room = asyncio.Semaphore(CONNECTIONS_PER_WORKER_MAX)

    @asynccontextmanager
    async def connection(self, host_untrusted: str, port: int) -> AsyncIterator[Connection]:
        """A connection that is open while the block runs, and counts for as long: for the Worker and for the platform.

        Raises BadHost for a host that is none, NotPermitted, Crowded, and OSError (TimeoutError too) when nothing
        answers there.
        """
        host = parse_host_untrusted(host_untrusted)
        if not self._permits(host, port):
            raise NotPermitted
        try:
            async with asyncio.timeout(QUEUE_SECONDS_MAX):
                await self._room.acquire()
        except TimeoutError as error:
            raise Crowded from error
        count = self._network.sockets
        try:
            if count.open >= count.most:
                raise Crowded
            count.open += 1
            try:
                async with asyncio.timeout(CONNECT_SECONDS_MAX):
                    connected = await self._connect(host, port)
                reader, writer = await asyncio.open_connection(sock=connected, limit=READ_BYTES)
                try:
                    yield reader, writer
                finally:
                    # Not a close that waits until all is sent: the other side may never read it.
                    writer.transport.abort()
            finally:
                count.open -= 1
        finally:
            self._room.release()

    def _permits(self, host: Address | str, port: int) -> bool:
        if not permits_port(self._policy, port):
            return False
        if isinstance(host, str):
            return permits_name(self._policy, host)
        return permits_address(self._policy, host, None)

    async def _connect(self, host: Address | str, port: int) -> socket.socket:
        if isinstance(host, str):
            addresses = [parse_address(found["host"]) for found in await self._resolver.resolve(host, port)]
        else:
            addresses = [host]
        failure: OSError = NotPermitted()
        for address in addresses:
            try:
                return await self._connect_address(address, port)
            except OSError as error:
                failure = error
        raise failure

    async def _connect_address(self, address: Address, port: int) -> socket.socket:
        if not permits_socket(self._policy, address, port):
            raise NotPermitted
        made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            async with asyncio.timeout(CONNECT_ADDRESS_SECONDS_MAX):
                await asyncio.get_running_loop().sock_connect(made, (str(address), port))
        except BaseException:
            made.close()
            raise
        return made
