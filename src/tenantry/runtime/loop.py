"""The event loop of a worker process: made once, by the zygote, and given descriptors of its own in each child.

To make one costs a child a hundred pages, of code that is run once. What has to be each process's own is what the
kernel holds: the epoll, and the pair of sockets by which the loop wakes itself. They take the numbers of the zygote's,
which are closed in a child, and the loop does not notice.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
from typing import Any

__all__ = ["rehearse", "renew"]


def renew(loop: asyncio.AbstractEventLoop) -> None:
    """In a child, before anything waits on the loop: a fresh epoll and pair of sockets under the old numbers."""
    parts: Any = loop  # private ones, which have had these names since Python 3.4
    poll, waker, wakes = parts._selector._selector, parts._ssock, parts._csock
    for part in (poll, waker, wakes):
        os.dup2(0, part.fileno(), inheritable=False)  # so that none of the fresh ones has such a number by itself
    fresh = select.epoll()
    os.dup2(fresh.fileno(), poll.fileno(), inheritable=False)
    fresh.close()
    for end, old in zip(socket.socketpair(), (waker, wakes), strict=True):
        end.setblocking(False)
        os.dup2(end.fileno(), old.fileno(), inheritable=False)
        end.close()
    poll.register(waker.fileno(), select.EPOLLIN)


def rehearse(times: int) -> None:
    """`renew`, on a loop that nobody has."""
    loop = asyncio.new_event_loop()
    try:
        for _ in range(times):
            renew(loop)
    finally:
        loop.close()
