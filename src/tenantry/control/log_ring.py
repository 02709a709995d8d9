"""What Workers said and how their invocations ended, on disk: a ring of so many bytes and days.

The event loop only puts a trace into a queue with a bound; a thread writes what has come since, in one transaction.
What does not fit into the queue, or cannot be written, is lost, counted, and said to be. Nothing here is flushed to the
disk for its own sake: `kill -9` takes the last tenth of a second, a power cut perhaps more; the file stays readable.

When the ring is full, the oldest goes of the Worker that holds most of it: one that floods it pushes out its own.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog

from tenantry.control import limits
from tenantry.errors import ConfigError
from tenantry.host import Trace, TraceLog
from tenantry.pace import Pace

__all__ = ["LEVELS", "LogEntry", "LogQuery", "LogRing"]

_log = structlog.get_logger(__name__)

LEVELS: Final = ("debug", "log", "info", "warn", "error")
_ENTRY_BYTES: Final = 512
"""What an entry counts beside its text, so that empty ones are bounded too."""
_BATCH_SECONDS: Final = 0.1
_SWEEP_SECONDS: Final = 60.0
_EVICTED_AT_ONCE: Final = 64
_CHECKPOINT_PAGES: Final = 200
"""A fifth of SQLite's own number: a checkpoint is a piece of work that cannot be paced."""
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        namespace TEXT,
        worker TEXT NOT NULL,
        outcome TEXT NOT NULL,
        level INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        document BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS entries_worker ON entries (worker, namespace, id);
    CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
"""


class LogException(msgspec.Struct, frozen=True):
    """`stack` is the tenant's own traceback."""

    name: str
    message: str
    stack: str
    at: int


class LogRequest(msgspec.Struct, frozen=True):
    """`url` has no query. `status` is null where there was no answer."""

    method: str
    url: str
    status: int | None


