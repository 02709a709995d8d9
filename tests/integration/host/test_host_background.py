"""Who keeps a processor busy goes behind the others, for as long as it does; who does not stays where it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from tenantry.config.plans import Plan, Plans
from tenantry.host import limits, watchdog

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {"plans": Plans(Plan(startup_seconds=120))}  # it may take long behind the others

WORKER = """
    import asyncio, threading
    from workers import Response, WorkerEntrypoint

    stop = threading.Event()

    def spin():
        while not stop.is_set(): pass

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            if request.url.endswith("/spin"):
                for _ in range(3):
                    threading.Thread(target=spin).start()
                try:
                    await asyncio.Event().wait()
                finally:
                    stop.set()
            return Response("fine")
"""
WAY_IN = """
    from workers import WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            return await self.env.SPACE.get(request.url.split("/")[3]).fetch(request)
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def leave(request: asyncio.Task[str]) -> None:
    """As its client: the Worker hears of it, and stops."""
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


def policies(pid: int) -> set[int]:
    found = set()
    for thread in os.listdir(f"/proc/{pid}/task"):
        with suppress(ProcessLookupError):  # it ended meanwhile
            found.add(os.sched_getscheduler(int(thread)))
    return found


async def deploy(platform: Any, *users: str) -> None:
    """Until nothing is left of what other tests had under these names."""
    for user in users:
        platform.deploy(user, WORKER, namespace="street")
    platform.deploy("way-in", WAY_IN, bindings={"SPACE": ("dispatch_namespace", {"namespace": "street"})})
    await until(lambda: not any(platform.pids(name) for name in (*users, "way-in")))


async def test_a_busy_worker_makes_way_for_the_others_until_it_has_calmed_down(
    platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "BACKGROUND_SECONDS_FIRST", 0.05)
    await deploy(platform, "loud", "quiet")
    assert await platform.text("way-in", "/quiet/") == "fine"
    spin = asyncio.create_task(platform.text("way-in", "/loud/spin"))
    await until(lambda: bool(platform.pids("loud")))
    (loud,), (quiet,), (way_in,) = (platform.pids(name) for name in ("loud", "quiet", "way-in"))
    await until(lambda: policies(loud) == {os.SCHED_IDLE})
    assert policies(quiet) == policies(way_in) == {os.SCHED_OTHER}
    behind = {process.process.pid for process in platform.host._live if process.peer.in_background}
    assert behind == {loud}  # on the host's loop as on the processors
    await until(lambda: bool(platform.host._pacemaker.is_going))
    assert await platform.text("way-in", "/quiet/") == "fine"

    await leave(spin)
    if os.geteuid() == 0:
        await until(lambda: policies(loud) == {os.SCHED_OTHER})
        assert platform.pids("loud") == [loud]
        assert not any(process.peer.in_background for process in platform.host._live)
        await until(lambda: not platform.host._pacemaker.is_going)
    else:
        await until(lambda: platform.pids("loud") == [])  # it cannot be taken back: the next request gets a fresh one
    assert await platform.text("way-in", "/loud/") == "fine"


async def test_one_that_cannot_be_taken_back_is_replaced_when_it_rests(
    platform: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an ordinary user's host must."""
    monkeypatch.setattr(watchdog, "BACKGROUND_SECONDS_FIRST", 0.05)
    await deploy(platform, "loud")
    spin = asyncio.create_task(platform.text("way-in", "/loud/spin"))
    await until(lambda: bool(platform.pids("loud")))
    (loud,) = platform.pids("loud")
    await until(lambda: policies(loud) == {os.SCHED_IDLE})
    process = next(process for process in platform.host._live if process.process.pid == loud)
    forth = process.process.set_background
    monkeypatch.setattr(type(process.process), "set_background", lambda _, background: background and forth(True))
    await leave(spin)
    await until(lambda: platform.pids("loud") == [])
    assert "crashed" not in platform.logs("loud")
    assert await platform.text("way-in", "/loud/") == "fine"


async def test_the_operators_own_worker_is_never_behind(platform: Any, unique: str) -> None:
    platform.deploy(unique, WORKER)
    spin = asyncio.create_task(platform.text(unique, "/spin"))
    await until(lambda: bool(platform.pids(unique)))
    process = next(process for process in platform.host._live if process.worker.name == unique)
    await until(lambda: process.cpu_in_one_go > 2 * limits.BUSY_SILENT_CPU_SECONDS)
    assert policies(process.process.pid) == {os.SCHED_OTHER}
    await leave(spin)


async def test_what_follows_a_crash_begins_behind_the_others(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "BACKGROUND_SECONDS_FIRST", 3600.0)
    await deploy(platform, "loud")
    assert await platform.text("way-in", "/loud/") == "fine"
    (first,) = platform.pids("loud")
    assert policies(first) == {os.SCHED_OTHER}
    os.kill(first, signal.SIGKILL)
    await until(lambda: platform.pids("loud") == [])
    assert await platform.text("way-in", "/loud/") == "fine"
    (second,) = platform.pids("loud")
    assert policies(second) == {os.SCHED_IDLE}


async def test_without_a_pacemaker_everything_goes_on(platform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "BACKGROUND_SECONDS_FIRST", 0.05)
    tried = asyncio.Event()

    def fail(going: bool) -> None:
        if going:
            tried.set()
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(platform.host._pacemaker, "go", fail)
    await deploy(platform, "loud", "quiet")
    spin = asyncio.create_task(platform.text("way-in", "/loud/spin"))
    await asyncio.wait_for(tried.wait(), 60)
    assert await platform.text("way-in", "/quiet/") == "fine"
    await leave(spin)
