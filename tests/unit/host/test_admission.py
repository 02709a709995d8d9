"""Who gets in, in which order, and that no place is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from tenantry.errors import Overloaded
from tenantry.host import admission as module
from tenantry.host.admission import Admission
from tenantry.host.limits import DEPTH_MAX


async def waiting(awaitable: Awaitable[None]) -> asyncio.Task[None]:
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    assert isinstance(task, asyncio.Task)
    return task


async def test_places_are_handed_on_in_the_order_of_arrival() -> None:
    admission = Admission(1, 2)
    await admission.enter()
    first, second = await waiting(admission.enter()), await waiting(admission.enter())
    assert not admission.try_enter()
    with pytest.raises(Overloaded):
        await admission.enter()
    admission.leave()
    await first
    assert not second.done()
    admission.leave()
    await second
    admission.leave()
    assert (admission.running, admission.queued) == (0, 0)


async def test_without_a_queue_the_next_is_refused_at_once() -> None:
    admission = Admission(1, 0)
    assert admission.try_enter()
    with pytest.raises(Overloaded):
        await admission.enter()


async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next() -> None:
    admission = Admission(1, 2)
    await admission.enter()
    first, second = await waiting(admission.enter()), await waiting(admission.enter())
    admission.leave()
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    await second
    admission.leave()
    assert admission.running == 0


async def test_who_waits_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE_SECONDS_MAX", 0)
    admission = Admission(1, 1)
    await admission.enter()
    with pytest.raises(Overloaded, match="none of them ended"):
        await admission.enter()
    assert (admission.running, admission.queued) == (1, 0)
    admission.leave()
    assert admission.running == 0


async def test_nested_calls_go_beyond_and_are_paid_back_first() -> None:
    admission = Admission(1, 1)
    await admission.enter()
    admission.enter_nested()
    queued = await waiting(admission.enter())
    admission.leave()
    await asyncio.sleep(0)
    assert not queued.done()
    admission.leave()
    await queued


async def test_nested_calls_have_a_bound_too() -> None:
    admission = Admission(2, 0)
    for _ in range(2 * DEPTH_MAX):
        admission.enter_nested()
    with pytest.raises(Overloaded, match="most of them its own"):
        admission.enter_nested()
    assert admission.running == 2 * DEPTH_MAX
