"""The sockets of one Worker: the address that was judged is the address that is connected to.

Whatever way an address came (a URL, a resolver, a cache), it is judged once more when the socket for it is made, and
the socket goes there and nowhere else. A Worker has a connector of its own: a connection that one of them may use, or
has left in some state, is never handed to another.
"""

from __future__ import annotations

import resource
import socket
from typing import Any, Final

from aiohttp import TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey

from tenantry.config.egress import EgressPolicy
from tenantry.host.egress.addresses import parse_address
from tenantry.host.egress.limits import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_WORKER_MAX,
    IDLE_CONNECTIONS_PER_WORKER_MAX,
    KEEPALIVE_SECONDS,
    NAME_SECONDS,
    NAMES_CACHED_MAX,
)
from tenantry.host.egress.policy import permits_socket
from tenantry.host.egress.resolver import Lookup, NotPermitted, PolicyResolver

__all__ = ["PolicyConnector", "SocketCount"]

_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)


class SocketCount:
    """The open sockets of all Workers. `most` leaves the rest of the host's descriptors to the host."""

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.open = 0
        self.most = CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, soft // 4)


class _CountedSocket(socket.socket):
    """asyncio ends a socket with `close`, uvloop takes its descriptor and closes that: with `detach`."""

    count: SocketCount | None = None

    def close(self) -> None:
        self._uncount()
        super().close()

    def detach(self) -> int:
        self._uncount()
        return super().detach()

    def _uncount(self) -> None:
        count, self.count = self.count, None
        if count is not None:
            count.open -= 1


class PolicyConnector(TCPConnector):
    def __init__(self, policy: EgressPolicy, lookup: Lookup, count: SocketCount) -> None:
        super().__init__(
            resolver=PolicyResolver(policy, lookup),
            ttl_dns_cache=NAME_SECONDS,
            dns_cache_max_size=NAMES_CACHED_MAX,
            limit=CONNECTIONS_PER_WORKER_MAX,
            keepalive_timeout=KEEPALIVE_SECONDS,
            socket_factory=self._make_socket,
        )
        self._policy = policy
        self._count = count

    def _make_socket(self, addrinfo: Any) -> socket.socket:  # the tuple's type is not one that aiohttp exports
        family, kind, proto, _, sockaddr = addrinfo
        if family not in _FAMILIES or not permits_socket(self._policy, parse_address(sockaddr[0]), sockaddr[1]):
            raise NotPermitted("refused by the policy")
        if self._count.open >= self._count.most:
            raise OSError("no more sockets")
        made = _CountedSocket(family, kind, proto)
        made.count = self._count
        self._count.open += 1
        return made

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        """Keep few idle connections: aiohttp itself would keep one to each of a thousand hosts."""
        idle = sum(len(connections) for connections in self._conns.values())
        crowded = idle >= IDLE_CONNECTIONS_PER_WORKER_MAX or self._count.open > self._count.most // 2
        super()._release(key, protocol, should_close=should_close or crowded)
