"""Two peers over a socket pair, in one loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio

from tenantry.channel import Lane, Peer, Turns
from tenantry.wire.events import CallReceived, InvocationKind, LogLost, LogReceived, StreamExport, StubExport


class Owner:
    """A handler that keeps what it was told, and answers calls with `answer`."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[CallReceived] = asyncio.Queue()
        self.canceled: list[int] = []
        self.over: list[Any] = []
        self.failed: list[BaseException] = []
        self.logs: list[LogReceived] = []
        self.lost = 0
        self.invocations_closed: list[int] = []
        self.error: Exception | None = None
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()

    def call_received(self, event: CallReceived) -> None:
        self.calls.put_nowait(event)

    def call_canceled(self, call: int) -> None:
        self.canceled.append(call)
        self.changed.set()

    def call_closed(self, call: int) -> None:
        self.invocations_closed.append(call)
        self.changed.set()

    def export_over(self, export: StubExport | StreamExport) -> None:
        self.over.append(export)
        self.changed.set()

    def stream_failed(self, export: StreamExport, error: BaseException) -> None:
        self.failed.append(error)

    def logs_lost(self, event: LogLost) -> None:
        self.lost += event.count

    def log_received(self, event: LogReceived) -> None:
        self.logs.append(event)
        self.changed.set()

    def closed(self, error: Exception | None) -> None:
        self.error = error
        self.ended.set()
        self.changed.set()

    async def wait(self, condition: Any) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Ends:
    """`here` calls export 1 of `there`."""

    here: Peer
    there: Peer
    at_here: Owner = field(default_factory=Owner)
    at_there: Owner = field(default_factory=Owner)

    async def call(self, payload: bytes = b"", capabilities: Any = ()) -> tuple[Any, CallReceived]:
        """The future of an answer, and the call as it arrived."""
        _, future = self.here.call(1, InvocationKind.RPC, "method", payload, capabilities)
        return future, await asyncio.wait_for(self.at_there.calls.get(), 10)


def make_ends(lane: Lane | None = None) -> Ends:
    """`there` is read in the lane."""
    loop = asyncio.get_running_loop()
    one, other = socket.socketpair()
    at_here, at_there = Owner(), Owner()
    made = Ends(Peer(one, at_here, loop), Peer(other, at_there, loop, lane), at_here, at_there)
    made.there.session.export(StubExport("root"))
    return made


@pytest_asyncio.fixture
async def tenants() -> AsyncIterator[list[Ends]]:
    """Two of one loop, each in a lane of its own."""
    turns = Turns(asyncio.get_running_loop())
    made = [make_ends(turns.lane()) for _ in range(2)]
    yield made
    for each in made:
        await each.here.wait_closed()
        await each.there.wait_closed()


@pytest_asyncio.fixture
async def only_tenant() -> AsyncIterator[Ends]:
    made = make_ends(Turns(asyncio.get_running_loop()).lane())
    yield made
    await made.here.wait_closed()
    await made.there.wait_closed()


@pytest_asyncio.fixture
async def ends() -> AsyncIterator[Ends]:
    made = make_ends()
    yield made
    await made.here.wait_closed()
    await made.there.wait_closed()
    # What was cancelled by the end has a turn to say so.
    await asyncio.sleep(0)
