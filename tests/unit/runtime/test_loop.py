"""A loop that was made by one process and goes on in another, with descriptors of its own."""

from __future__ import annotations

import asyncio
import os
import threading

from tenantry.runtime.loop import rehearse, renew


def test_it_wakes_and_waits_as_any_other_after_its_descriptors_are_gone() -> None:
    loop = asyncio.new_event_loop()
    parts = loop._selector._selector, loop._ssock, loop._csock  # type: ignore[attr-defined]
    numbers = [part.fileno() for part in parts]
    for number in numbers:
        os.close(number)  # as in a child of the zygote
    renew(loop)
    try:
        assert [part.fileno() for part in parts] == numbers
        woken = loop.create_future()
        read, write = os.pipe()
        readable = loop.create_future()
        loop.add_reader(read, lambda: readable.done() or readable.set_result(None))
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set_result, None))
        thread.start()
        loop.run_until_complete(woken)
        thread.join()
        os.write(write, b"x")
        loop.run_until_complete(readable)
        loop.remove_reader(read)
        os.close(read)
        os.close(write)
    finally:
        loop.close()


def test_its_rehearsal_leaves_no_descriptor() -> None:
    before = set(os.listdir("/proc/self/fd"))
    rehearse(3)
    assert set(os.listdir("/proc/self/fd")) <= before
