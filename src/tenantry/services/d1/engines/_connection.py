"""One guarded SQLite connection: it runs a tenant's statements within D1's limits and permissions, and nothing else.

The engine's own statements share the connection and its cache of compiled statements with the tenant's. The cache is
looked up by text and a hit is not authorized again, so ours begin with a comment that nobody can guess.
"""

from __future__ import annotations

import secrets
import time
from itertools import islice
from typing import Any, Final

import apsw

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.engines._guard import Guard
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Effects, Rows, Statement

__all__ = ["FORGET_RECEIPT", "GuardedConnection", "Storage", "sqlite_failure"]

_LIMITS: Final = {
    apsw.SQLITE_LIMIT_LENGTH: limits.VALUE_BYTES_MAX,
    apsw.SQLITE_LIMIT_SQL_LENGTH: limits.SQL_BYTES_MAX,
    apsw.SQLITE_LIMIT_COLUMN: limits.COLUMNS_MAX,
    apsw.SQLITE_LIMIT_EXPR_DEPTH: limits.EXPRESSION_DEPTH_MAX,
    apsw.SQLITE_LIMIT_COMPOUND_SELECT: limits.COMPOUND_SELECT_TERMS_MAX,
    apsw.SQLITE_LIMIT_VDBE_OP: limits.VIRTUAL_MACHINE_OPERATIONS_MAX,
    apsw.SQLITE_LIMIT_FUNCTION_ARG: limits.FUNCTION_ARGUMENTS_MAX,
    apsw.SQLITE_LIMIT_ATTACHED: 0,
    apsw.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: limits.LIKE_PATTERN_BYTES_MAX,
    apsw.SQLITE_LIMIT_VARIABLE_NUMBER: limits.PARAMETERS_MAX,
    apsw.SQLITE_LIMIT_TRIGGER_DEPTH: limits.TRIGGER_DEPTH_MAX,
    apsw.SQLITE_LIMIT_WORKER_THREADS: 0,
}

_MARK: Final = f"/*{secrets.token_hex(16)}*/"

_RECEIPTS: Final = "CREATE TABLE _cf_import (receipt TEXT NOT NULL)"
"""As SQLite remembers it, which puts quotes around a name that a table was renamed to."""
_RENAMED_TO_RESERVED: Final = (
    r"SELECT 1 FROM sqlite_schema WHERE name LIKE '\_cf\_%' ESCAPE '\' AND sql IS NOT ? LIMIT 1"
)
_IS_RECEIPTS: Final = "SELECT 1 FROM sqlite_schema WHERE name = '_cf_import' AND sql IS ?"
FORGET_RECEIPT: Final = "DROP TABLE IF EXISTS _cf_import"

_INDEXES: Final = """
    SELECT group_concat(columns.name, char(10)) FROM pragma_index_list('{name}') AS indexes,
    pragma_index_info(indexes.name) AS columns GROUP BY indexes.name
    HAVING indexes.origin <> 'pk' OR (SELECT NOT wr FROM pragma_table_list('{name}') WHERE schema = 'main')
"""
"""The columns of each index that is kept beside a table's rows: the key of one WITHOUT ROWID is its rows."""

_STORAGE_ERRORS: Final = (
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.IOError,
    apsw.NotADBError,
    apsw.PermissionsError,
    apsw.ReadOnlyError,
)


class Storage(QueryFailed):
    """The disk or the file failed, not the statement: the connection is to be opened anew."""


