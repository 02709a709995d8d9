"""The databases of one account: which are open, who may open one more, and who looks at the clock.

What a statement may be and what is said of one that is not lies in `binding.py` and `encoding.py`; here is the life of
databases. Results that were handed out and requests that are being read are counted for each, so that a tenant
that asks and never reads stops at its own bound.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tenantry.errors import BindingError, ConfigError
from tenantry.services import ServiceSettings
from tenantry.services.d1 import errors, limits
from tenantry.services.d1.binding import D1Binding
from tenantry.services.d1.database import Database
from tenantry.services.d1.engine import Engine
from tenantry.services.d1.engines.files import FileEngine
from tenantry.services.d1.errors import PastUnknown, d1_error
from tenantry.services.d1.metered import MeteredCalls, account_meter
from tenantry.services.d1.threads import Threads
from tenantry.services.d1.transfers import Transfers
from tenantry.services.quota import UNLIMITED, Meter

__all__ = ["D1Service"]

_SAFE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class D1Service:
    """Opens databases on `engine`. All methods are called on one event loop."""

    def __init__(
        self,
        engine: Engine,
        *,
        query_seconds_max: float = limits.QUERY_SECONDS_MAX,
        stuck_seconds: float = limits.STUCK_SECONDS_DEFAULT,
        drain_seconds: float = limits.DRAIN_SECONDS_DEFAULT,
        open_databases_max: int = limits.OPEN_DATABASES_MAX,
        result_bytes_max: int = limits.RESULT_BYTES_MAX,
        thread_count: int = limits.THREADS_DEFAULT,
        wall_clock: Callable[[], int] = time.time_ns,
        spool: Path | None = None,
        meter: Meter | None = None,
    ) -> None:
        """`wall_clock` gives nanoseconds since 1970. `spool` is a folder for exports and imports, made when it is
        needed; without one there are none. `meter` is of the account's quota, if it has one, and is closed with it.
        """
        self.transfers = Transfers(self, spool)
        self._wall_clock = wall_clock
        self.query_seconds_max = query_seconds_max
        self.result_bytes_max = result_bytes_max
        self.engine = engine
        self._meter = meter
        self._metered = None if meter is None else MeteredCalls(engine, meter)
        self._stuck_seconds = stuck_seconds
        self._drain_seconds = drain_seconds
        self._open_databases_max = open_databases_max
        self._threads = Threads(thread_count, limits.SPARE_THREADS_MAX, "d1")
        self._databases: OrderedDict[str, Database] = OrderedDict()  # least recently used first
        self._deleting: set[str] = set()
        self._busy: set[Database] = set()
        self._watching = False
        self._closed = False

    @classmethod
    def from_settings(cls, settings: ServiceSettings) -> D1Service:
        if settings.durability not in ("full", "process"):
            raise ConfigError(f"durability is {settings.durability!r}; it may be 'full' or 'process'")
        folder = Path(settings.folder) / "d1"
        durable = settings.durability == "full"
        quota = settings.quotas.get("d1", UNLIMITED)
        database_bytes_max = limits.DATABASE_BYTES_MAX
        if quota.resource.size_bytes is not None:
            database_bytes_max = min(database_bytes_max, quota.resource.size_bytes)
        engine = FileEngine(folder, durable=durable, database_bytes_max=database_bytes_max)
        # A name that no database can have.
        spool = folder / ".transfers"
        return cls(engine, spool=spool, meter=account_meter(engine, quota, folder.with_name("d1.totals"), durable))

    def open(self, resource_id: str) -> D1Binding:
        if len(resource_id) > limits.RESOURCE_ID_CHARACTERS_MAX or not _SAFE_ID.fullmatch(resource_id):
            raise ConfigError(f"{resource_id!r} cannot be the id of a database: letters, digits, '-', '_' and '.' can")
        return D1Binding(self, resource_id)

    async def delete(self, resource_id: str) -> None:
        """Calls that run or wait fail; later ones too, until the bytes are gone."""
        self._deleting.add(resource_id)
        try:
            database = self._databases.get(resource_id)
            if database is not None and not await database.aclose(drain_seconds=0.0):
                raise BindingError(f"D1_ERROR: {errors.TIMED_OUT}")
            self._databases.pop(resource_id, None)
            if self._meter is not None:
                await self._meter.removing(resource_id)
            await self._in_thread(lambda: self.engine.delete(resource_id))
            if self._meter is not None:
                await self._meter.removed(resource_id)
        finally:
            self._deleting.discard(resource_id)

    async def aclose(self) -> None:
        """Lets calls end for a while, stops the rest, closes every database."""
        if self._closed:
            return
        await self.transfers.aclose()
        self._closed = True
        databases = list(self._databases.values())
        closed = await asyncio.gather(*[database.aclose(self._drain_seconds) for database in databases])
        threads = self._threads.close()
        if all(closed):
            # They end at once: nothing is left in their queue.
            for thread in threads:
                thread.join()
            self.engine.close()
        if self._meter is not None:
            await self._meter.aclose()

    def database(self, resource_id: str) -> Database:
        """For the binding: the database as it is now. Use it before the next `await`, or it may be evicted."""
        if self._closed or resource_id in self._deleting:
            raise d1_error(errors.CONNECTION_LOST)
        database = self._databases.get(resource_id)
        if database is None:
            self._evict(1)
            database = Database(
                resource_id, self.engine, self._threads, self._changed, self._stuck_seconds, self._metered
            )
            self._databases[resource_id] = database
        else:
            self._databases.move_to_end(resource_id)
        return database

    def check_past(self, time: int | None) -> int:
        """The earliest time (nanoseconds since 1970) that a database can be restored to.

        Raises `QueryFailed` if `time` is before it, and where there is no past at all.
        """
        if not self.engine.keeps_past:
            raise PastUnknown(errors.NO_HISTORY)
        earliest = self._wall_clock() - limits.HISTORY_SECONDS * 1_000_000_000
        if time is not None and time < earliest:
            raise PastUnknown
        return earliest

    async def _in_thread(self, function: Callable[[], None]) -> None:
        """Runs to its end even if the caller leaves."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[BaseException | None] = loop.create_future()

        def finish(error: BaseException | None) -> None:
            if not done.done():
                done.set_result(error)

        def job() -> None:
            error: BaseException | None = None
            try:
                function()
            except Exception as caught:  # noqa: BLE001  # it is raised again where it was waited for
                error = caught
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                loop.call_soon_threadsafe(finish, error)

        self._threads.submit(job)
        if (error := await done) is not None:
            raise error

    def _evict(self, more: int = 0) -> None:
        """Closes what was not used for longest, to have room for `more`. One in use stays."""
        surplus = len(self._databases) + more - self._open_databases_max
        if surplus <= 0:
            return
        for database in list(self._databases.values()):
            if database.busy or database.unread_bytes or database.request_bytes or database.preparing:
                continue
            if database.is_open:
                database.release()
            else:
                del self._databases[database.resource_id]
            surplus -= 1
            if surplus <= 0:
                return

    def _changed(self, database: Database) -> None:
        if database.busy:
            self._busy.add(database)
            if not self._watching:
                self._watching = True
                asyncio.get_running_loop().call_later(limits.WATCH_SECONDS, self._watch)
        else:
            self._busy.discard(database)
            if len(self._databases) > self._open_databases_max and not self._closed:
                self._evict()

    def _watch(self) -> None:
        """Interrupts from here need neither the thread's attention nor the GIL, as a progress handler would."""
        now = time.monotonic()
        for database in list(self._busy):
            database.watch(now)
        self._watching = bool(self._busy)
        if self._watching:
            asyncio.get_running_loop().call_later(limits.WATCH_SECONDS, self._watch)
