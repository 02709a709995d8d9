"""What all resources of an account hold together, exactly, without looking at each of them at a start.

    table held      resource → bytes, count; `changing` from before its first write in the life of a process until the
                    process has ended in order

In memory are the sum, and what was last learned of the resources that this process has written to. After a crash the
rows that say `changing` are asked anew of the resources themselves; there are as many as were being written to. A file
that is missing (a backup that was put back, a quota that is new) is made by asking all of them, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, cast

import apsw
import structlog

__all__ = ["Totals"]

_log = structlog.get_logger()

_SCHEMA: Final = """
CREATE TABLE held (
    resource TEXT NOT NULL PRIMARY KEY,
    bytes    INTEGER NOT NULL,
    count    INTEGER NOT NULL,
    changing INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
CREATE INDEX held_changing ON held (resource) WHERE changing;
PRAGMA user_version = 1;
"""
_SUM: Final = "SELECT ifnull(sum(bytes), 0), ifnull(sum(count), 0) FROM held WHERE NOT changing"
_CHANGING: Final = "SELECT resource FROM held WHERE changing"
_GET: Final = "SELECT bytes, count FROM held WHERE resource = ?"
_BEGIN: Final = """
    INSERT INTO held VALUES (?, 0, 0, 1) ON CONFLICT (resource) DO UPDATE SET changing = 1
"""
_SET: Final = """
    INSERT INTO held VALUES (?, ?, ?, ?) ON CONFLICT (resource)
    DO UPDATE SET bytes = excluded.bytes, count = excluded.count, changing = excluded.changing
"""
_KEEP: Final = "INSERT INTO held VALUES (?, 0, 0, 0) ON CONFLICT (resource) DO UPDATE SET changing = 0"
_FORGET: Final = "DELETE FROM held WHERE resource = ?"

Held = tuple[int, int]
"""Bytes and count."""


class Totals:
    """Lives on one event loop; its file is used in a thread of its own.

    `ask` says what a resource holds, `resources` which there are; both are called only where the file does not know.
    """

    def __init__(
        self,
        file: Path,
        ask: Callable[[str], Awaitable[Held]],
        resources: Callable[[], Iterable[str]],
        *,
        durable: bool = True,
    ) -> None:
        self._file = file
        self._executor = ThreadPoolExecutor(1, "totals")
        self._ask = ask
        self._resources = resources
        self._durable = durable
        self._db: apsw.Connection | None = None
        self._lock = asyncio.Lock()
        self._known: dict[str, Held] = {}
        """Of the resources that are noted down as changing."""
        self.size_bytes = 0
        self.count = 0

    async def begin(self, resource_id: str) -> None:
        """Before a write. Returns when it is noted that the resource changes. Cheap but for the first time."""
        if resource_id not in self._known:
            async with self._lock:
                if self._db is None:
                    await self._open()
                if resource_id not in self._known:
                    self._known[resource_id] = await self._run(self._note, resource_id)

    def learn(self, resource_id: str, size_bytes: int, count: int) -> None:
        """What a resource that changes holds now."""
        before = self._known.get(resource_id)
        if before is not None:
            self.size_bytes += size_bytes - before[0]
            self.count += count - before[1]
            self._known[resource_id] = (size_bytes, count)

    async def forget(self, resource_id: str) -> None:
        """Of a resource that was deleted."""
        async with self._lock:
            if self._db is None:
                await self._open()
            noted = await self._run(self._drop, resource_id)
            before = self._known.pop(resource_id, noted)
            self.size_bytes -= before[0]
            self.count -= before[1]

    async def aclose(self) -> None:
        """Writes down what is known, as final. To be called when nobody writes any more."""
        async with self._lock:
            if self._db is not None:
                await self._run(self._finish, list(self._known.items()))
                self._known.clear()
                self._db = None
        await asyncio.to_thread(self._executor.shutdown)

    async def _open(self) -> None:
        new = await self._run(self._connect)
        try:
            for resource_id in list(self._resources()) if new else await self._run(self._changing):
                try:
                    held = await self._ask(resource_id)
                except Exception:  # noqa: BLE001  # one that is broken does not keep the others from being written
                    _log.exception(
                        "a resource cannot be asked what it holds: it counts as noted last", resource=resource_id
                    )
                    await self._run(self._keep, resource_id)
                else:
                    await self._run(self._set, resource_id, held)
            if new:
                await self._run(self._name)
            self.size_bytes, self.count = await self._run(self._sum)
        except BaseException:
            await self._run(self._disconnect)
            raise

    async def _run(self, function: Callable[..., Any], *args: object) -> Any:  # Any: what the job below returns
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, *args)

    # In the executor.

    def _connect(self) -> bool:
        """Whether the file is new: it has its name only when it is complete."""
        new = not self._file.exists()
        path = self._unfinished if new else self._file
        if new:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
        db = apsw.Connection(str(path))
        try:
            db.pragma("synchronous", "full" if self._durable else "normal")
            if new:
                db.execute(_SCHEMA)
        except BaseException:
            db.close()
            raise
        self._db = db
        return new

    @property
    def _unfinished(self) -> Path:
        return self._file.with_name(f"{self._file.name}.new")

    def _name(self) -> None:
        self._disconnect()
        self._unfinished.rename(self._file)
        self._connect()
        self._connection.pragma("journal_mode", "wal")

    @property
    def _connection(self) -> apsw.Connection:
        assert self._db is not None
        return self._db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _changing(self) -> list[str]:
        return [str(resource) for (resource,) in self._connection.execute(_CHANGING)]

    def _set(self, resource_id: str, held: Held) -> None:
        self._connection.execute(_SET, (resource_id, *held, 0))

    def _keep(self, resource_id: str) -> None:
        self._connection.execute(_KEEP, (resource_id,))

    def _sum(self) -> Held:
        return cast("Held", self._connection.execute(_SUM).fetchall()[0])

    def _note(self, resource_id: str) -> Held:
        """What the resource held as far as the sum knows: as it is noted, or nothing."""
        rows = self._connection.execute(_GET, (resource_id,)).fetchall()
        self._connection.execute(_BEGIN, (resource_id,))
        return cast("Held", rows[0]) if rows else (0, 0)

    def _drop(self, resource_id: str) -> Held:
        rows = self._connection.execute(_GET, (resource_id,)).fetchall()
        self._connection.execute(_FORGET, (resource_id,))
        return cast("Held", rows[0]) if rows else (0, 0)

    def _finish(self, known: list[tuple[str, Held]]) -> None:
        with self._connection:
            self._connection.executemany(_SET, [(resource_id, *held, 0) for resource_id, held in known])
        self._connection.close()
