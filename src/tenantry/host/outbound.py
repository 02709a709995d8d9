"""`fetch()` as a Worker's processes are given it: to the outbound Worker where the invocation has one, else out.

Which of the two is the invocation's terms to say, which stand in the host: code that is called through a binding with
an outbound Worker cannot tell the difference, and cannot go around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.errors import ProtocolError, WorkerNotFound
from tenantry.host.egress.request import decode_request_untrusted
from tenantry.host.targets import Permanent, Reply, Target, Thing, close_streams
from tenantry.wire.events import InvocationKind
from tenantry.wire.values import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenantry.host.invocation import Invocation
    from tenantry.host.split import Invokable
    from tenantry.host.terms import OutboundRoute

__all__ = ["FetchTarget"]


class FetchTarget(Permanent):
    """`find` gives the pool of a Worker outside dispatch namespaces."""

    def __init__(self, egress: Target, find: Callable[[None, str], Invokable | None]) -> None:
        self._egress = egress
        self._find = find

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        route = invocation.terms.outbound
        if route is None:
            return await self._egress.call(invocation, kind, method, payload, things)
        try:
            if kind != InvocationKind.FETCH:
                raise ProtocolError("fetch() has no methods")
            request = decode_request_untrusted(payload)
            way = self._find(None, route.worker.service)
            if way is None:
                raise WorkerNotFound("Worker not found: the outbound Worker of this dispatch namespace.")
        except BaseException:
            await close_streams(things)
            raise
        arguments = encode([request, _extra(route)])
        return await way.pool_for(invocation).invoke(
            InvocationKind.OUTBOUND, "fetch", arguments, things, invocation.depth + 1, caller=invocation
        )


def _extra(route: OutboundRoute) -> dict[str, object]:
    return {"entrypoint": route.worker.entrypoint, "params": dict(route.params)}
