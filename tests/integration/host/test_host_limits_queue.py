"""Places of a Worker: who runs, who waits behind them, and who is refused."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tenantry.config.plans import Plan, Plans
from tenantry.errors import LimitExceeded, Overloaded, TimeLimitExceeded, WorkerCrashed

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {
    "plans": Plans(
        Plan(concurrent_invocations=2, queued_invocations=3),
        {(None, "slow"): Plan(wall_seconds=2), (None, "opener"): Plan()},
    )
}

GATE = """
    import asyncio
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.rpartition("/")[2]
            print(f"begin {path};")
            while await self.env.KV.get("open") is None:
                await asyncio.sleep(0.005)
            return Response(f"VERSION {path}")
"""

OPENER = """
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            await self.env.KV.put("open", "yes")
            return Response("")
"""


def kv(name: str) -> dict[str, Any]:
    return {"KV": ("kv_namespace", {"namespace_id": name})}


def deploy(platform: Any, name: str, version: str = "one") -> None:
    platform.deploy(name, GATE.replace("VERSION", version), bindings=kv(name))


async def open_gate(platform: Any, name: str) -> None:
    platform.deploy("opener", OPENER, bindings=kv(name))
    await platform.text("opener")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


async def fill(platform: Any, name: str) -> list[asyncio.Task[str]]:
    """Two that run and three that wait, in this order."""
    tasks = []
    for number in range(2):
        tasks.append(asyncio.create_task(platform.text(name, f"/{number}")))
        await platform.wait_log(name, f"begin {number};")
    admission = platform.host.find(None, name).admission
    for number in range(2, 5):
        tasks.append(asyncio.create_task(platform.text(name, f"/{number}")))
        await until(lambda number=number: admission.queued == number - 1)  # type: ignore[misc]  # a default is typed
    return tasks


async def test_so_many_run_so_many_wait_and_the_rest_is_refused(platform: Any, unique: str) -> None:
    deploy(platform, unique)
    tasks = await fill(platform, unique)
    with pytest.raises(Overloaded, match="2 requests running already, and 3 waiting"):
        await platform.text(unique, "/5")
    assert "begin 2;" not in platform.logs(unique)
    await open_gate(platform, unique)
    assert await asyncio.gather(*tasks) == [f"one {number}" for number in range(5)]
    log = platform.logs(unique)
    begun = [log.index(f"begin {number};") for number in range(5)]
    assert begun == sorted(begun)
    assert await platform.text(unique, "/6") == "one 6"


async def test_who_leaves_the_queue_makes_room_in_it(platform: Any, unique: str) -> None:
    deploy(platform, unique)
    tasks = await fill(platform, unique)
    left = tasks.pop(3)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    tasks.append(asyncio.create_task(platform.text(unique, "/5")))
    await until(lambda: platform.host.find(None, unique).admission.queued == 3)
    await open_gate(platform, unique)
    assert await asyncio.gather(*tasks) == ["one 0", "one 1", "one 2", "one 4", "one 5"]
    assert "begin 3;" not in platform.logs(unique)


async def test_a_process_that_dies_gives_its_places_back(platform: Any, unique: str) -> None:
    deploy(platform, unique)
    tasks = await fill(platform, unique)
    for pid in platform.pids(unique):
        os.kill(pid, signal.SIGKILL)
    await platform.wait_log(unique, "begin 3;")  # those who waited run in a fresh one
    await open_gate(platform, unique)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results[:2]] == [WorkerCrashed] * 2
    assert results[2:] == ["one 2", "one 3", "one 4"]
    admission = platform.host.find(None, unique).admission
    await until(lambda: admission.running == 0)


async def test_versions_share_the_places_and_who_waited_meets_the_newest(platform: Any, unique: str) -> None:
    deploy(platform, unique)
    tasks = await fill(platform, unique)
    deploy(platform, unique, "two")
    with pytest.raises(Overloaded):
        await platform.text(unique, "/5")
    await open_gate(platform, unique)
    assert await asyncio.gather(*tasks) == ["one 0", "one 1", "two 2", "two 3", "two 4"]


async def test_a_worker_that_calls_itself_does_not_wait_for_itself(platform: Any, unique: str) -> None:
    platform.deploy(
        unique,
        f"""
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return Response(str(await self.down(5)))

            async def down(self, rest):
                return rest and await self.env.SELF.get("{unique}").down(rest - 1) + 1
        """,
        namespace="recursive",
        bindings={"SELF": ("dispatch_namespace", {"namespace": "recursive"})},
    )
    platform.deploy(
        f"{unique}-way-in",
        f"""
        from workers import WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                return await self.env.SPACE.get("{unique}").fetch(request)
        """,
        bindings={"SPACE": ("dispatch_namespace", {"namespace": "recursive"})},
    )
    assert await asyncio.gather(*[platform.text(f"{unique}-way-in") for _ in range(5)]) == ["5"] * 5
    admission = platform.host.find("recursive", unique).admission
    await until(lambda: admission.running == 0)


async def test_a_worker_that_does_not_answer_in_time_is_told_so(platform: Any) -> None:
    platform.deploy(
        "slow",
        """
        import asyncio
        from workers import Response, WorkerEntrypoint

        class Default(WorkerEntrypoint):
            async def fetch(self, request):
                if request.url.endswith("/wait"):
                    await asyncio.Event().wait()
                return Response("fine")
        """,
    )
    assert await platform.text("slow") == "fine"
    with pytest.raises(TimeLimitExceeded, match="exceeded its time limit") as caught:
        await platform.fetch("slow", "/wait")
    assert isinstance(caught.value, LimitExceeded)
    assert "exceeded its time limit of 2 s" in platform.logs("slow")
    assert await platform.text("slow") == "fine"
