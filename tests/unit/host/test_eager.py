"""Coroutines whose first step is taken by hand."""

from __future__ import annotations

import asyncio

import pytest

from tenantry.host.eager import begin


async def test_work_that_need_not_wait_is_done_at_once() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("it")

    assert begin(work(), asyncio.get_running_loop()) is None
    assert done == ["it"]


async def test_work_that_waits_goes_on_in_a_task() -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[int] = loop.create_future()
    second: asyncio.Future[int] = loop.create_future()
    seen: list[int] = []

    async def work() -> None:
        seen.append(await first)
        await asyncio.sleep(0)
        seen.append(await second)

    task = begin(work(), loop)
    assert task is not None
    first.set_result(1)
    loop.call_soon(second.set_result, 2)
    await task
    assert seen == [1, 2]


async def test_what_it_waits_for_may_be_done_before_the_task_has_its_turn_and_may_fail() -> None:
    loop = asyncio.get_running_loop()
    waits_for: asyncio.Future[None] = loop.create_future()
    caught: list[str] = []

    async def work() -> None:
        try:
            await waits_for
        except ValueError as error:
            caught.append(str(error))

    task = begin(work(), loop)
    assert task is not None
    waits_for.set_exception(ValueError("no"))
    await task
    assert caught == ["no"]


async def test_a_task_that_is_canceled_before_its_first_turn_cancels_the_work() -> None:
    loop = asyncio.get_running_loop()
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # what cleaning up may well do
            cleaned.append("up")
            raise

    task = begin(work(), loop)
    assert task is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned == ["up"]


async def test_work_that_is_canceled_later_is_told_where_it_waits() -> None:
    loop = asyncio.get_running_loop()
    told: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        try:
            await loop.create_future()
        finally:
            told.append("it")

    task = begin(work(), loop)
    assert task is not None
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["it"]


async def test_what_the_first_step_raises_is_raised_here() -> None:
    async def work() -> None:
        raise KeyError("a")

    with pytest.raises(KeyError, match="a"):
        begin(work(), asyncio.get_running_loop())


async def test_work_that_ends_as_canceled_in_its_first_step_is_over() -> None:
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    gone.cancel()

    async def work() -> None:
        await gone

    assert begin(work(), asyncio.get_running_loop()) is None
