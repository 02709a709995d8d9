"""Exports and imports: whole databases as SQL files, made and taken while others go on.

Either is a job that is asked for now and then until it is done. Files lie in a spool folder that is emptied at the
first use and at the end; each is reached by a secret of its own, for a while.

An import leaves a receipt in the database, in the commit of its effects. Whoever comes with the same file before its
client was told of its end is that client again, which lost the answer, to a `kill -9` of the host say: it is told of
the import that was, and the file does not run a second time. Nobody tells us when an answer is out, so the receipt
outlasts it for a while; a host that lives knows by itself whom it told.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from tenantry.errors import BindingError
from tenantry.services.d1 import bookmarks, errors, limits
from tenantry.services.d1.encoding import Totals
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import DumpOptions
from tenantry.services.d1.script import Script
from tenantry.services.d1.threads import Threads

if TYPE_CHECKING:
    from tenantry.services.d1.engine import Session
    from tenantry.services.d1.service import D1Service

__all__ = ["Export", "Import", "Transfer", "Transfers", "Upload"]

T = TypeVar("T")

_MD5: Final = re.compile(r"[0-9a-f]{32}")
_READ_BYTES: Final = 256 * 1024
_SPARE_THREADS: Final = 2
"""For files that are sent and fetched while exports run."""


@dataclass(slots=True, eq=False)
class Transfer:
    """A job. `failure` is None while it runs, and when it succeeded."""

    resource_id: str
    bookmark: str
    """Names the job, and the state of the database when it began."""
    done: asyncio.Event = field(default_factory=asyncio.Event)
    failure: str | None = None


@dataclass(slots=True, eq=False)
class Export(Transfer):
    secret: str = ""
    """Of the file, when it is done."""


@dataclass(slots=True, eq=False)
class Import(Transfer):
    etag: str = ""
    told: bool = False
    """An answer that tells of its end is on its way to its client."""
    receipt: _Receipt | None = None
    """What it left in the database, as long as it is to stay there."""
    final_bookmark: str = ""
    statements: int = 0
    meta: dict[str, Any] = field(default_factory=dict)  # Any: what JSON can say


@dataclass(frozen=True, slots=True)
class _Receipt:
    """What an import did, as it stands in the database. `at`: seconds since 1970."""

    etag: str
    at: float
    statements: int
    meta: dict[str, Any]  # Any: what JSON can say

    def text(self) -> str:
        return json.dumps([self.etag, self.at, self.statements, self.meta])

    @classmethod
    def parse(cls, text: str | None) -> _Receipt | None:
        return None if text is None else cls(*json.loads(text))


@dataclass(slots=True, eq=False)
class Upload:
    """A file that may be sent."""

    resource_id: str
    etag: str
    """The MD5 of what will be sent, in hexadecimal."""
    path: Path
    complete: bool = False
    arriving: bool = False

    @property
    def filename(self) -> str:
        return f"{self.resource_id}.{self.etag}.sql"


class Transfers:
    """All jobs of an account. Called on one event loop."""

    def __init__(self, service: D1Service, spool: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._spool = spool
        self._clock = clock
        self._threads = Threads(limits.TRANSFERS_MAX + _SPARE_THREADS, 0, "d1-transfer")
        self._places = asyncio.Semaphore(limits.TRANSFERS_MAX)
        self._jobs: dict[tuple[str, str], Transfer] = {}
        self._downloads: dict[str, Path] = {}
        self._uploads: dict[str, Upload] = {}
        self._ends: dict[str, float] = {}
        """When what a secret is for goes away. A job's is its bookmark."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._forgetting: set[asyncio.Task[None]] = set()
        self._sequence = 0
        self._opened = False
        self._closed = asyncio.Event()

    async def export(self, resource_id: str, options: DumpOptions) -> Export:
        """Begins one. Raises `QueryFailed`."""
        self._make_room()
        path = await self._new_file()
        job = Export(resource_id, await self._new_bookmark(resource_id))
        self._begin(job, self._export(job, options, path))
        return job

    async def offer_upload(self, resource_id: str, etag: str) -> tuple[str, Upload]:
        """A secret to send a file with, and what is expected. Raises `QueryFailed`."""
        if not _MD5.fullmatch(etag):
            raise QueryFailed("The etag must be the MD5 of the file: 32 hexadecimal digits, lower-case.")
        self._make_room()
        secret = secrets.token_urlsafe(32)
        self._uploads[secret] = upload = Upload(resource_id, etag, await self._new_file())
        self._ends[secret] = self._clock() + limits.TRANSFER_SECONDS_MAX
        return secret, upload

    async def untold(self, resource_id: str, etag: str) -> Import | None:
        """The import of this very file that runs, or has run, and whose client was never told of its end.

        Raises `QueryFailed`.
        """
        self._forget_old()
        await self._open_spool()
        for job in list(self._jobs.values()):
            if isinstance(job, Import) and (job.resource_id, job.etag, job.failure) == (resource_id, etag, None):
                if not job.told:
                    return job
                await self._forget_receipt(job)
        database = self._service.database(resource_id)
        kept = _Receipt.parse(await database.perform(lambda session: session.receipt()))
        if kept is None or kept.etag != etag or not 0 <= time.time() - kept.at <= limits.TRANSFER_SECONDS_MAX:
            return None
        job = Import(resource_id, await self._new_bookmark(resource_id), etag=etag, receipt=kept)
        job.statements, job.meta, job.final_bookmark = kept.statements, kept.meta, job.bookmark
        job.done.set()
        self._keep(job)
        return job

    async def told(self, job: Import) -> None:
        """Its client is being told: from now on the same file is a new import."""
        if job.told:
            return
        job.told = True
        if job.receipt is not None:
            task = asyncio.get_running_loop().create_task(self._forget_receipt_later(job))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def receive_untrusted(self, secret: str, body: AsyncIterator[bytes]) -> str | None:
        """Takes the file of an upload. Gives its MD5, or None when there is no such upload. Raises `QueryFailed`."""
        self._forget_old()
        upload = self._uploads.get(secret)
        if upload is None or upload.complete or upload.arriving:
            return None
        upload.arriving = True
        digest = hashlib.md5(usedforsecurity=False)
        size_bytes = 0

        def write(file: BinaryIO, piece: bytes) -> None:
            digest.update(piece)
            file.write(piece)

        try:
            file = await self._in_thread(lambda: upload.path.open("wb"))
            try:
                async for piece in body:
                    size_bytes += len(piece)
                    if size_bytes > limits.IMPORT_BYTES_MAX:
                        raise QueryFailed(f"The file is too large: at most {limits.IMPORT_BYTES_MAX} bytes.")
                    await self._in_thread(partial(write, file, piece))
            finally:
                await self._in_thread(file.close)
            if digest.hexdigest() != upload.etag:
                raise QueryFailed(f"The file's MD5 is {digest.hexdigest()}, and {upload.etag} was announced.")
            upload.complete = True
        finally:
            upload.arriving = False
        return upload.etag

    async def ingest(self, resource_id: str, etag: str, filename: str) -> Import:
        """Begins to run an uploaded file. Raises `QueryFailed`."""
        self._forget_old()
        for secret, upload in self._uploads.items():
            if (upload.resource_id, upload.etag, upload.filename) == (resource_id, etag, filename) and upload.complete:
                del self._uploads[secret]
                del self._ends[secret]
                break
        else:
            raise QueryFailed("There is no such upload: it was not finished, or it is too long ago.")
        job = Import(resource_id, await self._new_bookmark(resource_id), etag=etag)
        self._begin(job, self._import(job, upload.path))
        return job

    async def wait(self, resource_id: str, bookmark: str, seconds: float) -> Transfer | None:
        """A job, when it is done or after a while. None when there is no such one."""
        self._forget_old()
        job = self._jobs.get((resource_id, bookmark))
        if job is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await job.done.wait()
        return job

    def download(self, secret: str) -> Path | None:
        """The file of an export, as long as it may be fetched."""
        self._forget_old()
        return self._downloads.get(secret)

    async def read(self, path: Path) -> AsyncIterator[bytes]:
        """A file in pieces. Raises `OSError`."""
        file = await self._in_thread(lambda: path.open("rb"))
        try:
            while piece := await self._in_thread(lambda: file.read(_READ_BYTES)):
                yield piece
        finally:
            await self._in_thread(file.close)

    async def aclose(self) -> None:
        """Gives up what runs."""
        self._closed.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._forgetting:
            _, late = await asyncio.wait(self._forgetting, timeout=limits.DRAIN_SECONDS_DEFAULT)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for thread in self._threads.close():
            thread.join()
        if self._opened and self._spool is not None:
            shutil.rmtree(self._spool, ignore_errors=True)

    async def _export(self, job: Export, options: DumpOptions, path: Path) -> None:
        engine = self._service.engine
        stopped = False

        def write() -> None:
            with path.open("wb") as file:
                engine.dump(job.resource_id, file, options, lambda: stopped)

        try:
            await self._in_thread(write)
        except asyncio.CancelledError:
            stopped = True
            raise
        job.secret = secrets.token_urlsafe(32)
        self._downloads[job.secret] = path
        self._ends[job.secret] = self._clock() + limits.TRANSFER_SECONDS_MAX

    async def _import(self, job: Import, path: Path) -> None:
        totals = Totals()

        def receipt() -> str | None:
            if not totals.count:
                return None
            job.receipt = _Receipt(job.etag, time.time(), totals.count, totals.meta())
            return job.receipt.text()

        try:
            state = await self._service.database(job.resource_id).run(
                Script(path),
                totals,
                limits.IMPORT_SECONDS_MAX,
                bookmarked=True,
                sql_bytes_max=limits.IMPORT_STATEMENT_BYTES_MAX,
                receipt=receipt,
            )
        finally:
            await self._in_thread(lambda: path.unlink(missing_ok=True))
        if not totals.count:
            raise QueryFailed(errors.NO_STATEMENTS)
        job.final_bookmark = bookmarks.encode(job.resource_id, state)
        job.statements = totals.count
        job.meta = totals.meta()

    async def _forget_receipt_later(self, job: Import) -> None:
        """When the answer must have arrived, or was given up with everything else, in order."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.ANSWER_SECONDS_MAX):
                await self._closed.wait()
        # The database may have gone meanwhile; where it did not, what is left there counts for an hour.
        with suppress(QueryFailed, BindingError):
            await self._forget_receipt(job)

    async def _forget_receipt(self, job: Import) -> None:
        """Raises `QueryFailed`."""
        receipt = job.receipt
        if receipt is None:
            return

        def forget(session: Session) -> None:
            if session.receipt() == receipt.text():  # not that of a later import
                session.forget_receipt()

        await self._service.database(job.resource_id).perform(forget)
        job.receipt = None

    def _begin(self, job: Transfer, work: Any) -> None:  # Any: a coroutine that gives nothing
        async def run() -> None:
            try:
                async with self._places:
                    await work
            except QueryFailed as failure:
                job.failure = str(failure)
            except BaseException:
                job.failure = errors.STORAGE_FAILED
                raise
            finally:
                job.done.set()

        self._keep(job)
        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, job: Transfer) -> None:
        self._jobs[(job.resource_id, job.bookmark)] = job
        self._ends[job.bookmark] = self._clock() + limits.TRANSFER_SECONDS_MAX

    async def _new_bookmark(self, resource_id: str) -> str:
        """No other job has it."""
        database = self._service.database(resource_id)
        state = await database.perform(lambda session: session.state_at(None))
        self._sequence += 1
        return bookmarks.encode(resource_id, state, self._sequence)

    async def _new_file(self) -> Path:
        return await self._open_spool() / f"{secrets.token_hex(16)}.sql"

    async def _open_spool(self) -> Path:
        """The folder, without what a host that was killed left in it."""
        spool = self._spool
        if spool is None or self._closed.is_set():
            raise QueryFailed(errors.CONNECTION_LOST)
        if not self._opened:
            self._opened = True

            def clear() -> None:
                shutil.rmtree(spool, ignore_errors=True)
                spool.mkdir(mode=0o700, parents=True)

            await self._in_thread(clear)
        return spool

    def _make_room(self) -> None:
        self._forget_old()
        if len(self._jobs) + len(self._uploads) >= limits.TRANSFERS_KEPT_MAX:
            raise QueryFailed(
                "Too many exports and imports were begun. Wait until some of them are done and forgotten."
            )

    def _forget_old(self) -> None:
        now = self._clock()
        for name in [name for name, end in self._ends.items() if end <= now]:
            del self._ends[name]
            path = self._downloads.pop(name, None)
            upload = self._uploads.pop(name, None)
            for key in [key for key in self._jobs if key[1] == name]:
                del self._jobs[key]
            for gone in (path, upload.path if upload is not None else None):
                if gone is not None:
                    gone.unlink(missing_ok=True)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Raises what `function` raises. It goes on to its end even if the caller leaves."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: T | None, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)  # type: ignore[arg-type]  # it is a T when there is no error

        def job() -> None:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = function()
            except Exception as caught:  # noqa: BLE001  # it is raised again where it was waited for
                error = caught
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(finish, result, error)

        self._threads.submit(job)
        return await future
