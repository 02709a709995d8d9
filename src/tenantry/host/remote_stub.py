"""Something that a worker process passed on and that another may call: a function, or an object with methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.errors import LimitExceeded
from tenantry.host.limits import DEPTH_MAX
from tenantry.host.targets import GONE, Reply, Thing, close_streams
from tenantry.wire.events import CallReceived, Import, InvocationKind

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.process import WorkerProcess
    from tenantry.host.terms import Terms

__all__ = ["RemoteStub"]


class RemoteStub:
    """`terms` are those of the invocation that it came with."""

    def __init__(self, process: WorkerProcess, imported: Import, terms: Terms) -> None:
        self._terms = terms
        self.process = process
        self.imported = imported
        self._references = 0

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        if not self.imported.live or self.process.peer.is_closed:
            return await GONE.call(invocation, kind, method, payload, things)
        if invocation.depth >= DEPTH_MAX:
            await close_streams(things)
            raise LimitExceeded(f"Workers may call one another {DEPTH_MAX} deep.")
        return await self.process.invoke(
            InvocationKind.RPC,
            method,
            payload,
            things,
            invocation.depth + 1,
            self.imported.identifier,
            self._terms,
            invocation,
        )

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        process.calls.serve_now(invocation, call)
        return True

    def exported(self) -> None:
        self._references += 1

    def released(self) -> None:
        self._references -= 1
        if self._references == 0:
            self.process.peer.release(self.imported)
