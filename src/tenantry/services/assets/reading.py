"""The files of an account on their way out: small ones from memory, others as streams; manifests as sites.

Contents never change, so what is in memory is never stale; the bounds of `limits` say how much that may be, of all
Workers together. Reads that go to the disk are made in threads.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import structlog

from tenantry.errors import StreamError
from tenantry.services.assets.limits import (
    CACHE_BYTES_MAX,
    CACHE_FILE_BYTES_MAX,
    READ_BYTES_MAX,
    READ_THREADS,
    SITE_ENTRIES_MAX,
)
from tenantry.services.assets.model import Asset
from tenantry.services.assets.site import Site
from tenantry.services.assets.store import AccountAssets

__all__ = ["AssetReader"]

_log: Final = structlog.get_logger()

T = TypeVar("T")


class AssetReader:
    """Made and used on one event loop."""

    def __init__(self, assets: AccountAssets) -> None:
        self._assets = assets
        self._executor = ThreadPoolExecutor(READ_THREADS, thread_name_prefix="assets")
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._contents_bytes = 0
        self._sites: OrderedDict[Hashable, Site] = OrderedDict()
        self._sites_weight = 0
        self._loading: dict[Hashable, asyncio.Future[Site]] = {}

    async def aclose(self) -> None:
        await asyncio.to_thread(self._executor.shutdown)

    async def site(self, key: Hashable, manifest: str, make: Callable[[dict[str, Asset]], Site]) -> Site:
        """The site of a manifest, made when it is not in memory. One `key` has one site. Raises OSError, ValueError."""
        site = self._sites.get(key)
        if site is not None:
            self._sites.move_to_end(key)
            return site
        loading = self._loading.get(key)
        if loading is None:
            loading = self._loading[key] = asyncio.get_running_loop().run_in_executor(
                self._executor, lambda: make(self._assets.read_manifest(manifest))
            )
            loading.add_done_callback(lambda done: self._loaded(key, done))
        # Shielded: it is everybody's who asks meanwhile.
        return await asyncio.shield(loading)

    def _loaded(self, key: Hashable, done: asyncio.Future[Site]) -> None:
        del self._loading[key]
        if done.cancelled() or done.exception() is not None:
            return
        site = self._sites[key] = done.result()
        self._sites_weight += site.weight
        while self._sites_weight > SITE_ENTRIES_MAX and len(self._sites) > 1:
            _, oldest = self._sites.popitem(last=False)
            self._sites_weight -= oldest.weight

    async def read_small(self, asset: Asset) -> bytes:
        """The whole of a file of at most CACHE_FILE_BYTES_MAX. Raises OSError."""
        content = self._contents.get(asset.blob)
        if content is not None:
            self._contents.move_to_end(asset.blob)
            return content
        path = self._assets.blob(asset.blob)
        content = await asyncio.get_running_loop().run_in_executor(self._executor, path.read_bytes)
        if len(content) != asset.size_bytes:
            raise OSError(f"{path}: {len(content)} bytes where {asset.size_bytes} should be")
        if asset.blob not in self._contents:  # another may have read it meanwhile
            self._contents[asset.blob] = content
            self._contents_bytes += len(content)
            while self._contents_bytes > CACHE_BYTES_MAX:
                _, oldest = self._contents.popitem(last=False)
                self._contents_bytes -= len(oldest)
        return content

    @staticmethod
    def is_small(asset: Asset) -> bool:
        return asset.size_bytes <= CACHE_FILE_BYTES_MAX

    def stream(self, asset: Asset) -> BlobStream:
        """The whole of a file of any size. Whoever reads it closes it."""
        return BlobStream(self._assets.blob(asset.blob), asset.size_bytes, self._executor)


class BlobStream:
    """A `tenantry.streams.FileStream` over a whole file, which is opened with the first read."""

    def __init__(self, path: Path, size_bytes: int, executor: ThreadPoolExecutor) -> None:
        self.path = path
        self.offset = 0
        self.length: int | None = size_bytes
        self._executor = executor
        self._position = 0
        self._end = size_bytes
        self._handle = -1
        self._job: Future[tuple[int, bytes]] | None = None
        self._closed = False

    async def read(self, size_max: int) -> bytes:
        if self._job is not None:  # of a read that was cancelled: it may still be opening the file
            await self._settle(self._job)
        size = min(size_max, READ_BYTES_MAX, self._end - self._position)
        if size <= 0 or self._closed:
            return b""
        job = self._job = self._executor.submit(_read_some, self._handle, self.path, self._position, size)
        data = await self._settle(job)
        if not data and not self._closed:
            _log.error("an asset ends early", file=str(self.path))
            raise StreamError("the file's bytes end early")
        self._position += len(data)
        return data

    async def _settle(self, job: Future[tuple[int, bytes]]) -> bytes:
        try:
            handle, data = await asyncio.shield(asyncio.wrap_future(job))
        except OSError as error:
            self._job, self._handle = None, -1
            _log.error("an asset cannot be read", file=str(self.path), reason=str(error))
            raise StreamError("the file's bytes cannot be read") from error
        if self._closed:  # meanwhile; aclose has seen to the descriptor
            return b""
        self._job, self._handle = None, handle
        return data

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._job is not None:
            self._job.add_done_callback(_close_of)
        elif self._handle >= 0:
            os.close(self._handle)
        self._handle = -1


def _read_some(handle: int, path: Path, offset: int, size: int) -> tuple[int, bytes]:
    """In a thread. Opens the file the first time."""
    if handle < 0:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return handle, os.pread(handle, size, offset)
    except BaseException:
        os.close(handle)
        raise


def _close_of(job: Future[tuple[int, bytes]]) -> None:
    """Closes the descriptor of a read that nobody waits for."""
    if not job.cancelled() and job.exception() is None:
        os.close(job.result()[0])
