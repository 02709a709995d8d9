"""What goes along with calls and answers: from the numbers of one process to things, and from things to its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenantry.channel import RemoteStream
from tenantry.host.remote_stub import RemoteStub
from tenantry.host.targets import GONE, Target, Thing
from tenantry.streams import ByteStream, is_byte_stream
from tenantry.wire.events import Capability, Import, StreamExport, StubExport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tenantry.channel import Peer
    from tenantry.host.process import WorkerProcess
    from tenantry.host.terms import Terms

__all__ = ["capability_of", "take_back", "thing_of"]


def thing_of(process: WorkerProcess, capability: Capability, terms: Terms) -> Thing:
    """`terms` are those of the invocation that it came with."""
    if isinstance(capability, Import):
        if capability.kind == "stream":
            return process.peer.stream(capability)
        if capability.owner is None:  # twice in one list is one stub: what it counts, it counts once
            capability.owner = RemoteStub(process, capability, terms)
        stub: RemoteStub = capability.owner
        return stub
    if isinstance(capability, StreamExport):
        process.peer.stop_pump(capability)
        source: ByteStream = capability.source
        return source
    target: Target | None = capability.target
    return target or GONE


def capability_of(process: WorkerProcess, thing: Thing) -> Capability:
    """What it is in that process: something of its own that comes home, or one more that it can reach."""
    if isinstance(thing, RemoteStub):
        if thing.process is process and thing.imported.live:
            return thing.imported
    elif isinstance(thing, RemoteStream) and thing.peer is process.peer and thing.untouched:
        return thing.imported
    if is_byte_stream(thing):
        return StreamExport(thing, thing.length)
    thing.exported()
    return StubExport(thing)


async def take_back(peer: Peer, capabilities: Sequence[Capability]) -> None:
    """Close, or give back, what could not be sent."""
    for capability in capabilities:
        if isinstance(capability, StreamExport):
            source: ByteStream = capability.source
            await source.aclose()
        elif isinstance(capability, StubExport):
            capability.target.released()
        else:
            peer.release(capability)
