"""Service bindings: `env.OTHER` is another Worker of the account, outside of dispatch namespaces.

What is called runs on terms of its own, not on its caller's: the binding was made by who owns both. What it may be
asked in all, and how deep, is bounded for the event from outside that all of it serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenantry.errors import LimitExceeded, WorkerNotFound
from tenantry.host.limits import SERVICE_CALLS_MAX
from tenantry.host.relay import Relay
from tenantry.host.targets import Permanent, Reply, Thing, close_streams
from tenantry.host.terms import NO_TERMS
from tenantry.wire.entry import Entry, enter, pack_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenantry.host.invocation import Invocation
    from tenantry.host.process import WorkerProcess
    from tenantry.host.split import Invokable
    from tenantry.wire.events import CallReceived, InvocationKind

__all__ = ["ServiceBindingTarget"]


class ServiceBindingTarget(Permanent):
    """`find` gives what takes the invocations of a Worker outside dispatch namespaces. What is inside a call is passed
    on unread."""

    def __init__(self, find: Callable[[None, str], Invokable | None], fields: Mapping[str, Any]) -> None:
        """`fields` are those of the binding, as the control plane checked them."""
        self._find = find
        self._service: str = fields["service"]
        entry = Entry(fields.get("entrypoint"), fields.get("props") or {})
        self._front = pack_entry(entry) if entry != Entry() else None

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        way = self._find(None, self._service)
        if way is None or not _has_calls_left(invocation):
            return False
        kind, payload = self._delivered(call.kind, call.payload)
        relay = Relay(process, invocation, call, way.pool_for(invocation))
        if not relay.try_start(kind, call.method, payload, NO_TERMS):
            return False
        invocation.root.service_calls += 1
        return True

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        way = self._find(None, self._service)
        if way is None or not _has_calls_left(invocation):
            await close_streams(things)
            if way is None:
                raise WorkerNotFound(f'Worker not found: "{self._service}", which the service binding names.')
            raise LimitExceeded(
                f"Too many Worker invocations: one request may call {SERVICE_CALLS_MAX} times through service bindings."
            )
        invocation.root.service_calls += 1
        kind, payload = self._delivered(kind, payload)
        pool = way.pool_for(invocation)
        return await pool.invoke(kind, method, payload, things, invocation.depth + 1, NO_TERMS, invocation)

    def _delivered(self, kind: InvocationKind, payload: bytes) -> tuple[InvocationKind, bytes]:
        return (kind, payload) if self._front is None else (enter(kind), self._front + payload)


def _has_calls_left(invocation: Invocation) -> bool:
    return invocation.root.service_calls < SERVICE_CALLS_MAX
