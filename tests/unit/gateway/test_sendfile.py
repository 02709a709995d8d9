"""A file from the disk to a socket: whole, at the client's pace, and no descriptor left whatever happens."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tenantry.errors import StreamError
from tenantry.gateway.sendfile import send_file

MIB = 1024 * 1024


@dataclass
class File:
    """A FileStream, as R2 has them."""

    path: Path
    offset: int
    length: int | None

    async def read(self, size_max: int) -> bytes:
        raise AssertionError("nobody reads it")

    async def aclose(self) -> None:
        pass


@pytest.fixture
def content(tmp_path: Path) -> tuple[Path, bytes]:
    data = os.urandom(MIB) * 20
    (tmp_path / "body").write_bytes(data)
    return tmp_path / "body", data


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[socket.socket, asyncio.StreamReader, asyncio.StreamWriter]]:
    """What is sent from, and the client's side."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        yield ours, reader, writer
    finally:
        ours.close()
        writer.close()


def descriptors() -> int:
    """Fewer are no leak: the collector may close what the tests before left to it."""
    return len(os.listdir("/proc/self/fd"))


async def settled(threads: ThreadPoolExecutor) -> None:
    """Wait until the thread has nothing more to do."""
    await asyncio.wrap_future(threads.submit(lambda: None))


@pytest.mark.parametrize(("offset", "length"), [(0, 20 * MIB), (MIB + 1, 7 * MIB + 3), (0, 0), (20 * MIB - 1, 1)])
async def test_a_part_of_a_file_arrives_whole(
    content: tuple[Path, bytes], threads: ThreadPoolExecutor, offset: int, length: int
) -> None:
    path, data = content
    async with pair() as (ours, reader, _):
        sending = asyncio.create_task(send_file(ours, File(path, offset, length), threads))
        assert await reader.readexactly(length) == data[offset : offset + length]
        await sending


async def test_a_client_that_leaves_ends_it(content: tuple[Path, bytes], threads: ThreadPoolExecutor) -> None:
    await settled(threads)
    gc.collect()
    before = descriptors()
    async with pair() as (ours, reader, writer):
        sending = asyncio.create_task(send_file(ours, File(content[0], 0, 20 * MIB), threads))
        await reader.readexactly(MIB)
        writer.transport.abort()
        with pytest.raises(ConnectionError):
            await sending
    await settled(threads)
    assert descriptors() <= before


async def test_it_can_be_given_up_while_its_client_is_slow(
    content: tuple[Path, bytes], threads: ThreadPoolExecutor
) -> None:
    await settled(threads)
    gc.collect()
    before = descriptors()
    async with pair() as (ours, reader, _):
        sending = asyncio.create_task(send_file(ours, File(content[0], 0, 20 * MIB), threads))
        await reader.readexactly(MIB)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
    await settled(threads)
    assert descriptors() <= before


async def test_a_file_that_is_shorter_than_it_should_be(
    content: tuple[Path, bytes], threads: ThreadPoolExecutor
) -> None:
    async with pair() as (ours, reader, _):
        sending = asyncio.create_task(send_file(ours, File(content[0], 19 * MIB, 2 * MIB), threads))
        await reader.readexactly(MIB)
        with pytest.raises(StreamError):
            await sending


async def test_a_file_that_is_gone(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    await settled(threads)
    gc.collect()
    before = descriptors()
    async with pair() as (ours, _, _):
        with pytest.raises(FileNotFoundError):
            await send_file(ours, File(tmp_path / "none", 0, 1), threads)
    await settled(threads)
    assert descriptors() <= before
