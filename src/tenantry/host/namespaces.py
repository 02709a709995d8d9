"""Dispatch namespaces: one target each, whose scripts are routes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.errors import BindingError, WorkerNotFound
from tenantry.host.relay import Relay
from tenantry.host.targets import Permanent, Reply, Thing, close_streams
from tenantry.host.terms import OutboundWorker, read_terms_untrusted
from tenantry.wire.events import InvocationKind
from tenantry.wire.terms import TERMS_MARK, split_terms_untrusted

if TYPE_CHECKING:
    from tenantry.host.host import Host
    from tenantry.host.invocation import Invocation
    from tenantry.host.process import WorkerProcess
    from tenantry.wire.events import CallReceived

__all__ = ["NamespaceTarget"]


class NamespaceTarget(Permanent):
    """`env.DISPATCHER`. A call's method is `script/method`, or `?script/method` with the terms of `get()` in front of
    the arguments (wire.terms); what is inside the call is passed on unread.
    """

    def __init__(self, host: Host, namespace: str, outbound: OutboundWorker | None = None) -> None:
        self._host = host
        self._namespace = namespace
        self._outbound = outbound
        self._terms = read_terms_untrusted({}, outbound)

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        script, slash, method = call.method.partition("/")
        if not slash or script.startswith(TERMS_MARK):
            return False
        way = self._host.find(self._namespace, script)
        if way is None:
            return False
        return Relay(process, invocation, call, way.pool_for(invocation)).try_start(method, self._terms)

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        terms = self._terms
        if method.startswith(TERMS_MARK):
            method = method.removeprefix(TERMS_MARK)
            try:
                given, payload = split_terms_untrusted(payload)
                terms = read_terms_untrusted(given, self._outbound)
            except BaseException:
                await close_streams(things)
                raise
        script, slash, method = method.partition("/")
        way = self._host.find(self._namespace, script) if slash else None
        if way is None:
            await close_streams(things)
            raise (
                WorkerNotFound
                if slash
                else BindingError("A dispatch namespace has the method get() only.", "TypeError")
            )
        pool = way.pool_for(invocation)
        return await pool.invoke(kind, method, payload, things, invocation.depth + 1, terms, invocation)
