"""The authorizer: SQLite asks it, while it compiles a statement, about every object, pragma and function in it.

An allow-list: what is not named here is refused. The engine's own statements (BEGIN, SAVEPOINT, …) are compiled while
`trusted` is set.
"""

from __future__ import annotations

from typing import Final

import apsw

from tenantry.services.d1.engines import _policy

__all__ = ["Guard"]

OK: Final = apsw.SQLITE_OK
DENY: Final = apsw.SQLITE_DENY

_FIRST_IS_NAME: Final = frozenset(
    {
        apsw.SQLITE_CREATE_TABLE,
        apsw.SQLITE_CREATE_VIEW,
        apsw.SQLITE_DELETE,
        apsw.SQLITE_DROP_TABLE,
        apsw.SQLITE_DROP_VIEW,
        apsw.SQLITE_INSERT,
        apsw.SQLITE_REINDEX,
        apsw.SQLITE_UPDATE,
    }
)
_BOTH_ARE_NAMES: Final = frozenset(
    {
        apsw.SQLITE_CREATE_INDEX,
        apsw.SQLITE_CREATE_TRIGGER,
        apsw.SQLITE_DROP_INDEX,
        apsw.SQLITE_DROP_TRIGGER,
    }
)
_ALWAYS: Final = frozenset({apsw.SQLITE_SELECT, apsw.SQLITE_RECURSIVE, apsw.SQLITE_ANALYZE})
"""ANALYZE without a name visits every table, whatever it is called; what it writes is no table's content."""

_TEMPORARY_SCHEMAS: Final = frozenset({"sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema"})


class Guard:
    """The callback of one connection, and what it learnt about the statement that was compiled last."""

    __slots__ = ("_modules_refused", "altered", "deferred", "transaction_refused", "trusted", "written")

    def __init__(self, modules: frozenset[str]) -> None:
        """`modules` are those of this build: one that may not be created may not be read by its bare name either."""
        allowed = _policy.EPONYMOUS_MODULES
        self._modules_refused = _policy.HIDDEN_MODULES | {
            name for name in modules if name not in allowed and not name.startswith("pragma_")
        }
        self.trusted = False
        self.transaction_refused = False
        """A statement was refused because it would begin or end a transaction."""
        self.altered = False
        """An ALTER TABLE was compiled. Its new name is not shown here: look at the schema after it."""
        self.deferred = False
        """`PRAGMA defer_foreign_keys` was set: to be reset when the call is over."""
        self.written: dict[str, set[str] | None] = {}
        """What was compiled since this was emptied writes rows of these tables, outside of triggers: whole rows (None),
        or the columns of an UPDATE."""

    def __call__(self, action: int, one: str | None, two: str | None, database: str | None, source: str | None) -> int:
        if self.trusted or action in _ALWAYS:
            return OK
        if action == apsw.SQLITE_READ:
            return self._read(one or "")
        if action == apsw.SQLITE_FUNCTION:
            return OK if (two or "").lower() in _policy.FUNCTIONS else DENY
        if action == apsw.SQLITE_ALTER_TABLE:  # here alone, the database comes first
            self.altered = True
            return OK if one == "main" and _is_free(two) else DENY
        if action == apsw.SQLITE_PRAGMA:
            return self._pragma((one or "").lower(), two)
        if action in (apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT):
            self.transaction_refused = True
            return DENY
        if database == "temp":
            # ALTER TABLE updates the temporary schema beside the main one. Nothing of a tenant's is ever in there.
            return OK if action == apsw.SQLITE_UPDATE and one in _TEMPORARY_SCHEMAS else DENY
        if database not in (None, "main"):
            return DENY
        if action in _FIRST_IS_NAME:
            if source is None and one is not None:
                self._note_write(action, one, two)
            return OK if _is_free(one) else DENY
        if action in _BOTH_ARE_NAMES:
            return OK if _is_free(one) and _is_free(two) else DENY
        if action in (apsw.SQLITE_CREATE_VTABLE, apsw.SQLITE_DROP_VTABLE):
            return OK if _is_free(one) and (two or "").lower() in _policy.MODULES else DENY
        return DENY  # ATTACH, DETACH, everything temporary, and what SQLite may add

    def _note_write(self, action: int, table: str, column: str | None) -> None:
        if action in (apsw.SQLITE_INSERT, apsw.SQLITE_DELETE):
            self.written[table] = None
        elif action == apsw.SQLITE_UPDATE:
            columns = self.written.setdefault(table, set())
            if columns is not None and column is not None:
                columns.add(column)

    def _read(self, table: str) -> int:
        return OK if _is_free(table) and table.lower() not in self._modules_refused else DENY

    def _pragma(self, name: str, argument: str | None) -> int:
        if name in _policy.PLAIN_PRAGMAS:
            allowed = argument is None or name == "table_list"
        elif name in _policy.BOOLEAN_PRAGMAS:
            allowed = argument is None or argument.strip("'\"").lower() in _policy.BOOLEANS
            if name == "defer_foreign_keys" and argument is not None:
                self.deferred = True
        elif name in _policy.NAME_PRAGMAS:
            allowed = argument is not None and _is_free(argument)
        elif name in ("foreign_key_check", "quick_check"):
            allowed = argument is None or _is_free(argument)
        elif name == "optimize":
            allowed = argument is None or _is_integer(argument)
        else:
            allowed = False
        return OK if allowed else DENY


def _is_free(name: str | None) -> bool:
    return name is None or not name.strip("'\"`[]").lower().startswith(_policy.RESERVED_PREFIX)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").removeprefix("0x").isalnum() and text.removeprefix("-")[:1].isdigit()
