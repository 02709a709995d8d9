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
    old = parts._selector._selector
    fresh = select.epoll()
    os.dup2(fresh.fileno(), old.fileno(), inheritable=False)
    fresh.close()
    for end, number in zip(socket.socketpair(), (parts._ssock.fileno(), parts._csock.fileno()), strict=True):
        end.setblocking(False)
        os.dup2(end.fileno(), number, inheritable=False)
        end.close()
    old.register(parts._ssock.fileno(), select.EPOLLIN)


def rehearse(times: int) -> None:
    """`renew`, on a loop that nobody has."""
    loop = asyncio.new_event_loop()
    try:
        for _ in range(times):
            renew(loop)
    finally:
        loop.close()
