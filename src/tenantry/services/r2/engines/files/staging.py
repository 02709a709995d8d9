"""Taking bodies in: from a stream, hashed and written in threads while the next bytes arrive; or from file to file.

Memory is bounded by what is gathered while a batch is being written, whatever the size of the body.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Final

from tenantry.errors import StreamError
from tenantry.services.r2.checksums import digest_of, hasher
from tenantry.services.r2.engines.files.folder import BucketFolder, sync_directory, sync_file
from tenantry.services.r2.engines.files.threads import Threads
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import (
    COPY_BYTES_MAX,
    READ_BYTES_MAX,
    WRITE_BATCH_BYTES_MAX,
    WRITE_BATCH_BYTES_MIN,
)
from tenantry.streams import ByteStream, FileStream

__all__ = ["FileSink", "digests_of", "fill", "read_exactly"]

_VECTOR_MAX: Final = 64
"""Chunks written as a vector; more of them are so small that joining them is cheaper."""
_NO_KERNEL_COPY: Final = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM})


def digests_of(data: bytes, algorithms: Collection[str]) -> Mapping[str, bytes]:
    """The digests of a small body."""
    return {name: digest_of(name, data) for name in {"md5", *algorithms}}


async def read_exactly(stream: ByteStream, size: int) -> bytes:
    """A small body. Raises StreamError if the stream has fewer or more bytes."""
    chunks: list[bytes] = []
    received = 0
    while chunk := await stream.read(READ_BYTES_MAX):
        received += len(chunk)
        if received > size:
            break
        chunks.append(chunk)
    _check_size(received, size)
    return b"".join(chunks)


def _check_size(received: int, announced: int) -> None:
    if received != announced:
        raise StreamError(f"{received} bytes came where {announced} were announced")


class FileSink:
    """One body file being written in staging. Its methods block and belong in threads; any order of them is safe.

    A write may still run, or wait in the pool, when its caller has been cancelled and discards the sink: the lock lets
    it end first, and makes what comes after `discard` fail.
    """

    def __init__(self, folder: BucketFolder, algorithms: Collection[str]) -> None:
        self.name = folder.new_name()
        self._folder = folder
        self._lock = threading.Lock()
        self._hashes = {name: hasher(name) for name in {"md5", *algorithms}}
        self._discarded = False
        self._fd = -1

    def _ready(self) -> None:
        """The file is made by the first who writes, so that a body of one batch is one job."""
        if self._discarded:
            raise StreamError("the body was given up")
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self._folder.staged(self.name), flags, 0o600)

    def write(self, chunks: Sequence[bytes]) -> None:
        """Hashes and appends."""
        with self._lock:
            self._ready()
            self._append(chunks)

    def _append(self, chunks: Sequence[bytes]) -> None:
        if len(chunks) > _VECTOR_MAX:
            chunks = [b"".join(chunks)]
        for digest in self._hashes.values():
            for chunk in chunks:
                digest.update(chunk)
        _write_all(self._fd, chunks)

    def copy(self, source: Path, offset: int, length: int) -> None:
        """Appends bytes of another file, moved by the kernel, and hashes them from its page cache."""
        with self._lock:
            self._ready()
            source_fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            try:
                by_kernel = _copy_by_kernel(source_fd, self._fd, offset, length)
                buffer = bytearray(min(length, READ_BYTES_MAX))
                view = memoryview(buffer)
                done = 0
                while done < length:
                    count = os.preadv(source_fd, [view[: length - done]], offset + done)
                    if count == 0:
                        raise StreamError("the file ended early")
                    for digest in self._hashes.values():
                        digest.update(view[:count])
                    if done + count > by_kernel:
                        _write_all(self._fd, [view[max(by_kernel - done, 0) : count]])
                    done += count
            finally:
                os.close(source_fd)

    def finish(self, chunks: Sequence[bytes]) -> Mapping[str, bytes]:
        """Appends the last bytes, makes the body durable under its lasting name, and gives its digests."""
        with self._lock:
            self._ready()
            self._append(chunks)
            self._folder.link(self.name)
            if self._folder.durable:
                # After the link: where one journal has the data, the inode and the name, this sync takes all of them
                # along and finds the next one done. A link whose bytes are lost is not in the index, so it goes.
                sync_file(self._fd)
                sync_directory(self._folder.body(self.name).parent)
            os.close(self._fd)
            self._fd = -1
            return {name: digest.digest() for name, digest in self._hashes.items()}

    def discard(self) -> None:
        """Removes the file, whatever its state. Not for a body that the index knows."""
        with self._lock:
            self._discarded = True
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
            self._folder.remove(self.name)


def _write_all(fd: int, chunks: Sequence[bytes | memoryview]) -> None:
    left = list(chunks)
    while left:
        count = os.writev(fd, left)
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if left and count:
            left[0] = memoryview(left[0])[count:]


def _copy_by_kernel(source_fd: int, target_fd: int, offset: int, length: int) -> int:
    """How many bytes the kernel copied: all, or none where the two file systems do not allow it."""
    if not hasattr(os, "copy_file_range"):  # macOS
        return 0
    done = 0
    while done < length:
        try:
            count = os.copy_file_range(source_fd, target_fd, length - done, offset + done)
        except OSError as error:
            if done == 0 and error.errno in _NO_KERNEL_COPY:
                return 0
            raise
        if count == 0:
            raise StreamError("the file ended early")
        done += count
    return done


async def fill(
    sink: FileSink, stream: ByteStream, size: int | None, threads: Threads
) -> tuple[int, Mapping[str, bytes]]:
    """Writes the whole of a stream; its size and digests. On any failure, and when cancelled, the sink is gone."""
    try:
        if isinstance(stream, FileStream) and size is not None:
            await _copy(sink, stream, size, threads)
            received, rest = size, list[bytes]()
        else:
            received, rest = await _pump(sink, stream, size, threads)
        return received, await threads.on_body(sink.finish, rest)
    except BaseException:
        # Shielded: a second cancellation does not keep it from happening. After `aclose` the next open does it.
        with suppress(BucketGone):
            await asyncio.shield(asyncio.wrap_future(threads.body_job(sink.discard)))
        raise


async def _copy(sink: FileSink, stream: FileStream, size: int, threads: Threads) -> None:
    _check_size(-1 if stream.length is None else stream.length, size)
    for done in range(0, size, COPY_BYTES_MAX):
        await threads.on_body(sink.copy, stream.path, stream.offset + done, min(COPY_BYTES_MAX, size - done))


async def _pump(sink: FileSink, stream: ByteStream, size: int | None, threads: Threads) -> tuple[int, list[bytes]]:
    """Writes all but the last batch; that, and the number of all bytes, is returned.

    Two batches are alive: one is written and one is gathered.
    """
    writing: Future[None] | None = None
    batch: list[bytes] = []
    batch_bytes = 0
    received = 0
    while chunk := await stream.read(READ_BYTES_MAX):
        received += len(chunk)
        if size is not None and received > size:
            break
        batch.append(chunk)
        batch_bytes += len(chunk)
        if batch_bytes < WRITE_BATCH_BYTES_MIN or received == size:
            continue
        if writing is not None:
            if batch_bytes < WRITE_BATCH_BYTES_MAX and not writing.done():
                continue
            await asyncio.wrap_future(writing)
        writing = threads.body_job(sink.write, batch)
        batch, batch_bytes = [], 0
    if writing is not None:
        await asyncio.wrap_future(writing)
    if size is not None:
        _check_size(received, size)
    return received, batch
