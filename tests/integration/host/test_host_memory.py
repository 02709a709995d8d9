"""The memory that all worker processes may hold together: who makes room, and who is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenantry.errors import Overloaded

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {"memory_bytes_max": 100 * 1024 * 1024}

KEEPS = """
    import asyncio
    from workers import Response, WorkerEntrypoint

    kept = []

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.rpartition("/")[2]
            if path == "keep":
                kept.append(b"x" * 27_000_000)
            if path == "hold":
                kept.append(b"x" * 27_000_000)
                print("holds")
                await asyncio.sleep(3600)
            return Response(str(len(kept)))
"""


async def until_measured(platform: Any, size: int) -> None:
    """Until the host has seen what was kept: it looks now and then."""
    async with asyncio.timeout(20):
        while platform.host._live.memory_bytes < size:
            await asyncio.sleep(0.01)


async def clear(platform: Any, names: list[str]) -> None:
    for name in names:
        platform.host.removed(None, name)
    async with asyncio.timeout(20):
        while any(platform.pids(name) for name in names):
            await asyncio.sleep(0.01)


async def test_the_one_that_has_been_idle_longest_makes_room(platform: Any) -> None:
    names = ["one", "two", "three"]
    for number, name in enumerate(names, 1):
        platform.deploy(name, KEEPS)
        assert await platform.text(name, "/keep") == "1"
        await until_measured(platform, number * 27_000_000)
    assert await platform.text("one") == "1"  # now the second has been idle for longer
    before = {name: platform.pids(name) for name in names}

    platform.deploy("four", KEEPS)
    assert await platform.text("four", "/keep") == "1"
    async with asyncio.timeout(20):
        while platform.pids("two"):
            await asyncio.sleep(0.01)

    assert {name: platform.pids(name) for name in names} == {**before, "two": []}
    assert len(platform.pids("four")) == 1
    assert "crashed" not in platform.logs("two")
    assert await platform.text("two") == "0"  # served again, by a fresh process
    await clear(platform, [*names, "four"])


async def test_while_all_are_busy_no_other_is_started(platform: Any) -> None:
    names = ["a", "b", "c", "d"]
    held = []
    for number, name in enumerate(names, 1):
        platform.deploy(name, KEEPS)
        held.append(asyncio.create_task(platform.text(name, "/hold")))
        await platform.wait_log(name, "holds")
        await until_measured(platform, number * 27_000_000)
    platform.deploy("late", KEEPS)
    with pytest.raises(Overloaded, match="no memory for another process"):
        await platform.text("late")
    assert all(platform.pids(name) for name in names)

    held[0].cancel()
    await asyncio.gather(held[0], return_exceptions=True)
    async with asyncio.timeout(20):
        while True:  # until the Worker has heard that its client left
            try:
                assert await platform.text("late") == "0"
                break
            except Overloaded:
                await asyncio.sleep(0.01)
    for task in held:
        task.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    await clear(platform, [*names, "late"])
