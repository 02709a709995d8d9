"""The clients of a noisy neighbour: `python -m benchmarks.neighbour_clients GATEWAY HABIT`, until its input ends.

The habit has some connections that keep asking its Worker, whatever it answers. Bodies are sent for ever where the
Worker never reads them, and read as fast as they come where it streams for ever.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

CONNECTIONS: Final = 4
CHURNING: Final = 32
"""Of the neighbour whose habit is connections: each is for one request."""
_CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
_READ_BYTES: Final = 0x10000
_PAUSE_SECONDS: Final = 0.01
"""After a connection that could not be made, or was cut."""


async def _ask_for_ever(address: tuple[str, int], habit: str, buffer: memoryview) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket() as connection, suppress(OSError):
            connection.setblocking(False)
            # When this process ends, what it has not sent is not tried for minutes: the platform learns that it left.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await loop.sock_connect(connection, address)
            if habit == "never_read":
                await _upload(connection, habit)
            else:
                await _get(connection, habit, buffer)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _get(connection: socket.socket, habit: str, buffer: memoryview) -> None:
    """A request that closes its connection at its end: then an answer needs no parsing."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, f"GET /{habit} HTTP/1.1\r\nHost: loud\r\nConnection: close\r\n\r\n".encode())
    while await loop.sock_recv_into(connection, buffer):  # noqa: ASYNC110 - it waits for nothing
        await asyncio.sleep(0)  # what is there already is had without waiting, and the others would never get to read


async def _upload(connection: socket.socket, habit: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(
        connection, f"POST /{habit} HTTP/1.1\r\nHost: loud\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    while True:
        await loop.sock_sendall(connection, _CHUNK)


async def _run(gateway: str, habit: str) -> None:
    url = urlsplit(gateway)
    # One, in place: to get and give back a megabyte for each read keeps the kernel at it for milliseconds at a time.
    buffer = memoryview(bytearray(_READ_BYTES))
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    tasks = [
        asyncio.create_task(_ask_for_ever((str(url.hostname), url.port or 80), habit, buffer))
        for _ in range(CHURNING if habit == "connect" else CONNECTIONS)
    ]
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    # They would be on other machines: what they cost here is not the neighbour's doing.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(_run(sys.argv[1], sys.argv[2]))
