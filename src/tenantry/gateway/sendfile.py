"""Bodies that lie in files: the kernel moves them to the socket, and none of their bytes enters this process.

A thread sends for as long as the client takes what it is sent. One that is slow costs no thread: the loop waits for it.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import time
from concurrent.futures import Executor, Future
from typing import Final

from tenantry.errors import StreamError
from tenantry.gateway.limits import STALLED_SECONDS_MAX
from tenantry.streams import FileStream

__all__ = ["send_file"]

_CALL_BYTES: Final = 4 * 1024 * 1024
_TURN_SECONDS: Final = 0.1
"""A thread's, before others get theirs."""
_PATIENCE_MS: Final = 10
"""How long a thread waits for a client that is about to take more."""


async def send_file(sock: socket.socket, stream: FileStream, threads: Executor) -> None:
    """Send the bytes of a stream, all of which are still in it. Nothing else may be written to `sock` meanwhile.

    Raises StreamError when there are fewer than the stream says, ConnectionError when the client leaves, and
    TimeoutError when it takes nothing any more.
    """
    assert stream.length is not None, "a file has a length"
    loop = asyncio.get_running_loop()
    descriptors: list[int] = []
    job: Future[int] | None = None
    try:
        descriptors.append(os.dup(sock.fileno()))  # the socket may be closed while a thread is at it
        job = threads.submit(os.open, stream.path, os.O_RDONLY | os.O_CLOEXEC)
        descriptors.append(await asyncio.wrap_future(job))
        out, file = descriptors
        offset, end = stream.offset, stream.offset + stream.length
        while offset < end:
            job = threads.submit(_send_some, out, file, offset, end)
            reached = await asyncio.wrap_future(job)
            if reached == offset:
                await _wait_writable(loop, out)
            offset = reached
    finally:
        _close_after(job, descriptors)


def _send_some(out: int, file: int, offset: int, end: int) -> int:
    """In a thread. Returns how far it came."""
    until = time.monotonic() + _TURN_SECONDS
    poll = select.poll()
    poll.register(out, select.POLLOUT)
    while offset < end and time.monotonic() < until:
        try:
            sent = os.sendfile(out, file, offset, min(end - offset, _CALL_BYTES))
        except BlockingIOError:
            if not poll.poll(_PATIENCE_MS):
                break
            continue
        if not sent:
            raise StreamError("the object's bytes end early")
        offset += sent
    return offset


async def _wait_writable(loop: asyncio.AbstractEventLoop, out: int) -> None:
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(out, lambda: None if writable.done() else writable.set_result(None))
    try:
        async with asyncio.timeout(STALLED_SECONDS_MAX):
            await writable
    finally:
        loop.remove_writer(out)


def _close_after(job: Future[int] | None, descriptors: list[int]) -> None:
    """Close the descriptors once no thread uses them, and one that is still being opened."""

    def close(done: Future[int]) -> None:
        opened = len(descriptors) == 1 and not done.cancelled() and done.exception() is None
        for descriptor in [*descriptors, *([done.result()] if opened else [])]:
            os.close(descriptor)

    if job is None:
        for descriptor in descriptors:
            os.close(descriptor)
    else:
        job.add_done_callback(close)
