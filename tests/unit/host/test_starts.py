"""Places of processes that begin: so many at once, first come first served, and nobody keeps one for long."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import dataclass, field
from typing import Any

import pytest

from tenantry.errors import Overloaded
from tenantry.host.limits import STARTS_QUEUED_MAX
from tenantry.host.starts import Start, Starts


@dataclass
class Session:
    greeted: bool = False


@dataclass
class FakePeer:
    session: Session = field(default_factory=Session)
    is_closed: bool = False


@dataclass
class FakeProcess:
    peer: FakePeer = field(default_factory=FakePeer)


def made(place: Start) -> Any:
    """The process that came of a place, importing its Worker."""
    process: Any = FakeProcess()
    place.process = process
    return process


def starts(at_once: int, *, full: bool = False) -> Starts:
    return Starts(at_once, lambda: full)


async def queued(starts: Starts, count: int) -> list[asyncio.Task[Start]]:
    tasks = [asyncio.create_task(starts.enter()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_one_that_speaks_gives_its_place_to_the_next_in_order() -> None:
    gate = starts(1)
    process = made(await gate.enter())
    first, second = await queued(gate, 2)
    process.peer.session.greeted = True
    place = await first
    assert not second.done()
    made(place).peer.is_closed = True  # it died; that is as good
    await second


async def test_a_start_that_failed_gives_its_place_up_at_once() -> None:
    gate = starts(1)
    place = await gate.enter()
    (waiting,) = await queued(gate, 1)
    gate.leave(place)
    await asyncio.sleep(0)
    assert waiting.done()


async def test_who_is_through_is_forgotten() -> None:
    gate = starts(1)
    process = made(await gate.enter())
    process.peer.is_closed = True
    gone = weakref.ref(process)
    del process
    async with asyncio.timeout(10):
        while gone() is not None:
            await asyncio.sleep(0.01)


async def test_an_import_without_end_holds_nobody_up_for_long() -> None:
    gate = starts(2)
    for _ in range(2):
        made(await gate.enter())
    await asyncio.wait_for(gate.enter(), 10)


async def test_who_leaves_the_queue_is_not_waited_for() -> None:
    gate = starts(1)
    place = await gate.enter()
    first, second = await queued(gate, 2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.leave(place)
    await second


async def test_a_queue_that_is_full_refuses() -> None:
    gate = starts(1)
    await gate.enter()
    tasks = await queued(gate, STARTS_QUEUED_MAX)
    with pytest.raises(Overloaded, match="Too many Workers are being started"):
        await gate.enter()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gate.close()


async def test_without_room_for_another_process_none_is_started() -> None:
    with pytest.raises(Overloaded, match="no memory"):
        await starts(1, full=True).enter()
