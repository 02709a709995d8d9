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

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import apsw

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.engine import Applied, Settle
from tenantry.services.d1.engines._connection import GuardedConnection, Storage, sqlite_failure
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Call

__all__ = ["SqliteSession", "Store"]

_log = logging.getLogger(__name__)


class Store(Protocol):
    """Where a session finds its database. `name` is for the operator's log."""

    name: str

    def exists(self) -> bool:
        """Whether the database was ever written."""

    def connect(self) -> apsw.Connection:
        """Opens it, creating it durably when it does not exist. Raises `apsw.Error` or `OSError`."""

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
        self._broken = False
        """The file or the disk failed: the connection is to be opened anew."""

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
        if connection is not None:
            connection.close()

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
                self._create()
                return Applied(ready, [*waiting, *calls[index - 1 :]])
            if stopped:
                call.alone = True
                index -= 1
                break
            if waiting or connection.wrote:
                waiting.append(call)
            else:
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
        return Applied([*ready, *waiting], calls[index:])

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

    def _run(self, connection: GuardedConnection, call: Call, hold: bool) -> bool:
        """Runs one call between two marks. True when it was stopped only because others wait."""
        call.failure = None
        call.rows.clear()
        if call.canceled:
            call.failure = QueryFailed(errors.CONNECTION_LOST)
            return False
        connection.set_mark()
        now = self._clock()
        with self._lock:
            self._deadline = now + call.seconds_max
            self._stop_at = min(self._deadline, now + limits.HOLD_SECONDS_MAX) if hold else self._deadline
            self._running = call
        failure: QueryFailed | None = None
        stopped = False
        try:
            for statement in call.statements:
                self._check_time()
                connection.run(statement, call.rows, self._check_time)
            connection.check_foreign_keys()
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

    def _reason(self, call: Call) -> tuple[QueryFailed, bool]:
        if call.canceled or self._ended:
            return QueryFailed(errors.CONNECTION_LOST), False
        timed_out = self._clock() >= self._deadline
        return QueryFailed(errors.TIMED_OUT), not timed_out

    def _failure(self, error: BaseException, connection: GuardedConnection) -> QueryFailed:
        failure = sqlite_failure(error, connection.guard)
        if isinstance(error, apsw.FullError) and self._store.disk_is_full():
            _log.error("D1 database %s could not be written: the disk is full", self._store.name)
            return QueryFailed(errors.DISK_FULL)
        if isinstance(failure, Storage):
            self._broken = True
            # The tenant is told that something broke, the operator what.
            _log.error("D1 database %s could not be read or written: %s", self._store.name, error, exc_info=error)
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
