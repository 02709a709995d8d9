"""KV on one machine: a SQLite file for each namespace, opened when it is used and closed when others need the room.

At rest a namespace is a file and nothing else; one that was never written is not even that. One process owns the
folder.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from tenantry.services.kv.engine import Late
from tenantry.services.kv.engines.sqlite_file import NamespaceFile
from tenantry.services.kv.engines.sqlite_handle import Handle, storage_error
from tenantry.services.kv.errors import NamespaceGone, StorageError
from tenantry.services.kv.limits import NAMESPACES_OPEN_MAX, SWEEP_PAUSE_SECONDS, THREADS_MAX
from tenantry.services.kv.model import Entry, KeyPage, Usage
from tenantry.streams import ByteStream

__all__ = ["FILE_SUFFIX", "SqliteEngine"]

_log = structlog.get_logger()

FILE_SUFFIX = ".sqlite3"


class SqliteEngine:
    """See `engine.KvEngine`. `sync_full` is whether an acknowledged write survives a power cut."""

    def __init__(
        self,
        folder: Path,
        *,
        sync_full: bool = True,
        open_max: int = NAMESPACES_OPEN_MAX,
    ) -> None:
        self._folder = folder
        self._sync_full = sync_full
        self._open_max = open_max
        self._executor = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="tenantry-kv")
        # Least recently used first. A handle leaves when it begins to close, and is then in `_closing`: the next user
        # waits for that before it opens the file again.
        self._handles: OrderedDict[str, Handle] = OrderedDict()
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._closed = False
        # Namespaces with entries that expire, and the second after which there is one to clear away. Of those that
        # nobody used yet since the start it is not known: a sweep looks at each of them once.
        self._due: dict[str, int] = {}
        self._unseen: list[str] | None = None
        # For namespaces that were never written, and so never gave out a cursor.
        self.spare_secret = secrets.token_bytes(32)

    def store(self, namespace_id: str) -> _SqliteStore:
        return _SqliteStore(self, namespace_id)

    async def delete(self, namespace_id: str) -> None:
        while await self._wait_closed(namespace_id):
            pass
        # Whoever comes now waits until the file is gone, and is then told so. Cancelled or not, it goes.
        await asyncio.shield(self._close(namespace_id, unlink=True))

    async def aclose(self) -> None:
        self._closed = True
        for namespace_id in list(self._handles):
            self._close(namespace_id)
        while self._closing:
            await asyncio.wait(self._closing.values())
        self._executor.shutdown()

    def ready(self, namespace_id: str) -> Handle | None:
        """The handle, if it can be used in this turn of the loop."""
        handle = self._handles.get(namespace_id)
        if handle is None or not handle.opened.done() or handle.opened.exception() is not None:
            return None
        self._handles.move_to_end(namespace_id)
        return handle

    async def acquire(self, namespace_id: str) -> Handle:
        """An open handle that stays open until its `release`."""
        while (handle := self._handles.get(namespace_id)) is None:
            if self._closed:
                raise StorageError("The KV store is closed.")
            if not await self._wait_closed(namespace_id):
                self._handles[namespace_id] = Handle(self._file(namespace_id), self._executor, self._on_idle)
                self.evict()
        self._handles.move_to_end(namespace_id)
        handle.users += 1
        try:
            # Shared by all who wait for it, so one that is cancelled must not cancel it.
            await asyncio.shield(handle.opened)
        except BaseException as error:
            handle.release()
            if isinstance(error, Exception):
                # Leave nothing behind that would fail for ever.
                if self._handles.get(namespace_id) is handle:
                    del self._handles[namespace_id]
                if isinstance(error, NamespaceGone):
                    raise  # nothing is wrong with the disk
                if isinstance(error, StorageError):
                    _log.error("a KV namespace could not be opened", file=str(handle.path), reason=str(error))
                    raise
                raise storage_error(handle.path, error) from error
            raise
        return handle

    async def sweep(self, now: int) -> None:
        if self._unseen is None:
            try:
                self._unseen = await asyncio.get_running_loop().run_in_executor(self._executor, self._namespaces)
            except OSError as error:
                raise storage_error(self._folder, error) from error
        while self._unseen:
            await self._sweep_one(self._unseen.pop(), now)
            # There may be a hundred thousand of them, and nobody waits.
            await asyncio.sleep(SWEEP_PAUSE_SECONDS)
        for namespace_id in [name for name, due in self._due.items() if due < now]:
            await self._sweep_one(namespace_id, now)

    async def _sweep_one(self, namespace_id: str, now: int) -> None:
        in_use = namespace_id in self._handles
        try:
            handle = await self.acquire(namespace_id)
        except StorageError:
            # It is in the log, and its users hear of it. Not again before one of them could open it.
            self._due.pop(namespace_id, None)
            return
        try:
            handle.sweep(now)
        finally:
            handle.release()
        if not in_use and handle.users == 0 and self._handles.get(namespace_id) is handle:
            # One that nobody uses must not push out one that somebody does.
            await asyncio.wait([self._close(namespace_id)])

    def _namespaces(self) -> list[str]:
        return [path.name.removesuffix(FILE_SUFFIX) for path in self._folder.glob(f"*{FILE_SUFFIX}")]

    def _on_idle(self, handle: Handle) -> None:
        self._note_due(handle)
        self.evict()

    def _note_due(self, handle: Handle) -> None:
        namespace_id = handle.path.name.removesuffix(FILE_SUFFIX)
        due = handle.due
        if due is None or handle.gone:
            self._due.pop(namespace_id, None)
        else:
            self._due[namespace_id] = due

    def evict(self) -> None:
        """Closes the least recently used handles above the limit that nobody uses. Called whenever one falls idle."""
        excess = len(self._handles) - self._open_max
        if excess <= 0:
            return
        for namespace_id in [name for name, handle in self._handles.items() if not handle.busy][:excess]:
            self._close(namespace_id)

    async def _wait_closed(self, namespace_id: str) -> bool:
        """Waits for a close that is under way; says whether there was one."""
        closing = self._closing.get(namespace_id)
        if closing is None:
            return False
        await asyncio.wait([closing])
        return True

    def _close(self, namespace_id: str, *, unlink: bool = False) -> asyncio.Task[None]:
        """Begins to close the handle. The task is owned by `_closing`, and `aclose` waits for it."""
        handle = self._handles.pop(namespace_id, None)
        if handle is not None:
            handle.gone = unlink

        async def close() -> None:
            try:
                if handle is not None:
                    await handle.close()
                    self._note_due(handle)
                if unlink:
                    loop = asyncio.get_running_loop()
                    await loop.run_in_executor(self._executor, self._file(namespace_id).unlink)
            finally:
                del self._closing[namespace_id]

        task = asyncio.get_running_loop().create_task(close())
        # A file that does not close well is as good as after a crash: the next open recovers it.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._closing[namespace_id] = task
        return task

    def _file(self, namespace_id: str) -> NamespaceFile:
        return NamespaceFile(self._folder / f"{namespace_id}{FILE_SUFFIX}", sync_full=self._sync_full)


class _SqliteStore:
    """One namespace by name: finds its handle, or has it opened, for each call."""

    __slots__ = ("_engine", "_id")

    def __init__(self, engine: SqliteEngine, namespace_id: str) -> None:
        self._engine = engine
        self._id = namespace_id

    async def get(self, key: bytes, now: int) -> Entry | None:
        handle = self._engine.ready(self._id)
        if handle is not None:
            return handle.get(key, now)
        handle = await self._engine.acquire(self._id)
        try:
            return handle.get(key, now)
        finally:
            handle.release()

    async def put(
        self, key: bytes, value: bytes | ByteStream, expiration: int | None, metadata: Late, now: int
    ) -> None:
        handle = await self._engine.acquire(self._id)
        try:
            await handle.put(key, value, expiration, metadata, now)
        finally:
            handle.release()

    async def delete(self, key: bytes, now: int) -> None:
        handle = await self._engine.acquire(self._id)
        try:
            await handle.delete(key, now)
        finally:
            handle.release()

    async def list(self, prefix: bytes, after: bytes | None, limit: int, now: int) -> KeyPage:
        handle = await self._engine.acquire(self._id)
        try:
            return await handle.list(prefix, after, limit, now)
        finally:
            handle.release()

    async def secret(self) -> bytes:
        handle = await self._engine.acquire(self._id)
        try:
            return handle.secret or self._engine.spare_secret
        finally:
            handle.release()

    async def usage(self) -> Usage:
        handle = await self._engine.acquire(self._id)
        try:
            return handle.usage()
        finally:
            handle.release()
