"""One open bucket: its index, its committer and its shelf, brought up and taken down in the right order."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence

from tenantry.services.r2.engines.files.committer import Committer
from tenantry.services.r2.engines.files.folder import BucketFolder
from tenantry.services.r2.engines.files.index import IndexReader, IndexWriter
from tenantry.services.r2.engines.files.schema import create_database
from tenantry.services.r2.engines.files.shelf import Shelf
from tenantry.services.r2.engines.files.threads import Threads
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.model import ObjectRecord

__all__ = ["OpenBucket", "open_index"]


def open_index(folder: BucketFolder) -> tuple[IndexWriter, IndexReader]:
    """Opens a bucket's index, makes it where there is none, and ends what a crash interrupted. In a thread."""
    folder.create(create_database)
    writer = IndexWriter(folder.index, folder.durable)
    try:
        for name in folder.staged_names():
            if writer.knows_file(name):
                folder.unstage(name)
            else:
                folder.remove(name)
        condemned = writer.condemned_files()
        for name in condemned:
            folder.remove(name)
        if condemned:
            writer.commit([], condemned)
        return writer, IndexReader(folder.index)
    except BaseException:
        writer.close()
        raise


class OpenBucket:
    """What is alive of a bucket. `leases` counts those who need it open: running calls, staged bodies, readers."""

    def __init__(self, folder: BucketFolder, writer: IndexWriter, reader: IndexReader, threads: Threads) -> None:
        self.folder = folder
        self.reader = reader
        self.threads = threads
        self.shelf = Shelf(folder, threads)
        self.committer = Committer(writer, threads, self.shelf.release)
        self.shelf.forget = self.committer.forget
        self.settings = reader.settings()
        self.leases = 0
        self.closed = False
        self._writer = writer

    def lease(self) -> None:
        self.leases += 1

    def release(self) -> None:
        self.leases -= 1

    @property
    def idle(self) -> bool:
        """Whether it may be closed without anyone noticing."""
        return self.leases == 0 and not self.committer.busy

    def pin(self, names: Sequence[str]) -> None:
        """Keeps files, and the bucket, for a reader."""
        self.shelf.pin(names)
        self.leases += 1

    def unpin(self, names: Sequence[str]) -> None:
        self.shelf.unpin(names)
        self.leases -= 1

    def scan(self, position: bytes) -> Generator[tuple[bytes, ObjectRecord], None, None]:
        """Records from a position on. A listing comes back for more after it gave the loop to others."""
        if self.closed:
            raise BucketGone
        return self.reader.scan(position)

    def remove_orphans(self) -> int:
        """Removes bodies that no record names; how many. Blocks, for as long as the bucket has bodies."""
        reader = IndexReader(self.folder.index)  # its own: the other is the event loop's
        try:
            orphans = [name for name in self.folder.unstaged_bodies() if not reader.knows_file(name)]
        finally:
            reader.close()
        for name in orphans:
            self.folder.remove(name)
        return len(orphans)

    def start_close(self) -> asyncio.Future[None]:
        """Closes an idle bucket."""
        self.closed = True
        return self.threads.commit_job(self._close)

    async def aclose(self) -> None:
        """Closes a bucket that may be in use: what is committing ends, what comes after fails with BucketGone."""
        self.closed = True
        await self.committer.aclose()
        await self.threads.wait_chores()
        await self.threads.commit_job(self._close)

    def _close(self) -> None:
        try:
            self.committer.last_words()
        finally:
            self.reader.close()
            self._writer.close()
