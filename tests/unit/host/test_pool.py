"""The pool with processes that the test plays itself: ends at the wrong moment."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tenantry.config.deployment import DeployedWorker, WorkerLimits
from tenantry.errors import WorkerCrashed
from tenantry.host.bindings import CapabilityTable
from tenantry.host.pool import WorkerPool
from tenantry.wire.assignment import Assignment
from tenantry.wire.events import CallReceived, InvocationKind, StubExport
from tenantry.wire.session import Session


class FakeProcess:
    """A process whose far end answers every call with the same bytes, or does not live at all."""

    pid = 1

    def __init__(self, *, alive: bool) -> None:
        self.channel, self._far = socket.socketpair()
        self.listener: socket.socket | None = None
        self.killed = False
        if not alive:
            self._far.close()
            return
        self._far.setblocking(False)
        self._session = Session()
        self._session.export(StubExport("root"))
        asyncio.get_running_loop().add_reader(self._far, self._read)

    def _read(self) -> None:
        data = self._far.recv(65536)
        if not data:
            self.kill()
            return
        for event in self._session.feed_untrusted(data):
            if isinstance(event, CallReceived):
                self._session.result(event.call, b"answer")
        self._far.send(self._session.take_outbox())

    def kill(self) -> None:
        self.killed = True
        if self._far.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._far)
            self._far.close()

    def cpu_seconds(self) -> float:
        return 0.0

    def limit_memory(self, bytes_max: int) -> None:
        pass

    def was_out_of_memory(self) -> bool:
        return False

    def memory_bytes(self) -> int:
        return 0

    def is_waiting(self) -> bool:
        return True

    def set_background(self, background: bool) -> bool:
        return True

    def interrupt(self) -> None:
        pass


class FakeRuntime:
    def __init__(self, *starts: Any) -> None:
        self.starts = list(starts)
        self.started: list[FakeProcess] = []

    async def start(self, bundle: str, assignment: bytes, *, sockets: bool = False) -> FakeProcess:
        await asyncio.sleep(0)
        start = self.starts.pop(0)
        if isinstance(start, Exception):
            raise start
        self.started.append(FakeProcess(alive=start))
        return self.started[-1]

    async def aclose(self) -> None:
        pass


def pool_of(runtime: Any, on_started: Any = lambda process: None) -> WorkerPool:
    worker = DeployedWorker(
        namespace=None,
        name="worker",
        version_id="1",
        bundle="bundle",
        main_module="entry.py",
        compatibility_date="2026-09-01",
        compatibility_flags=(),
        bindings=(),
        limits=WorkerLimits(),
    )
    table: Any = CapabilityTable.__new__(CapabilityTable)
    table.targets = []

    table.assignment = Assignment("entry.py", [], 1, 2)
    return WorkerPool(
        worker, table, runtime, lambda event: None, lambda process: None, on_started, lambda process: None
    )


async def ask(pool: WorkerPool) -> bytes:
    return (await pool.invoke(InvocationKind.FETCH, "fetch", b"", [])).payload


async def test_a_process_that_has_to_make_room_before_it_was_asked_is_replaced() -> None:
    evicted: list[Any] = []

    def evict_the_first(process: Any) -> None:
        if not evicted:
            evicted.append(process)
            process.retiring = True
            process.kill()

    pool = pool_of(FakeRuntime(True, True), evict_the_first)
    assert await ask(pool) == b"answer"
    assert len(evicted) == 1
    await pool.aclose()


async def test_processes_that_never_live_are_given_up() -> None:
    pool = pool_of(FakeRuntime(*[False] * 10))
    with pytest.raises(WorkerCrashed):
        await asyncio.wait_for(ask(pool), 10)
    await pool.aclose()


async def test_a_system_that_cannot_start_processes_is_a_crash_of_the_worker() -> None:
    pool = pool_of(FakeRuntime(OSError(11, "/a/path")))
    with pytest.raises(WorkerCrashed) as caught:
        await ask(pool)
    assert "path" not in str(caught.value)


async def test_a_start_that_nobody_waits_for_any_more_keeps_its_process_or_its_failure_to_itself() -> None:
    runtime = FakeRuntime(OSError(11, "no"), True)
    pool = pool_of(runtime)
    for _ in range(2):
        asking = asyncio.create_task(ask(pool))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        for _ in range(5):
            await asyncio.sleep(0)
    assert await ask(pool) == b"answer"
    assert len(runtime.started) == 1
    await pool.aclose()
    assert runtime.started[0].killed


async def test_a_pool_that_retires_while_it_starts_a_process_for_nobody_ends_it() -> None:
    runtime = FakeRuntime(True)
    pool = pool_of(runtime)
    asking = asyncio.create_task(ask(pool))
    await asyncio.sleep(0)
    asking.cancel()
    pool.retire()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [process.killed for process in runtime.started] == [True]
    assert not pool.processes


async def test_a_process_that_answered_is_free_whatever_the_last_look_at_it_found() -> None:
    """The watchdog looks now and then. Between two looks an answer is the newer word: without it, the next request
    started a second process beside one that had nothing to do."""
    runtime = FakeRuntime(True)
    pool = pool_of(runtime)
    assert await ask(pool) == b"answer"
    [process] = pool.processes
    process.held = True
    assert (await process.invoke(InvocationKind.FETCH, "fetch", b"", [])).payload == b"answer"
    assert await ask(pool) == b"answer"
    assert pool.processes == [process]
    await pool.aclose()
