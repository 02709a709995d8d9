"""Stubs: capabilities of the host, or of another Worker through the host, that this Worker can call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tenantry.channel import ChannelClosed
from tenantry.runtime.invocation import current
from tenantry.wire.events import Capability, Import, InvocationKind, PeerError, StubExport
from tenantry.wire.terms import TERMS_MARK, pack_terms

if TYPE_CHECKING:
    from tenantry.runtime.streams import ReadableStream
    from tenantry.runtime.worker import Worker

__all__ = ["LocalStub", "StreamStub", "Stub"]


class Stub:
    """A number that the host gave this Worker; what it means stands in a table of the host's.

    `route` goes before the method name: a dispatch namespace is one stub, and a script in it is a route of it.
    """

    __slots__ = ("_imported", "_route", "_target", "_terms", "_worker", "plain")

    def __init__(
        self,
        worker: Worker,
        target: int,
        imported: Import | None = None,
        route: str = "",
        *,
        plain: bool = True,
        terms: bytes = b"",
    ) -> None:
        self._worker = worker
        self._target = target
        self._imported = imported
        self._route = route
        self._terms = terms
        self.plain = plain
        """Whether results are plain values (bytes stay bytes), as of a binding, or follow the rules of RPC."""

    async def call(self, kind: InvocationKind, method: str, args: list[Any]) -> Any:
        """Call the host. Raises what `workers._convert.error_from_peer` makes of its answer."""
        worker = self._worker
        invocation = current()
        if self._imported is not None and not self._imported.live:
            raise worker.error_from_peer("Error", "RPC stub used after being disposed.")
        payload, capabilities = worker.encode(args, invocation)
        if self._terms:
            payload = self._terms + payload
        try:
            call, future = worker.peer.call(
                self._target, kind, self._route + method, payload, capabilities, invocation.call
            )
            try:
                returned = await future
            except asyncio.CancelledError:
                worker.peer.cancel(call)
                raise
        except PeerError as error:
            raise worker.error_from_peer(error.name, error.message) from None
        except ChannelClosed as error:
            raise worker.error_from_peer("Error", "Network connection lost.") from error
        return worker.decode(returned.payload, returned.capabilities, plain=self.plain)

    def via(self, route: str, terms: dict[str, Any] | None = None) -> Stub:
        """This stub with a route, the script of a namespace, and the terms on which it is called."""
        packed = pack_terms(terms) if terms else b""
        mark = TERMS_MARK if packed else ""
        return Stub(self._worker, self._target, self._imported, f"{mark}{route}/", plain=False, terms=packed)

    def dup(self) -> Stub:
        return Stub(self._worker, self._target, self._imported, self._route, plain=self.plain, terms=self._terms)

    def dispose(self) -> None:
        if self._imported is not None:
            self._worker.peer.release(self._imported)

    def capability(self) -> Capability:
        """The stub as something that can be sent. Raises TypeError for one that may not leave this Worker."""
        if self._imported is None:
            raise TypeError("ServiceStub cannot be serialized in this context.")
        return self._imported


class LocalStub(Stub):
    """Something of this Worker's own that came back to it: called like any other stub, without leaving the process."""

    __slots__ = ("_own",)

    def __init__(self, worker: Worker, own: Any) -> None:
        super().__init__(worker, 0, plain=False)
        self._own = own

    async def call(self, kind: InvocationKind, method: str, args: list[Any]) -> Any:
        return await self._worker.call_own(self._own, method, args)

    def dup(self) -> Stub:
        return LocalStub(self._worker, self._own)

    def capability(self) -> Capability:
        return StubExport(self._own)


class StreamStub:
    """Work that the host does on a stream that it holds."""

    __slots__ = ("_forms", "_stream")

    def __init__(self, forms: Stub, stream: ReadableStream) -> None:
        self._forms = forms
        self._stream = stream

    async def call(self, kind: InvocationKind, method: str, args: list[Any]) -> Any:
        return await self._forms.call(kind, method, [self._stream, *args])
