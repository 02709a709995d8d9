"""The open buckets of one account: opened when first needed, the least recently used closed, one process a folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import structlog

from tenantry.errors import ConfigError
from tenantry.services.r2.engine import Bucket
from tenantry.services.r2.engines.files.bucket import FilesBucket
from tenantry.services.r2.engines.files.folder import INDEX_NAME, BucketFolder, sync_directory
from tenantry.services.r2.engines.files.index import IndexReader, IndexWriter
from tenantry.services.r2.engines.files.opened import OpenBucket, open_index
from tenantry.services.r2.engines.files.threads import Threads
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import OPEN_BUCKETS_MAX

__all__ = ["FilesEngine"]

_log = structlog.get_logger()
_DELETED_PREFIX = ".deleted-"


class FilesEngine:
    """See `tenantry.services.r2.engine.Engine`. `root` is made on the first write."""

    def __init__(self, root: Path, *, durable: bool = True, open_buckets_max: int = OPEN_BUCKETS_MAX) -> None:
        self._root = root
        self._durable = durable
        self._open_buckets_max = open_buckets_max
        self._threads = Threads()
        self._open: OrderedDict[str, OpenBucket] = OrderedDict()
        # Buckets that are being opened, closed or deleted. Who needs one of them waits and looks again.
        self._changing: dict[str, asyncio.Future[object]] = {}
        self._lock_fd = -1
        self._locking = threading.Lock()  # several buckets may be the first at once, each in its thread
        self._closed = False

    def bucket(self, name: str) -> Bucket:
        return FilesBucket(self, name)

    async def acquire(self, name: str, *, create: bool) -> OpenBucket | None:
        """See `Shelves`."""
        while True:
            if self._closed:
                raise BucketGone
            opened = self._open.get(name)
            if opened is not None:
                self._open.move_to_end(name)
                opened.lease()
                return opened
            change = self._changing.get(name)
            if change is None:
                if not create and not self._is_made(name):
                    return None
                change = self._start_open(name, self._folder(name))
            await asyncio.wait([change])
            # Only an open can fail here, and then whoever waited for it may know.
            if not change.cancelled() and (error := change.exception()) is not None:
                raise error

    def _is_made(self, name: str) -> bool:
        """Whether anything was ever put into the bucket. Asked at each listing of an empty one: to join this as a Path
        would be a seventh of what that costs."""
        return os.path.exists(f"{self._root}/{name}/{INDEX_NAME}")

    def _folder(self, name: str) -> BucketFolder:
        return BucketFolder(self._root / name, self._durable)

    def _start_open(self, name: str, folder: BucketFolder) -> asyncio.Future[object]:
        job = self._threads.commit_job(self._open_index, folder)

        def done(finished: asyncio.Future[tuple[IndexWriter, IndexReader]]) -> None:
            if finished.exception() is None:
                writer, reader = finished.result()
                self._open[name] = OpenBucket(folder, writer, reader, self._threads)
                self._close_surplus()

        job.add_done_callback(done)
        return self._change(name, job)

    def _open_index(self, folder: BucketFolder) -> tuple[IndexWriter, IndexReader]:
        self._lock_root()
        return open_index(folder)

    def _change(
        self,
        name: str,
        job: asyncio.Future[tuple[IndexWriter, IndexReader]] | asyncio.Future[bool] | asyncio.Future[None],
    ) -> asyncio.Future[object]:
        """Keeps `name` from others until the job is done."""
        change: asyncio.Future[object] = job  # type: ignore[assignment]  # read only for whether and how it ended

        def done(finished: asyncio.Future[object]) -> None:
            self._changing.pop(name, None)
            if not finished.cancelled():
                finished.exception()  # whoever waited raises it; perhaps everybody was cancelled

        self._changing[name] = change
        change.add_done_callback(done)
        return change

    def _close_surplus(self) -> None:
        surplus = len(self._open) - self._open_buckets_max
        if surplus <= 0 or self._closed:
            return
        # The newest is not considered: it was opened for somebody who is about to take it.
        idle = [name for name in list(self._open)[:-1] if self._open[name].idle][:surplus]
        for name in idle:
            job = self._open.pop(name).start_close()
            job.add_done_callback(_log_failure)
            self._change(name, job)

    def _lock_root(self) -> None:
        """Makes sure that no other process has these buckets open: it would clean staging under this one's feet."""
        with self._locking:
            if self._lock_fd < 0:
                self._lock_fd = self._take_lock()

    def _take_lock(self) -> int:
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._durable:
                sync_directory(self._root.parent)
        fd = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise ConfigError("the R2 data folder is in use by another process") from error
        for left in self._root.glob(_DELETED_PREFIX + "*"):
            shutil.rmtree(left, ignore_errors=True)
        return fd

    async def bucket_names(self) -> Sequence[str]:
        return await self._threads.commit_job(self._names)

    def _names(self) -> list[str]:
        if not self._root.is_dir():
            return []
        return [entry.name for entry in os.scandir(self._root) if entry.is_dir() and not entry.name.startswith(".")]

    async def delete_bucket(self, name: str, *, if_empty: bool = False) -> bool:
        # Asked first while it is open, since a bucket that is closed and then kept fails whoever was using it.
        if if_empty and (await FilesBucket(self, name).usage()).objects:
            return False
        while (change := self._changing.get(name)) is not None:
            await asyncio.wait([change])
        if self._closed:
            raise BucketGone
        opened = self._open.pop(name, None)
        # Owned by `_changing`, which everybody who needs the bucket, and `aclose`, waits for.
        deletion = asyncio.ensure_future(self._delete(name, opened, if_empty))
        self._change(name, deletion)
        return await asyncio.shield(deletion)

    async def _delete(self, name: str, opened: OpenBucket | None, if_empty: bool) -> bool:
        if opened is not None:
            await opened.aclose()
        return await self._threads.commit_job(self._remove, name, if_empty)

    def _remove(self, name: str, if_empty: bool) -> bool:
        folder = self._root / name
        if not folder.exists():
            return True
        self._lock_root()
        if if_empty and self._is_made(name):
            reader = IndexReader(self._folder(name).index)
            try:
                if reader.usage().objects:
                    return False
            finally:
                reader.close()
        # Renamed first, so that a crash cannot leave half a bucket under its name.
        condemned = self._root / f"{_DELETED_PREFIX}{secrets.token_hex(8)}"
        folder.rename(condemned)
        shutil.rmtree(condemned)
        return True

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        while self._changing:
            await asyncio.wait(set(self._changing.values()))
        opened = list(self._open.values())
        self._open.clear()
        for bucket in opened:
            await bucket.aclose()
        await self._threads.aclose()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _log_failure(job: asyncio.Future[None]) -> None:
    if (error := job.exception()) is not None:
        _log.error("an R2 index did not close cleanly", exc_info=error)
