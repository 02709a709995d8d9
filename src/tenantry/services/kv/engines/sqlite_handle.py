"""One open namespace: its file, its committer, and who is using it.

Small reads run on the event loop, straight against the file. Everything else goes to the engine's threads: commits one
at a time through the committer, listings and chunks of big values one at a time behind a lock, so that a slow client
holds no thread.
"""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

import apsw
import structlog

from tenantry.errors import StorageFull, StreamError
from tenantry.services.kv.engine import Late
from tenantry.services.kv.engines.committer import Committer
from tenantry.services.kv.engines.sqlite_file import KeyRow, NamespaceFile, Write
from tenantry.services.kv.errors import NamespaceGone, StorageError
from tenantry.services.kv.limits import CHUNK_BYTES, INLINE_BYTES_MAX, LOOP_ROWS_MAX
from tenantry.services.kv.model import Entry, Key, KeyPage, Usage
from tenantry.streams import BytesStream, ByteStream

__all__ = ["Handle", "storage_error"]

_log = structlog.get_logger()

_P = ParamSpec("_P")
_T = TypeVar("_T")


def storage_error(path: Path, error: Exception) -> StorageError:
    """What a tenant may read of a failure of the file. The operator's log names it."""
    if isinstance(error, StorageError):
        return error
    _log.error("a KV namespace could not be read or written", file=str(path), reason=str(error))
    if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return StorageFull("The KV store is full.")
    return StorageError("The KV store could not be read or written.")


