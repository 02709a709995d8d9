"""The proxies of all worker processes with sockets: who gets one, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from tenantry.host.egress.dialer import Dialer
from tenantry.host.egress.proxy import Proxy
from tenantry.sandbox.limits import PROXY_PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from tenantry.config.egress import EgressPolicies
    from tenantry.host.egress.client import EgressNetwork

__all__ = ["Proxies"]

_URL: Final = f"http://127.0.0.1:{PROXY_PORT}"
_Key = tuple[str | None, str]


class Proxies:
    """Made and closed on one event loop."""

    def __init__(self, network: EgressNetwork, policies: EgressPolicies) -> None:
        self._network = network
        self._policies = policies
        # One for all processes of a Worker, old and new: gone with the last of them.
        self._dialers: WeakValueDictionary[_Key, Dialer] = WeakValueDictionary()
        self._open: set[Proxy] = set()

    def url(self, namespace: str | None, name: str) -> str:
        """Where the processes of a Worker find their proxy; empty when they have no sockets."""
        policy = self._policies.of(namespace, name)
        return _URL if policy.sockets and policy.mode != "deny" else ""

    def open(self, listener: socket, namespace: str | None, name: str, on_refused: Callable[[str], None]) -> Proxy:
        """The proxy of one process. It belongs to the caller, and its listener to it."""
        key = (namespace, name)
        dialer = self._dialers.get(key)
        if dialer is None:
            dialer = self._dialers[key] = Dialer(self._network, self._policies.of(*key))
        proxy = Proxy(listener, dialer, on_refused)
        self._open.add(proxy)
        proxy.on_closed(self._open.discard)
        return proxy

    async def aclose(self) -> None:
        """Close all, and wait until nothing of them is left."""
        for proxy in list(self._open):
            proxy.close()
        for proxy in list(self._open):
            await proxy.wait_closed()
