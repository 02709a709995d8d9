"""Bodies on their way out: streams over one body file, or over several in a row."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import structlog

from tenantry.errors import StreamError
from tenantry.services.r2.engines.files.threads import Threads
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import READ_BYTES_MAX, READ_INLINE_BYTES_MAX

__all__ = ["BodyFileStream", "SegmentedStream", "Slice"]

_log = structlog.get_logger()

_CACHED_ONLY: Final[int] = getattr(os, "RWF_NOWAIT", 0)
"""Linux reads what the page cache has and refuses the rest; elsewhere every read takes a thread."""

Slice = tuple[Path, int, int]
"""A file, where to begin in it, and how many bytes."""


def _read_some(fd: int, path: Path, offset: int, size: int) -> tuple[int, bytes]:
    """In a thread. Opens the file the first time: on a cold disk that takes as long as the read."""
    if fd < 0:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fd, os.pread(fd, size, offset)
    except BaseException:
        os.close(fd)
        raise


class BodyFileStream:
    """A `tenantry.streams.FileStream` over part of a body file. `closed` is called once, when nobody needs the file."""

    def __init__(self, where: Slice, threads: Threads, closed: Callable[[], None]) -> None:
        self.path, self.offset, length = where
        self.length: int | None = length
        self._position = self.offset
        self._end = self.offset + length
        self._threads = threads
        self._closed: Callable[[], None] | None = closed
        self._fd = -1
        self._job: Future[tuple[int, bytes]] | None = None

    async def read(self, size_max: int) -> bytes:
        """Bytes that are in the page cache are read here and now; others, and the first, in a thread."""
        size = min(size_max, self._end - self._position)
        if size <= 0 or self._is_closed():
            return b""
        data = self._try_cached(min(size, READ_INLINE_BYTES_MAX)) if self._fd >= 0 else None
        if data is None:
            data = await self._read_in_thread(min(size, READ_BYTES_MAX))
        if not data:
            if self._is_closed():  # meanwhile
                return b""
            _log.error("an R2 body ends early", file=str(self.path))
            raise StreamError("the object's bytes end early")
        self._position += len(data)
        return data

    def _is_closed(self) -> bool:
        return self._closed is None

    def _try_cached(self, size: int) -> bytes | None:
        if not _CACHED_ONLY:
            return None
        buffer = bytearray(size)
        try:
            count = os.preadv(self._fd, [buffer], self._position, _CACHED_ONLY)
        except OSError:  # not in the cache, or a file system without the flag: the thread finds out which
            return None
        return bytes(memoryview(buffer)[:count]) if count else None

    async def _read_in_thread(self, size: int) -> bytes:
        if self._job is not None:  # of a read that was cancelled: it may still be opening the file
            await self._settle(self._job)
        try:
            job = self._threads.body_job(_read_some, self._fd, self.path, self._position, size)
        except BucketGone as error:
            raise StreamError("the service is closed") from error
        self._job = job
        return await self._settle(job)

    async def _settle(self, job: Future[tuple[int, bytes]]) -> bytes:
        try:
            fd, data = await asyncio.shield(asyncio.wrap_future(job))
        except OSError as error:
            self._job, self._fd = None, -1
            _log.error("an R2 body cannot be read", file=str(self.path), reason=str(error))
            raise StreamError("the object's bytes cannot be read") from error
        if self._closed is None:  # closed meanwhile; aclose has seen to the descriptor
            return b""
        self._job, self._fd = None, fd
        return data

    async def aclose(self) -> None:
        if self._closed is None:
            return
        closed, self._closed = self._closed, None
        if self._job is not None:
            self._job.add_done_callback(_close_of)
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        closed()


def _close_of(job: Future[tuple[int, bytes]]) -> None:
    """Closes the descriptor of a read that nobody waits for."""
    if job.exception() is None:
        os.close(job.result()[0])


class SegmentedStream:
    """A stream over slices in a row: an object that was uploaded in parts."""

    def __init__(self, slices: Sequence[Slice], threads: Threads, closed: Callable[[], None]) -> None:
        self.length: int | None = sum(length for _, _, length in slices)
        self._slices = list(reversed(slices))
        self._threads = threads
        self._closed: Callable[[], None] | None = closed
        self._current: BodyFileStream | None = None

    async def read(self, size_max: int) -> bytes:
        while self._closed is not None and size_max > 0:
            if self._current is None:
                if not self._slices:
                    break
                self._current = BodyFileStream(self._slices.pop(), self._threads, lambda: None)
            if data := await self._current.read(size_max):
                return data
            await self._current.aclose()
            self._current = None
        return b""

    async def aclose(self) -> None:
        if self._closed is None:
            return
        closed, self._closed = self._closed, None
        if self._current is not None:
            await self._current.aclose()
        self._slices.clear()
        closed()
