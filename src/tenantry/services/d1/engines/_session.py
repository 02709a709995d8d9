"""Group commit: many calls, one transaction, one fsync, and each call still atomic by itself.

    BEGIN
      SAVEPOINT call   first call's statements    RELEASE, or ROLLBACK TO when it failed
      SAVEPOINT call   second call's statements   RELEASE, or ROLLBACK TO when it failed
      …                                           until nobody waits, or the group is full or old
    COMMIT             one fsync; then everybody is answered

A call that read only, with no write of the group before it, has nothing to wait for: it is answered as soon as
telling the event loop is worth the trouble, or before a call that takes long.

What can go wrong, and what becomes of the innocent:

* A statement ends the whole transaction (`INSERT OR ROLLBACK`, `RAISE(ROLLBACK)`, an interrupted write, a full disk):
  the calls before it in the group lost their work. They were not answered, so they run again, each alone.
* COMMIT fails: all run again, each alone; the guilty one fails alone. Deferred foreign keys, the ordinary reason for
  this, are found before: SQLite counts the violations, and the count must be zero when a call ends.
* A call runs long while others wait for the commit: it is stopped, the others are committed, and it runs again alone.

A call runs at most three times: in a group, then alone; and once more if the file had to be created for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import apsw
import structlog

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.engine import Applied, Restored, Settle
from tenantry.services.d1.engines._connection import FORGET_RECEIPT, GuardedConnection, Storage, sqlite_failure
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Call, Room

__all__ = ["Past", "SqliteSession", "Store"]

T = TypeVar("T")

_log = structlog.get_logger()


class Past(Protocol):
    """Who is told of commits, and can tell of earlier states. `_history.History` says what each method means."""

    def follow(self, connection: apsw.Connection, *, new: bool) -> None: ...
    def committed(self, *, marked: bool) -> int: ...
    def current(self, *, marked: bool) -> int: ...
    @property
    def checkpoint_is_due(self) -> bool: ...
    def checkpoint(self) -> None: ...
    def leave(self) -> bool: ...
    def state_at(self, time: int) -> int: ...
    def rebuild(self, time: int, target: Path) -> int: ...
    def log_was_written(self) -> None: ...
    @property
    def staging(self) -> Path: ...


class Store(Protocol):
    """Where a session finds its database. `name` is for the operator's log."""

    name: str

    @property
    def past(self) -> Past:
        """Always the same."""

    def exists(self) -> bool:
        """Whether the database was ever written."""

    def connect(self) -> apsw.Connection:
        """Opens it, creating it durably when it does not exist, with `past` following.

        Raises `apsw.Error` and `OSError`.
        """

    def idle(self) -> None:
        """The session has a moment: whoever looks after the store may see whether there is something to do."""

    def disk_is_full(self) -> bool:
        """Whether a write that found no room found none on the disk, rather than in the database's own limit."""


