"""The clients of a noisy neighbour: `python -m benchmarks.neighbour_clients GATEWAY HABIT`, until its input ends.

The habit has some connections that keep asking its Worker, whatever it answers. Bodies are sent for ever where the
Worker never reads them, and read as fast as they come where it streams for ever.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

CONNECTIONS: Final = 4
CHURNING: Final = 32
"""Of the neighbour whose habit is connections: each is for one request."""
_CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
_PAUSE_SECONDS: Final = 0.01
"""After a connection that could not be made, or was cut."""


async def _ask_for_ever(host: str, port: int, habit: str) -> None:
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                if habit == "never_read":
                    await _upload(host, habit, writer)
                else:
                    await _get(host, habit, reader, writer)
            finally:
                writer.close()
        await asyncio.sleep(_PAUSE_SECONDS)


async def _get(host: str, habit: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A request that closes its connection at its end: then an answer needs no parsing."""
    writer.write(f"GET /{habit} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    while await reader.read(1 << 20):
        pass


async def _upload(host: str, habit: str, writer: asyncio.StreamWriter) -> None:
    writer.write(f"POST /{habit} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    while True:
        writer.write(_CHUNK)
        await writer.drain()


async def _run(gateway: str, habit: str) -> None:
    address = urlsplit(gateway)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
    tasks = [
        asyncio.create_task(_ask_for_ever(str(address.hostname), address.port or 80, habit))
        for _ in range(CHURNING if habit == "connect" else CONNECTIONS)
    ]
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    # They would be on other machines: what they cost here is not the neighbour's doing.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(_run(sys.argv[1], sys.argv[2]))