class GuardedConnection:
    """Wraps `connection` for good. One thread at a time, but for `interrupt`."""

    def __init__(self, connection: apsw.Connection, database_bytes_max: int) -> None:
        self._connection = connection
        self._own = connection.cursor()
        for limit, value in _LIMITS.items():
            connection.limit(limit, value)
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0)
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        page_bytes = int(connection.pragma("page_size"))
        self._pages_max = max(1, database_bytes_max // page_bytes)
        connection.pragma("max_page_count", self._pages_max)
        connection.pragma("cache_size", -limits.CACHE_KIB)
        modules = frozenset(str(row[0]).lower() for row in connection.execute("PRAGMA module_list"))
        self.guard = Guard(modules)
        self._page_bytes = page_bytes
        self._size_bytes: int | None = None
        self._full_scan_steps = 0
        self._indexes: dict[str, int] = {}
        """How many indexes a row that a statement writes is entered in, by the statement's text."""
        self._text = ""
        self._piece: str | None = None
        self._columns: tuple[str, ...] = ()
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, self._profile)
        connection.authorizer = self.guard
        self.interrupt = connection.interrupt

    # The engine's own statements.

    def own(self, sql: str, *parameters: str) -> list[Any]:  # Any: SQLite's values
        """Runs a statement of ours, which the guard does not look at."""
        self.guard.trusted = True
        try:
            return list(self._own.execute(_MARK + sql, parameters))
        finally:
            self.guard.trusted = False

    def begin(self) -> None:
        self.own("BEGIN")

    def commit(self) -> None:
        self.own("COMMIT")

    def rollback(self) -> None:
        """Ends the transaction if there still is one, whatever happened to it."""
        self._size_bytes = None
        if self.in_transaction:
            self.own("ROLLBACK")

    def set_mark(self) -> None:
        self.own("SAVEPOINT call")

    def keep_since_mark(self) -> None:
        self.own("RELEASE call")

    def undo_since_mark(self) -> None:
        self._size_bytes = None
        self.own("ROLLBACK TO call")
        self.own("RELEASE call")

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @property
    def wrote(self) -> bool:
        """Whether the transaction has something to commit."""
        return self._connection.txn_state("main") == apsw.SQLITE_TXN_WRITE

    def check_foreign_keys(self) -> None:
        """What COMMIT would say of deferred constraints, but said of one call in a transaction that several share."""
        if self._connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise QueryFailed(
                "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)"
            )

    def reset_call_settings(self) -> None:
        """Takes back what holds until the end of a transaction, when a call ends inside a shared one."""
        if self.guard.deferred:
            self.guard.deferred = False
            self.own("PRAGMA defer_foreign_keys = 0")

    def allow_sql_bytes(self, sql_bytes_max: int) -> None:
        self._connection.limit(apsw.SQLITE_LIMIT_SQL_LENGTH, sql_bytes_max)

    def bound(self, size_bytes: int) -> None:
        """How large the database may become, from now on. One that is larger stays as it is."""
        pages_max = max(1, size_bytes // self._page_bytes)
        if pages_max != self._pages_max:
            self._pages_max = pages_max
            self.own(f"PRAGMA max_page_count = {pages_max:d}")

    def receipt(self) -> str | None:
        if not self.own(_IS_RECEIPTS, _RECEIPTS):
            return None
        return str(self.own("SELECT receipt FROM _cf_import")[0][0])

    def keep_receipt(self, receipt: str) -> None:
        """With the transaction that is open."""
        self.forget_receipt()
        self.own(_RECEIPTS)
        self.own("INSERT INTO _cf_import VALUES (?)", receipt)

    def forget_receipt(self) -> None:
        self._size_bytes = None
        self.own(FORGET_RECEIPT)

    def overwrite_from(self, source: apsw.Connection) -> None:
        """Becomes a copy of another database, in one transaction."""
        self._size_bytes = None
        with self._connection.backup("main", source, "main") as backup:
            backup.step(-1)

    @property
    def size_bytes(self) -> int:
        return self._size()

    def set_progress_handler(self, overdue: Any) -> None:  # Any: a callable that SQLite calls for true or false
        self._connection.set_progress_handler(overdue, limits.PROGRESS_OPERATIONS)

    def close(self) -> None:
        self._own.close(True)
        self._connection.trace_v2(0, None)
        self._connection.close(True)

    # The tenant's statements.

    def run(self, statement: Statement, rows: Rows, check_time: Any) -> None:  # Any: a callable that may raise
        """Executes a statement's text and hands the rows of its last statement over.

        Raises what SQLite raises, and `QueryFailed`. `check_time` is called between chunks of rows, for time that is
        spent outside of SQLite.
        """
        text, nul, _ = statement.sql.partition("\0")
        self.guard.written.clear()
        connection = self._connection
        self._full_scan_steps = 0
        changes_before = connection.total_changes()
        row_id_before = connection.last_insert_rowid()
        size_before = self._size()
        started = time.perf_counter()
        row_count = 0
        while True:
            # The cache would return a PRAGMA compiled before, and the guard would not learn that it ran.
            can_cache = "pragma" not in text.lower()
            cursor = connection.cursor()
            try:
                cursor.exec_trace = self._look
                self._text = text
                try:
                    cursor.execute(text, statement.parameters, can_cache=can_cache)
                except apsw.ExecTraceAbort:
                    text = self._run_piece(text)
                    check_time()
                    continue
                except apsw.BindingsError:
                    raise QueryFailed(self._binding_problem(text)) from None
                rows.begin(self._columns)
                chunk_rows = 1
                while chunk := list(islice(cursor, chunk_rows)):
                    row_bytes = rows.add(chunk) // len(chunk) + 1
                    row_count += len(chunk)
                    fitting_rows = max(1, limits.ROWS_CHUNK_BYTES // row_bytes)
                    chunk_rows = min(fitting_rows, limits.ROWS_CHUNK_MAX, chunk_rows * 8)
                    check_time()
                break
            finally:
                cursor.close(True)
        if nul:
            # SQLite reads up to the NUL, and D1 then looks for another statement behind it.
            raise QueryFailed(errors.NOT_A_STATEMENT)
        if self.guard.altered:
            self.guard.altered = False
            if self.own(_RENAMED_TO_RESERVED, _RECEIPTS):
                raise QueryFailed(f"{errors.AUTHORIZATION}: SQLITE_AUTH")
        duration = (time.perf_counter() - started) * 1000
        changes = connection.total_changes() - changes_before
        row_id = connection.last_insert_rowid()
        entries = connection.changes() * self._indexes_of(text) if changes or self.guard.written else 0
        if self.wrote:
            self._size_bytes = None
        size = self._size()
        steps = self._full_scan_steps
        rows.end(
            Effects(
                duration_milliseconds=duration,
                changes=changes,
                last_row_id=row_id,
                changed_database=changes != 0 or row_id != row_id_before or size != size_before,
                size_bytes=size,
                # A scan of n rows steps n - 1 times.
                rows_read=max(row_count, steps + 1 if steps else 0, changes),
                rows_written=changes + entries,
            )
        )

    def _indexes_of(self, text: str) -> int:
        """A statement is compiled anew when the schema has changed, and only then can the answer be another."""
        written = self.guard.written
        if written:
            if len(self._indexes) >= limits.STATEMENT_CACHE_COUNT:
                self._indexes.clear()
            count = 0
            if len(written) == 1:
                [(table, columns)] = written.items()
                name = table.replace("'", "''")
                for row in self.own(_INDEXES.format(name=name)):
                    count += columns is None or not columns.isdisjoint(str(row[0]).split("\n"))
            self._indexes[text] = count
        return self._indexes.get(text, 0)

    def _look(self, cursor: apsw.Cursor, sql: str, _bindings: object) -> bool:
        """Called with every statement that was compiled, before it runs. Stops at the first of several."""
        if not cursor.has_vdbe:
            raise QueryFailed(errors.NOT_A_STATEMENT)
        if len(sql) < len(self._text):
            if cursor.bindings_count:
                raise QueryFailed(errors.PARAMETERS_BEFORE_LAST)
            self._piece = sql
            return False
        if _ends_twice(sql):
            raise QueryFailed(errors.NOT_A_STATEMENT)
        self._columns = tuple([column[0] for column in cursor.get_description()])
        return True

    def _run_piece(self, text: str) -> str:
        """Runs the first of several statements up to its first row, as D1 does, and returns the text after it."""
        piece, self._piece = self._piece, None
        assert piece is not None
        cursor = self._connection.cursor()
        try:
            cursor.execute(piece, can_cache=False)
        finally:
            cursor.close(True)
        return text[len(piece) :]

    def _binding_problem(self, text: str) -> str:
        """Which rule a text broke whose parameters do not match: the first statement may not be the last."""
        cursor = self._connection.cursor()
        cursor.exec_trace = self._look
        try:
            null_bindings = apsw._null_bindings  # type: ignore[attr-defined]  # not in its stubs; apsw.ext uses it
            cursor.execute(text, null_bindings, can_cache=False)
        except QueryFailed as failure:
            return str(failure)
        except apsw.Error:
            pass
        finally:
            cursor.close(True)
        return errors.WRONG_BINDING_COUNT

    def _size(self) -> int:
        size = self._size_bytes
        if size is None:
            size = self._size_bytes = int(self.own("PRAGMA page_count")[0][0]) * self._page_bytes
        return size

    def _profile(self, event: dict[str, Any]) -> None:  # Any: as APSW declares it
        self._full_scan_steps += event["stmt_status"]["SQLITE_STMTSTATUS_FULLSCAN_STEP"]


def _ends_twice(sql: str) -> bool:
    """`SELECT 1;;`: D1 looks for a statement between the two and finds none. APSW swallows both."""
    end = sql.rstrip()
    if not end.endswith(";") or "--" in sql or "/*" in sql:  # a comment may well end in semicolons
        return False
    return end[:-1].rstrip().endswith(";")


def sqlite_failure(error: BaseException, guard: Guard) -> QueryFailed:
    """What D1 says of an exception that a statement raised; `Storage` when the connection cannot be trusted further."""
    if isinstance(error, QueryFailed):
        return error
    if guard.transaction_refused:
        guard.transaction_refused = False
        return QueryFailed(errors.TRANSACTION_REFUSED)
    if isinstance(error, apsw.NoMemError | MemoryError):
        return QueryFailed(errors.OUT_OF_MEMORY)
    if isinstance(error, apsw.FullError):
        return QueryFailed(errors.DATABASE_FULL)
    # A virtual table is corrupt where the tenant wrote into what is behind it: that is the tenant's own doing.
    if isinstance(error, _STORAGE_ERRORS) and getattr(error, "extendedresult", 0) != apsw.SQLITE_CORRUPT_VTAB:
        return Storage(errors.STORAGE_FAILED)
    if isinstance(error, UnicodeError):
        return QueryFailed(errors.NOT_UTF8)
    if isinstance(error, apsw.Error):
        message = str(error)
        result = getattr(error, "result", apsw.SQLITE_ERROR)
        if message.startswith("cannot VACUUM"):
            # It is refused as such, but SQLite notices first that a transaction is open.
            message, result = errors.AUTHORIZATION, apsw.SQLITE_AUTH
        code = str(apsw.mapping_result_codes.get(result & 0xFF, "SQLITE_ERROR"))
        extended = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", 0))
        offset = int(getattr(error, "error_offset", -1))
        return QueryFailed(errors.sqlite_text(message, offset, code, str(extended) if extended else None))
    raise error
