"""What a Worker can call: every capability of the host is a `Target`, every argument and result a payload with things.

A *thing* is a byte stream or a target, free of any session. The process that a thing goes to gives it a number there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec

from tenantry.errors import BindingError
from tenantry.streams import ByteStream, is_byte_stream
from tenantry.wire.events import InvocationKind

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.process import WorkerProcess
    from tenantry.wire.events import CallReceived

__all__ = ["GONE", "Permanent", "Reply", "Target", "Thing", "close_streams", "give_back"]


class Target(Protocol):
    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        """Answer a call that code of `invocation` made. The streams in `things` are the target's to close.

        `method` and `payload` come from a worker and are hostile until read with care. Raises PeerError, BindingError
        or InvocationError for what the Worker may read; ProtocolError for what no honest worker sends.
        """

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        """See to it that a call without streams and stubs is answered, by ways that are quicker than a task.

        False: nothing was done, and a task asks `call`. Raises as `call` does.
        """

    def exported(self) -> None:
        """One more process can reach this."""

    def released(self) -> None:
        """One process less can reach this."""


Thing = ByteStream | Target


class Reply(msgspec.Struct, eq=False):
    """`over` is set once the call itself is over, where that is later than its answer: until then the streams that
    came with the call can be read. Without it the call ends with its answer."""

    payload: bytes
    things: list[Thing] = msgspec.field(default_factory=list)
    over: asyncio.Event | None = None


class Permanent:
    """A target that nobody's release ends."""

    def begin(self, process: WorkerProcess, invocation: Invocation, call: CallReceived) -> bool:
        return False

    def exported(self) -> None:
        pass

    def released(self) -> None:
        pass


class _Gone(Permanent):
    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        await close_streams(things)
        raise BindingError("The execution context which hosts this callback is no longer running.")


GONE: Target = _Gone()


async def close_streams(things: list[Thing]) -> None:
    for thing in things:
        if is_byte_stream(thing):
            await thing.aclose()


async def give_back(things: list[Thing]) -> None:
    """Close the streams, and say of the rest that it will not be called."""
    await close_streams(things)
    for thing in things:
        if not isinstance(thing, ByteStream):
            thing.exported()
            thing.released()
