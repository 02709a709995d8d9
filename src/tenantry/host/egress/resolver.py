"""Names to addresses. aiohttp's connector asks `PolicyResolver` for every host that is a name, and connects to nothing
but what it returns: a name that changes its mind between check and use (DNS rebinding) gains nothing.

Lookups block a thread each, so they have threads of their own, and one Worker may only use a few at once: a name server
that never answers is an attack on whoever else waits for the pool.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from tenantry.config.egress import EgressPolicy
from tenantry.host.egress.addresses import BadHost, parse_address, parse_host_untrusted
from tenantry.host.egress.limits import (
    ADDRESSES_MAX,
    LOOKUP_THREADS,
    LOOKUPS_PER_WORKER_MAX,
    RESOLVE_SECONDS_MAX,
)
from tenantry.host.egress.policy import permits_address, permits_name

__all__ = ["Lookup", "NotPermitted", "PolicyResolver", "SystemLookup"]

Lookup = Callable[[str], Awaitable[list[str]]]
"""The addresses of a name, as texts. Raises OSError when there are none."""


class NotPermitted(OSError):
    """Refused by the policy. An OSError, so that a connector treats it like an address that does not answer."""


class SystemLookup:
    """What the machine's own resolver says."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="resolve")

    async def __call__(self, name: str) -> list[str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _getaddrinfo, name)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except UnicodeError as error:
        raise OSError("not a name") from error
    return [str(sockaddr[0]) for *_, sockaddr in found]


class PolicyResolver(AbstractResolver):
    """The resolver of one Worker's connector."""

    def __init__(self, policy: EgressPolicy, lookup: Lookup) -> None:
        self._policy = policy
        self._lookup = lookup
        self._room = asyncio.Semaphore(LOOKUPS_PER_WORKER_MAX)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises NotPermitted, also for a name that does not exist: a tenant must not learn which inner names do."""
        name = parse_host_untrusted(host)
        if not isinstance(name, str) or not permits_name(self._policy, name):
            raise NotPermitted(host)
        try:
            async with asyncio.timeout(RESOLVE_SECONDS_MAX):
                texts = await self._look_up(name)
        except OSError as error:
            raise NotPermitted(host) from error
        results: list[ResolveResult] = []
        for text in dict.fromkeys(texts):
            try:
                address = parse_address(text)
            except BadHost:
                continue
            if permits_address(self._policy, address, name):
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=str(address),
                        port=port,
                        family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                        proto=socket.IPPROTO_TCP,
                        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    )
                )
        if not results:
            raise NotPermitted(host)
        return results[:ADDRESSES_MAX]

    async def _look_up(self, name: str) -> list[str]:
        await self._room.acquire()
        # A lookup that nobody waits for any more still has its thread, and with it its place.
        lookup = asyncio.ensure_future(self._lookup(name))
        lookup.add_done_callback(self._looked_up)
        return await asyncio.shield(lookup)

    def _looked_up(self, lookup: asyncio.Future[list[str]]) -> None:
        self._room.release()
        if not lookup.cancelled():
            lookup.exception()

    async def close(self) -> None:
        """The lookup is everybody's."""
