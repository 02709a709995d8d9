"""Tasks whose first step is taken where they are made."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

from tenantry.runtime.eager import TaskStarter

variable: ContextVar[str] = ContextVar("variable", default="outside")


async def run_from_a_callback(work: Any) -> tuple[asyncio.Task[None], bool]:
    """The task of `work`, started from a callback as the channel's are, and whether it was done at once."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[tuple[asyncio.Task[None], bool]] = loop.create_future()

    def start() -> None:
        task = TaskStarter(loop).start(work)
        started.set_result((task, task.done()))

    loop.call_soon(start)
    return await started


async def test_work_that_need_not_wait_is_done_at_once() -> None:
    async def work() -> None:
        pass

    task, done = await run_from_a_callback(work())
    assert done
    await task


async def test_the_first_step_runs_in_its_task_and_in_a_context_of_its_own() -> None:
    seen: list[Any] = []

    async def work() -> None:
        variable.set("inside")
        seen.append(asyncio.current_task())
        async with asyncio.timeout(60):
            await asyncio.sleep(0)
        seen.append(variable.get())

    task, done = await run_from_a_callback(work())
    assert not done
    await task
    assert seen == [task, "inside"]
    assert variable.get() == "outside"


async def test_the_loop_is_as_it_was() -> None:
    loop = asyncio.get_running_loop()
    before = loop.call_soon

    async def work() -> None:
        loop.call_soon(lambda: None)
        await asyncio.sleep(0)

    task, _ = await run_from_a_callback(work())
    await task
    assert loop.call_soon == before