class LogEntry(msgspec.Struct, frozen=True):
    """One invocation, or what a Worker said outside of any (then `wall_ms` is null). `at`: when it began."""

    at: int
    worker: str
    namespace: str | None
    version: str
    outcome: str
    level: str
    wall_ms: int | None
    cpu_ms: int | None
    request: LogRequest | None
    rpc_method: str | None
    logs: list[TraceLog]
    exceptions: list[LogException]
    id: int = 0
    """Counts up, in the order of their ends."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """`since` and `before` in milliseconds since 1970; `level` is the least one. `namespace` None: outside of any.

    With `after`, an id, come those behind it, the oldest first; else the newest come first, with `below` only those
    with a smaller id.
    """

    worker: str | None = None
    any_namespace: bool = True
    namespace: str | None = None
    since: int | None = None
    before: int | None = None
    outcome: str | None = None
    level: str | None = None
    after: int | None = None
    below: int | None = None


class LogRing:
    """Call it with traces, from any thread. `close` writes what is left."""

    def __init__(
        self,
        file: Path,
        bytes_max: int,
        seconds_max: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` is in seconds since 1970. A file that is damaged is begun anew: the ring is nobody's data.

        Raises ConfigError.
        """
        self._file = file
        self._bytes_max = bytes_max
        self._seconds_max = seconds_max
        self._clock = clock
        self._pending: deque[Trace] = deque()
        self._pending_characters = 0
        self._lost = 0
        self._closing = False
        self._busy = False
        self._changed = threading.Condition()
        self._held: Counter[tuple[str, str | None]] = Counter()
        """Bytes that each Worker holds."""
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            self._connection = self._open()
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigError(f"{file}: cannot hold the logs: {error}; logs_mib = 0 keeps none") from error
        except sqlite3.DatabaseError as error:
            _log.warning("the file of logs is damaged and was begun anew", file=str(file), reason=str(error))
            for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
                file.with_name(name).unlink(missing_ok=True)
            self._connection = self._open()
        self._thread = threading.Thread(target=self._run, name="log-ring", daemon=True)
        self._thread.start()

    def __call__(self, trace: Trace) -> None:
        size = _ENTRY_BYTES + sum(len(each.message) for each in trace.logs)
        size += sum(len(each.message) + len(each.stack) for each in trace.exceptions)
        if trace.request is not None:
            size += len(trace.request.url)
        with self._changed:
            if self._pending_characters + size > limits.LOG_PENDING_CHARACTERS_MAX:
                self._lost += 1
                return
            self._pending.append(trace)
            self._pending_characters += size
            if len(self._pending) == 1:  # else the thread is awake, or about to be
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all that came before is written, or lost."""
        with self._changed:
            self._changed.wait_for(lambda: not self._pending and not self._busy)

    def close(self, seconds_max: float = 5.0) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(seconds_max)

    def find(self, query: LogQuery, count_max: int) -> tuple[list[LogEntry], bool]:
        """What matches, up to LOG_ANSWER_BYTES_MAX of it but at least one, and whether there is more. Blocks."""
        where, values = _where(query, self._oldest())
        order = "ASC" if query.after is not None else "DESC"
        # What is joined here is written above, and no text of anybody's.
        statement = f"SELECT id, document FROM entries WHERE {where} ORDER BY id {order} LIMIT ?"  # noqa: S608
        found: list[LogEntry] = []
        size = 0
        with closing(sqlite3.connect(self._file, timeout=5.0)) as connection:
            for number, document in connection.execute(statement, [*values, count_max + 1]):
                size += len(document)
                if len(found) == count_max or (found and size > limits.LOG_ANSWER_BYTES_MAX):
                    return found, True
                entry = msgspec.json.decode(document, type=LogEntry)
                found.append(msgspec.structs.replace(entry, id=number))
        return found, False

    def _open(self) -> sqlite3.Connection:
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._file, timeout=5.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {limits.LOG_PENDING_CHARACTERS_MAX}")
            connection.executescript(_SCHEMA)
            query = "SELECT worker, namespace, sum(bytes) FROM entries GROUP BY worker, namespace"
            self._held = Counter({(worker, namespace): size for worker, namespace, size in connection.execute(query)})
        except BaseException:
            connection.close()
            raise
        return connection

    def _run(self) -> None:
        with closing(self._connection):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._pending or self._lost or self._closing, _SWEEP_SECONDS)
                    if not self._closing and self._pending:
                        # More may come: one transaction for what arrives within a moment.
                        self._changed.wait_for(lambda: self._closing, _BATCH_SECONDS)
                    traces, self._pending = self._pending, deque()
                    self._pending_characters = 0
                    lost, self._lost = self._lost, 0
                    closing_down = self._closing
                    self._busy = True
                try:
                    self._write(traces)
                except Exception as error:  # noqa: BLE001 - what comes later is to be kept all the same
                    lost += len(traces)
                    _log.warning("logs could not be written", file=str(self._file), reason=str(error))
                if lost:
                    _log.warning("logs of invocations were lost", count=lost)
                with self._changed:
                    self._busy = False
                    self._changed.notify_all()
                if closing_down:
                    return

    def _write(self, traces: Sequence[Trace] | deque[Trace]) -> None:
        connection, held, pace = self._connection, self._held.copy(), Pace(self._is_behind)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for trace in traces:
                pace.step()
                entry, document = _document(trace)
                size = len(document) + _ENTRY_BYTES
                connection.execute(
                    "INSERT INTO entries (at, namespace, worker, outcome, level, bytes, document) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        entry.at,
                        entry.namespace,
                        entry.worker,
                        entry.outcome,
                        LEVELS.index(entry.level),
                        size,
                        document,
                    ),
                )
                held[entry.worker, entry.namespace] += size
            self._delete(held, "at < ?", (self._oldest(),))
            total = held.total()
            while total > self._bytes_max:
                (worker, namespace), _ = held.most_common(1)[0]
                oldest = "SELECT id FROM entries WHERE worker = ? AND namespace IS ? ORDER BY id LIMIT ?"
                total -= self._delete(held, f"id IN ({oldest})", (worker, namespace, _EVICTED_AT_ONCE))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._held = held

    def _is_behind(self) -> bool:
        return self._closing or self._pending_characters > limits.LOG_PENDING_CHARACTERS_MAX // 4

    def _delete(self, held: Counter[tuple[str, str | None]], where: str, values: tuple[Any, ...]) -> int:
        """Gives the bytes that are free now. `where` is written here."""
        statement = f"DELETE FROM entries WHERE {where} RETURNING worker, namespace, bytes"  # noqa: S608
        freed = 0
        for worker, namespace, size in self._connection.execute(statement, values).fetchall():
            held[worker, namespace] -= size
            if held[worker, namespace] <= 0:
                del held[worker, namespace]
            freed += size
        return freed

    def _oldest(self) -> int:
        return int((self._clock() - self._seconds_max) * 1000)


def _where(query: LogQuery, oldest: int) -> tuple[str, list[Any]]:
    conditions, values = ["at >= ?"], [max(oldest, query.since or 0)]
    given: list[tuple[str, Any]] = [
        ("worker = ?", query.worker),
        ("at < ?", query.before),
        ("outcome = ?", query.outcome),
        ("level >= ?", None if query.level is None else LEVELS.index(query.level)),
        ("id > ?", query.after),
        ("id < ?", query.below),
    ]
    for condition, value in given:
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if not query.any_namespace:
        conditions.append("namespace IS ?")
        values.append(query.namespace)  # type: ignore[arg-type]  # None is a value here
    return " AND ".join(conditions), values


def _document(trace: Trace) -> tuple[LogEntry, bytes]:
    entry = _entry(trace)
    try:
        return entry, msgspec.json.encode(entry)
    except UnicodeEncodeError:  # lone surrogates, which JSON cannot hold
        entry = _entry(_valid(trace))
        return entry, msgspec.json.encode(entry)


def _entry(trace: Trace) -> LogEntry:
    request = trace.request
    began = trace.began_at is not None
    return LogEntry(
        at=trace.began_at if trace.began_at is not None else trace.logs[0].at if trace.logs else 0,
        worker=trace.worker,
        namespace=trace.namespace,
        version=trace.version_id,
        outcome=trace.outcome,
        level=_level(trace),
        wall_ms=trace.wall_ms if began else None,
        cpu_ms=trace.cpu_ms if began else None,
        request=None if request is None else LogRequest(request.method, _without_query(request.url), trace.status),
        rpc_method=trace.method,
        logs=trace.logs,
        exceptions=[
            LogException(
                each.name[: limits.LOG_EXCEPTION_CHARACTERS_MAX],
                each.message[: limits.LOG_EXCEPTION_CHARACTERS_MAX],
                each.stack,
                each.at,
            )
            for each in trace.exceptions
        ],
    )


def _valid(trace: Trace) -> Trace:
    """With question marks for what is no character."""
    replace = msgspec.structs.replace
    request, method = trace.request, trace.method
    return replace(
        trace,
        request=request and replace(request, method=_text(request.method), url=_text(request.url)),
        method=method and _text(method),
        logs=[replace(each, message=_text(each.message)) for each in trace.logs],
        exceptions=[
            replace(each, name=_text(each.name), message=_text(each.message), stack=_text(each.stack))
            for each in trace.exceptions
        ],
    )


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _without_query(url: str) -> str:
    return url.partition("?")[0].partition("#")[0]


def _level(trace: Trace) -> str:
    """The gravest of what there is in it."""
    if trace.exceptions or (trace.began_at is not None and trace.outcome not in ("ok", "canceled")):
        return "error"
    return max({each.level for each in trace.logs}, key=LEVELS.index, default="info")
