"""Group commit, with a disk that is as slow as the test wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from tenantry.services.kv.engines.committer import Committer
from tenantry.services.kv.engines.sqlite_file import Committed, Write
from tenantry.services.kv.limits import COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, SWEEP_BLOBS_MAX, WAITING_BYTES_MAX


class Disk(Executor):
    """Keeps a commit until the test lets it end. It has some garbage, which is cleared as the real one does."""

    def __init__(self) -> None:
        self.running: Future[Any] | None = None
        self.job: Callable[[], Any] | None = None
        self.batches: list[list[Write]] = []
        self.sweeps: list[list[int]] = []
        self.garbage: list[int] = []
        self.pins: set[int] = set()
        self.idle_count = 0
        self.committer = Committer(self, self.commit, self.sweepable, self.on_idle)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        assert self.running is None, "two commits at once"
        self.running = Future()
        self.running.set_running_or_notify_cancel()
        self.job = lambda: fn(*args)
        return self.running

    def commit(self, writes: Sequence[Write], sweep: Sequence[int], now: int) -> Committed:
        self.batches.append(list(writes))
        self.sweeps.append(list(sweep[:SWEEP_BLOBS_MAX]))
        self.garbage = [blob for blob in self.garbage if blob not in self.sweeps[-1]]
        return Committed(tuple(self.garbage), more=False)

    def sweepable(self, garbage: tuple[int, ...]) -> list[int]:
        return [blob for blob in garbage if blob not in self.pins]

    def on_idle(self) -> None:
        self.idle_count += 1

    async def finish(self, error: Exception | None = None) -> None:
        """Ends the commit that runs, and lets the loop see it."""
        running, job = self.running, self.job
        assert running is not None
        assert job is not None
        self.running = None
        if error is None:
            running.set_result(job())
        else:
            running.set_exception(error)
        await turns()

    def put(self, name: str, size: int = 1) -> asyncio.Task[None]:
        write = Write((("SELECT ?", (name,)),), size)
        return asyncio.get_running_loop().create_task(self.committer.submit(write, 1))

    def names(self) -> list[list[str]]:
        return [[write.statements[0][1][0] for write in batch] for batch in self.batches]


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


async def test_writes_of_one_turn_share_a_transaction() -> None:
    disk = Disk()
    tasks = [disk.put(name) for name in "abc"]
    await turns()
    assert not any(task.done() for task in tasks)
    await disk.finish()
    assert all(task.done() for task in tasks)
    assert disk.names() == [["a", "b", "c"]]
    assert not disk.committer.busy
    assert disk.idle_count == 1


async def test_writes_that_come_while_the_disk_is_busy_share_the_next_one() -> None:
    disk = Disk()
    first = disk.put("a")
    await turns()
    later = [disk.put(name) for name in "bcd"]
    await turns()
    await disk.finish()
    assert first.done()
    assert not any(task.done() for task in later)
    await disk.finish()
    await asyncio.gather(*later)
    assert disk.names() == [["a"], ["b", "c", "d"]]


async def test_a_transaction_is_bounded_in_number() -> None:
    disk = Disk()
    tasks = [disk.put(str(index)) for index in range(COMMIT_WRITES_MAX + 1)]
    await turns()
    await disk.finish()
    await disk.finish()
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in disk.batches] == [COMMIT_WRITES_MAX, 1]


async def test_a_transaction_is_bounded_in_bytes() -> None:
    disk = Disk()
    tasks = [disk.put(name, COMMIT_BYTES_MAX) for name in "ab"]
    await turns()
    await disk.finish()
    await disk.finish()
    await asyncio.gather(*tasks)
    assert disk.names() == [["a"], ["b"]]


async def test_a_write_cancelled_while_it_waits_is_not_done() -> None:
    disk = Disk()
    first = disk.put("a")
    await turns()
    waiting, other = disk.put("b"), disk.put("c")
    await turns()
    waiting.cancel()
    await turns()
    await disk.finish()
    await disk.finish()
    await asyncio.gather(first, other)
    assert disk.names() == [["a"], ["c"]]
    assert waiting.cancelled()


async def test_a_write_cancelled_on_the_disk_is_done_and_disturbs_nobody() -> None:
    disk = Disk()
    leaver, stayer = disk.put("a"), disk.put("b")
    await turns()
    leaver.cancel()
    await turns()
    assert leaver.cancelled()
    assert disk.committer.busy
    await disk.finish()
    await stayer
    assert disk.names() == [["a", "b"]]


async def test_a_failed_commit_fails_its_own_batch_and_no_other() -> None:
    disk = Disk()
    first, second = disk.put("a"), disk.put("b")
    await turns()
    third = disk.put("c")
    await turns()
    await disk.finish(OSError("disk full"))
    for task in (first, second):
        with pytest.raises(OSError, match="disk full"):
            await task
    await disk.finish()
    await third
    assert not disk.committer.busy


async def test_writers_are_held_back_while_too_much_waits() -> None:
    disk = Disk()
    first = disk.put("a")
    await turns()
    waiting = disk.put("b", WAITING_BYTES_MAX)
    await turns()
    held = [disk.put(name) for name in "cd"]
    await turns()
    held[0].cancel()
    await disk.finish()
    await disk.finish()
    await disk.finish()
    await asyncio.gather(first, waiting, held[1])
    assert disk.names() == [["a"], ["b"], ["d"]]


async def test_wait_idle_waits_for_everything_that_was_accepted() -> None:
    disk = Disk()
    await disk.committer.wait_idle()
    tasks = [disk.put("a")]
    await turns()
    tasks.append(disk.put("b"))
    idle = asyncio.get_running_loop().create_task(disk.committer.wait_idle())
    await turns()
    await disk.finish()
    assert not idle.done()
    await disk.finish()
    await asyncio.gather(idle, *tasks)


async def test_garbage_is_cleared_a_little_at_a_time_while_nothing_else_waits() -> None:
    disk = Disk()
    disk.garbage = list(range(SWEEP_BLOBS_MAX + 2))
    disk.pins = {0}
    task = disk.put("a")
    await turns()
    await disk.finish()
    await task
    while disk.committer.busy:
        await disk.finish()
    assert disk.garbage == [0]
    assert disk.names() == [["a"], [], []]
    # Nothing happens until the next write, which finds it unpinned.
    disk.pins = set()
    task = disk.put("b")
    await turns()
    await disk.finish()
    await task
    assert disk.garbage == []


async def test_a_failed_sweep_is_not_tried_again_before_the_next_write() -> None:
    disk = Disk()
    disk.garbage = [1]
    task = disk.put("a")
    await turns()
    await disk.finish()
    await task
    await disk.finish(OSError("disk full"))
    assert not disk.committer.busy