class SqliteSession:
    """A `Session` on SQLite. `clock` counts seconds and never goes back."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        database_bytes_max: int = limits.DATABASE_BYTES_MAX,
    ) -> None:
        self._store = store
        self._clock = clock
        self._database_bytes_max = database_bytes_max
        self._connection: GuardedConnection | None = None
        self._blank = False
        """The connection is to an empty database in memory, for one that has no file yet."""
        self._lock = threading.Lock()  # around `_running`, so that an interrupt meets the call that it is meant for
        self._running: Call | None = None
        self._stop_at = 0.0
        self._deadline = 0.0
        self._ended = False
        self._room: Room | None = None
        """Of the call that runs, where the account has less left than the database may still take."""
        self._broken = False
        """The file or the disk failed: the connection is to be opened anew."""
        self.size_bytes: int | None = None
        """Of the database after the last commit since it was opened."""

    # Called from any thread.

    def watch(self, now: float) -> float:
        with self._lock:
            call = self._running
            if call is None or (now <= self._stop_at and not call.canceled and not self._ended):
                return 0.0
            if self._connection is not None:
                self._connection.interrupt()
            return max(0.0, now - self._deadline)

    def interrupt(self) -> None:
        with self._lock:
            self._ended = True
            if self._running is not None and self._connection is not None:
                self._connection.interrupt()

    # Called by the one thread whose turn it is.

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
            self._broken = False
            self.size_bytes = None
        if connection is not None:
            wrote = not self._blank and self._store.past.leave()
            connection.close()
            if wrote:
                self._store.idle()

    def apply(self, calls: Sequence[Call], settle: Settle) -> Applied:
        connection = self._open()
        try:
            connection.begin()
        except apsw.Error as error:
            raise sqlite_failure(error, connection.guard) from error
        began = self._clock()
        ready: list[Call] = []  # ran, and wait for nothing but others to be told of together
        waiting: list[Call] = []  # ran, and are answered when the transaction is committed
        index = 0
        for index, call in enumerate(calls, 1):
            if call.alone and index > 1:
                index -= 1
                break
            stopped = self._run(connection, call, hold=bool(waiting or ready))
            if not connection.in_transaction:
                again = self._start_over(waiting, call, stopped)
                return Applied(ready if stopped else [*ready, call], [*again, *calls[index:]])
            if self._blank and connection.wrote:
                connection.rollback()
                if call.failure is not None and not stopped:
                    return Applied([*ready, call], calls[index:])
                self._create()
                return Applied(ready, [*waiting, *calls[index - 1 :]])
            if stopped:
                call.alone = True
                index -= 1
                break
            if waiting or connection.wrote:
                waiting.append(call)
            else:
                if call.bookmarked and not self._blank:
                    call.state = self._store.past.current(marked=True)
                ready.append(call)
                if self._clock() - began >= limits.READS_SECONDS_MAX:
                    settle(ready)
                    ready = []
            if call.alone or self._broken or self._clock() - began >= limits.GROUP_SECONDS_MAX:
                break
        committed = self._commit(connection, waiting)
        if self._broken:
            self.close()
        if not committed:
            return Applied(ready, [*waiting, *calls[index:]])
        if not self._broken and not self._blank and self._store.past.checkpoint_is_due:
            settle([*ready, *waiting])  # before what takes longer than they did
            ready, waiting = [], []
            self._checkpoint()
        return Applied([*ready, *waiting], calls[index:])

    def state_at(self, time: int | None) -> int:
        self._open()
        if self._blank:
            return 0
        past = self._store.past
        return past.current(marked=True) if time is None else past.state_at(time)

    def receipt(self) -> str | None:
        return self._own(self._open(), GuardedConnection.receipt)

    def forget_receipt(self) -> None:
        connection = self._open()
        if self._own(connection, GuardedConnection.receipt) is None:
            return
        self._own(connection, GuardedConnection.begin)
        try:
            self._own(connection, GuardedConnection.forget_receipt)
        except QueryFailed:
            connection.rollback()
            raise
        self._commit(connection, [])

    def restore(self, time: int, room: Room | None = None) -> Restored:
        self._open()
        if self._blank:
            return Restored(0, 0)
        connection, past = self._connection, self._store.past
        assert connection is not None
        previous = past.current(marked=True)
        copy = past.staging
        try:
            state = past.rebuild(time, copy)
            source = apsw.Connection(str(copy), flags=apsw.SQLITE_OPEN_READWRITE)
            try:
                source.execute(FORGET_RECEIPT)  # what it is for was not done in this past
                size_bytes = int(source.pragma("page_count")) * int(source.pragma("page_size"))
                if size_bytes > max(self._database_bytes_max, connection.size_bytes):
                    raise QueryFailed(errors.DATABASE_FULL)
                if room is not None:
                    room.take(size_bytes - connection.size_bytes)
                # One transaction of the database as it is, so the state before can be restored like any other.
                connection.overwrite_from(source)
            finally:
                source.close(True)
            past.log_was_written()
            past.committed(marked=True)
            past.checkpoint()
        except (apsw.Error, OSError) as error:
            _log.exception("a D1 database could not be restored")
            raise QueryFailed(errors.STORAGE_FAILED) from error
        finally:
            copy.unlink(missing_ok=True)
            for suffix in ("-wal", "-shm", "-journal"):
                copy.with_name(copy.name + suffix).unlink(missing_ok=True)
            self.close()
        return Restored(state, previous)

    @staticmethod
    def _own(connection: GuardedConnection, function: Callable[[GuardedConnection], T]) -> T:
        try:
            return function(connection)
        except apsw.Error as error:
            raise sqlite_failure(error, connection.guard) from error

    def _checkpoint(self) -> None:
        try:
            self._store.past.checkpoint()
            self._store.idle()
        except (apsw.Error, OSError):
            # What was acknowledged is in the log. It grows until this succeeds.
            _log.exception("the log of a D1 database could not be archived")

    def _start_over(self, waiting: list[Call], call: Call, stopped: bool) -> list[Call]:
        """The transaction is gone, and with it what the calls before did. Returns those that have to run again."""
        assert self._connection is not None
        self._connection.rollback()
        if self._broken:
            self.close()
        again = [*waiting, call] if stopped else waiting
        for innocent in again:
            innocent.alone = True
        return again

    def _commit(self, connection: GuardedConnection, waiting: list[Call]) -> bool:
        """False when the calls that wait have to run again, each alone."""
        wrote = connection.wrote
        try:
            connection.commit()
        except apsw.Error as error:
            failure = self._failure(error, connection)
            connection.rollback()
            if len(waiting) > 1:
                for call in waiting:
                    call.alone = True
                return False
            for call in waiting:
                call.failure = call.failure or failure
            return True
        if wrote:
            state = self._store.past.committed(marked=any(call.bookmarked for call in waiting))
            for call in waiting:
                call.state = state
            self.size_bytes = connection.size_bytes
        return True

    def _run(self, connection: GuardedConnection, call: Call, hold: bool) -> bool:
        """Runs one call between two marks. True when it was stopped only because others wait."""
        call.failure = None
        call.rows.clear()
        if call.canceled:
            call.failure = QueryFailed(errors.CONNECTION_LOST)
            return False
        connection.set_mark()
        connection.allow_sql_bytes(call.sql_bytes_max)
        now = self._clock()
        with self._lock:
            self._deadline = now + call.seconds_max
            self._stop_at = min(self._deadline, now + limits.HOLD_SECONDS_MAX) if hold else self._deadline
            self._running = call
        failure: QueryFailed | None = None
        stopped = False
        size_bytes = 0
        try:
            if call.room is not None:
                size_bytes = self._bound(connection, call.room)
            for statement in call.statements:
                self._check_time()
                connection.run(statement, call.rows, self._check_time)
            connection.check_foreign_keys()
            if call.receipt is not None and (receipt := call.receipt()) is not None:
                connection.keep_receipt(receipt)
            if call.room is not None and connection.wrote:
                call.room.take(connection.size_bytes - size_bytes)
        except apsw.InterruptError:
            failure, stopped = self._reason(call)
        except (apsw.Error, QueryFailed, UnicodeError, MemoryError) as error:
            failure = self._failure(error, connection)
        finally:
            with self._lock:
                self._running = None
        # From here on no interrupt can come, so that a rollback is never cut short.
        connection.guard.altered = False
        connection.guard.transaction_refused = False
        if connection.in_transaction:
            if failure is None:
                connection.keep_since_mark()
            else:
                connection.undo_since_mark()
            connection.reset_call_settings()
        connection.guard.deferred = False
        call.failure = failure
        return stopped

    def _bound(self, connection: GuardedConnection, room: Room) -> int:
        """Keeps a call within what is left. Gives the size before it."""
        size_bytes = connection.size_bytes
        within = size_bytes + room.left_bytes
        self._room = room if within < self._database_bytes_max else None
        connection.bound(min(within, self._database_bytes_max))
        return size_bytes

    def _reason(self, call: Call) -> tuple[QueryFailed, bool]:
        if call.canceled or self._ended:
            return QueryFailed(errors.CONNECTION_LOST), False
        timed_out = self._clock() >= self._deadline
        return QueryFailed(errors.TIMED_OUT), not timed_out

    def _failure(self, error: BaseException, connection: GuardedConnection) -> QueryFailed:
        failure = sqlite_failure(error, connection.guard)
        if isinstance(error, apsw.FullError) and self._store.disk_is_full():
            _log.error("a D1 database could not be written: the disk is full", database=self._store.name)
            return QueryFailed(errors.DISK_FULL)
        if isinstance(error, apsw.FullError) and self._room is not None:
            return QueryFailed(errors.ACCOUNT_FULL)
        if isinstance(failure, Storage):
            self._broken = True
            # The tenant is told that something broke, the operator what.
            _log.error("a D1 database could not be read or written", database=self._store.name, exc_info=error)
        return failure

    def _overdue(self) -> bool:
        call = self._running
        return call is not None and (self._clock() > self._stop_at or call.canceled or self._ended)

    def _check_time(self) -> None:
        if self._overdue():
            raise apsw.InterruptError("interrupted")

    def _open(self) -> GuardedConnection:
        connection = self._connection
        if connection is None:
            if self._store.exists():
                return self._create()
            connection = GuardedConnection(apsw.Connection(":memory:"), self._database_bytes_max)
            connection.set_progress_handler(self._overdue)
            self._connection = connection
            self._blank = True
        return connection

    def _create(self) -> GuardedConnection:
        self.close()
        try:
            connection = GuardedConnection(self._store.connect(), self._database_bytes_max)
        except (apsw.Error, OSError) as error:
            raise QueryFailed(errors.STARTUP_FAILED) from error
        connection.set_progress_handler(self._overdue)
        self._connection = connection
        self._blank = False
        return connection
