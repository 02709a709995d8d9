"""The errors of D1.

    TenantryError
    ├── QueryFailed     a call ran and failed, or could not run; its text is Cloudflare's, without prefix
    │   └── PastUnknown a state that is asked for is not kept
    └── BindingError    the same with the prefix of the method that was called: what the Worker sees

Engines raise `QueryFailed`; the binding puts `D1_ERROR: ` or `D1_EXEC_ERROR: ` before it. The texts that a tenant may
read are all in this module, but for SQLite's own.
"""

from __future__ import annotations

from typing import Final

from tenantry.errors import BindingError, StorageError, StorageFull, TenantryError

__all__ = [
    "AUTHORIZATION",
    "PastUnknown",
    "QueryFailed",
    "d1_error",
    "exec_error",
    "type_error",
]

WRONG_BINDING_COUNT: Final = "Wrong number of parameter bindings for SQL query."
PARAMETERS_BEFORE_LAST: Final = (
    "When executing multiple SQL statements in a single call, only the last statement can have parameters."
)
STATEMENT_TOO_LONG: Final = "statement too long: SQLITE_TOOBIG"
NO_STATEMENTS: Final = "No SQL statements detected."
NOT_A_STATEMENT: Final = "SQL code did not contain a statement."
TRANSACTION_REFUSED: Final = (
    "To execute a transaction, please use the state.storage.transaction() or state.storage.transactionSync() APIs "
    "instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. The JavaScript API is safer because it will "
    "automatically roll back on exceptions, and because it interacts correctly with Durable Objects' automatic "
    "atomic write coalescing."
)
OVERLOADED: Final = "D1 DB is overloaded. Too many requests queued."
TIMED_OUT: Final = "D1 DB storage operation exceeded timeout which caused object to be reset."
OUT_OF_MEMORY: Final = "D1 DB's isolate exceeded its memory limit and was reset."
DATABASE_FULL: Final = "Exceeded maximum DB size."
ACCOUNT_FULL: Final = (
    "Your account has exceeded D1's maximum account storage limit. Delete databases that are not needed, or ask the "
    "operator of this platform for more."
)
DISK_FULL: Final = "database or disk is full: SQLITE_FULL"
STORAGE_FAILED: Final = "Internal error in D1 DB storage caused object to be reset."
STARTUP_FAILED: Final = "Internal error while starting up D1 DB storage caused object to be reset."
CONNECTION_LOST: Final = "Network connection lost."
DUMP_REFUSED: Final = "D1_DUMP_ERROR: Status + 404"
NOT_UTF8: Final = "A text of this query's result is not valid UTF-8. Read it with CAST(… AS BLOB)."
AUTHORIZATION: Final = "not authorized"
PAST_UNKNOWN: Final = "The database has no history for this time: it did not exist yet, or the time is too long ago."
NO_HISTORY: Final = "This database keeps no history: Time Travel is not available."
BOOKMARK_INVALID: Final = "The bookmark is not one of this database, or it is damaged."


class QueryFailed(TenantryError):
    """A call failed. `str()` is the text without prefix, such as `no such table: t: SQLITE_ERROR`."""


class PastUnknown(QueryFailed):
    """The database cannot be restored to the time asked for."""

    def __init__(self, text: str = PAST_UNKNOWN) -> None:
        super().__init__(text)


def sqlite_text(message: str, offset: int, code: str, extended: str | None) -> str:
    """SQLite's message as D1 words it. `offset` is the byte in the statement, or -1 where SQLite does not know."""
    where = f" at offset {offset}" if offset >= 0 else ""
    more = f" (extended: {extended})" if extended and extended != code else ""
    return f"{message}{where}: {code}{more}"


def result_too_large(bytes_max: int) -> QueryFailed:
    return QueryFailed(f"The result is too large: its rows exceed {bytes_max} bytes. Use LIMIT.")


def d1_error(text: object) -> BindingError:
    return _kind_of(text)(f"D1_ERROR: {text}")


def _kind_of(text: object) -> type[BindingError]:
    """For the edges that answer a broken disk and a full one with statuses of their own."""
    if str(text) == DISK_FULL:
        return StorageFull
    return StorageError if str(text) in (STORAGE_FAILED, STARTUP_FAILED) else BindingError


def type_error(type_name: str, value: object) -> BindingError:
    return BindingError(f"D1_TYPE_ERROR: Type '{type_name}' not supported for value '{value}'")


def exec_error(first_line: str, text: object) -> BindingError:
    """The number is always 1 and the line always the first: D1's service reports one failure for the whole text."""
    return _kind_of(text)(f"D1_EXEC_ERROR: Error in line 1: {first_line}: {text}")