async def _fill(stream: ByteStream, head: bytes, size: int) -> bytes:
    """`head` with as much of the stream behind it as makes `size` bytes, or all there is."""
    parts = [head]
    missing = size - len(head)
    while missing > 0 and (part := await stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _known(metadata: Late) -> bytes | None:
    return metadata() if callable(metadata) else metadata


def _alive(rows: list[KeyRow], now: int) -> list[Key]:
    return [Key(*row) for row in rows if row[1] is None or row[1] >= now]


class Handle:
    """`users` counts the calls and streams that need the file; a handle is closed only when it is not `busy`."""

    def __init__(self, file: NamespaceFile, executor: Executor, on_idle: Callable[[Handle], None]) -> None:
        self._file = file
        self._executor = executor
        self._on_idle = partial(on_idle, self)
        self._committer = Committer(executor, file.commit, self._sweepable, self._on_idle)
        self._thread_work = asyncio.Lock()
        # Blobs that a stream is reading or an upload is writing: they must not be cleared away.
        self._pins: Counter[int] = Counter()
        self._blob_next = 0
        self.users = 0
        self.closed = False
        self.gone = False
        """The namespace is being deleted: what fails now fails for that reason."""
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().run_in_executor(executor, file.open)
        # Whoever waits for it hears of an error; when all of them were cancelled, nobody needs to.
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())

    @property
    def busy(self) -> bool:
        return self.users > 0 or self._committer.busy or not self.opened.done()

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def secret(self) -> bytes:
        return self._file.secret

    @property
    def due(self) -> int | None:
        """See `Committed.due`."""
        committed = self._committer.committed
        return self._file.due if committed is None else committed.due

    def sweep(self, now: int) -> None:
        """Begins to clear away what has expired by now. `close` waits for the end of it."""
        due = self.due
        if due is not None and due < now:
            self._committer.sweep(now)

    def usage(self) -> Usage:
        try:
            return Usage(*self._file.read_usage())
        except apsw.Error as error:
            raise storage_error(self._file.path, error) from error

    def get(self, key: bytes, now: int) -> Entry | None:
        try:
            row = self._file.read(key)
        except apsw.Error as error:
            raise storage_error(self._file.path, error) from error
        if row is None:
            return None
        expiration, metadata, blob, size, value = row
        if expiration is not None and expiration <= now:
            return None
        if value is not None:
            return Entry(value, size, metadata, expiration)
        assert blob is not None
        return Entry(_BlobStream(self, blob, size), size, metadata, expiration)

    async def put(
        self, key: bytes, value: bytes | ByteStream, expiration: int | None, metadata: Late, now: int
    ) -> None:
        if isinstance(value, bytes):
            if len(value) <= INLINE_BYTES_MAX:
                await self._submit(Write.put(key, value, expiration, _known(metadata)), now)
                return
            value = BytesStream(value)
        head = await _fill(value, b"", INLINE_BYTES_MAX + 1)
        if len(head) <= INLINE_BYTES_MAX:
            await self._submit(Write.put(key, head, expiration, _known(metadata)), now)
            return
        blob = await self._new_blob()
        self.pin(blob)
        try:
            size = await self._put_chunks(blob, head, value, now)
            await self._submit(Write.put_blob(key, blob, size, expiration, _known(metadata)), now)
        finally:
            # What has not become an entry is in the list of garbage, and goes with a later commit.
            self.unpin(blob)

    async def delete(self, key: bytes, now: int) -> None:
        if self._file.present or self._committer.busy:
            await self._submit(Write.delete(key), now)

    async def list(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> KeyPage:
        rows_max = min(limit + 1, LOOP_ROWS_MAX)
        try:
            rows = self._file.read_keys(prefix, after, rows_max)
        except apsw.Error as error:
            raise storage_error(self._file.path, error) from error
        keys = _alive(rows, now)
        if len(rows) == rows_max and len(keys) <= limit:
            # There may be more, and expired ones may hide it.
            async with self._thread_work:
                rest = limit + 1 - len(keys)
                keys += _alive(await self._run(self._file.thread_keys, prefix, rows[-1][0], rest, now), now)
        return KeyPage(keys[:limit], more=len(keys) > limit)

    async def chunk(self, blob: int, position: int) -> bytes:
        if self.closed:
            raise StreamError("The value is no longer there.")
        async with self._thread_work:
            return await self._run(self._file.thread_chunk, blob, position)

    def pin(self, blob: int) -> None:
        self._pins[blob] += 1
        self.users += 1

    def unpin(self, blob: int) -> None:
        self._pins[blob] -= 1
        if self._pins[blob] == 0:
            del self._pins[blob]
        self.release()

    def release(self) -> None:
        """Ends what `users += 1` began."""
        self.users -= 1
        if not self.busy:
            self._on_idle()

    async def close(self) -> None:
        """Finishes what was accepted. Streams that are still open break off."""
        self.closed = True
        await asyncio.wait([self.opened])
        await self._committer.wait_idle()
        async with self._thread_work:
            await self._run(self._file.close)

    def _sweepable(self, garbage: tuple[int, ...]) -> tuple[int, ...]:
        # A read on the loop pins its blob in the same turn, and `garbage` was committed in an earlier one: nobody can
        # come to know an unpinned blob of this list any more.
        return tuple(blob for blob in garbage if blob not in self._pins)

    async def _new_blob(self) -> int:
        if self._blob_next == 0:
            async with self._thread_work:
                if self._blob_next == 0:
                    self._blob_next = await self._run(self._file.next_blob)
        blob = self._blob_next
        self._blob_next += 1
        return blob

    async def _put_chunks(self, blob: int, head: bytes, stream: ByteStream, now: int) -> int:
        size = position = 0
        while data := await _fill(stream, head, CHUNK_BYTES):
            await self._submit(Write.put_chunk(blob, position, data), now)
            head = b""
            size += len(data)
            position += 1
        return size

    async def _submit(self, write: Write, now: int) -> None:
        try:
            await self._committer.submit(write, now)
        except Exception as error:
            if self.gone:
                raise NamespaceGone from error
            raise storage_error(self._file.path, error) from error

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Runs in a thread. When the caller is cancelled the thread goes on; the file's own locks keep order then."""
        call = partial(function, *args, **kwargs)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except Exception as error:
            raise storage_error(self._file.path, error) from error


class _BlobStream:
    """A big value, read chunk by chunk. It holds one chunk and keeps the blob from being cleared away."""

    def __init__(self, handle: Handle, blob: int, size: int) -> None:
        handle.pin(blob)
        self._handle = handle
        self._blob = blob
        self._left_bytes = size
        self._position = 0
        self._chunk = b""
        self._closed = False
        self.length: int | None = size

    async def read(self, size_max: int) -> bytes:
        if self._closed or self._left_bytes == 0:
            return b""
        if not self._chunk:
            try:
                self._chunk = await self._handle.chunk(self._blob, self._position)
            except StorageError as error:
                raise StreamError("The value could not be read to its end.") from error
            self._position += 1
        data = self._chunk[:size_max]
        self._chunk = self._chunk[size_max:]
        self._left_bytes -= len(data)
        return data

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._chunk = b""
            self._handle.unpin(self._blob)
