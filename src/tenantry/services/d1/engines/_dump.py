"""A database as SQL text, in the form that D1's export has: one INSERT a row, each on one line.

    PRAGMA defer_foreign_keys=TRUE;
    CREATE TABLE …; INSERT …            each table, those that are referred to before those that refer to them
    CREATE VIRTUAL TABLE …; INSERT …    FTS5 with its documents and settings, R*Trees with their boxes
    DELETE FROM sqlite_sequence; …
    CREATE INDEX, VIEW, TRIGGER …       triggers last: they would fire for the rows, and may need a view

Beyond D1's, which refuses a database with virtual tables: rowids that rows alone do not say are written as a column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import apsw

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import DumpOptions

__all__ = ["dump"]

_ROWS_BETWEEN_LOOKS: Final = 256
_NAME: Final = r"""(?:"(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`|\[[^\]]*\]|[^\s"'`\[(]+)"""
_VIRTUAL: Final = re.compile(rf"CREATE VIRTUAL TABLE\s+{_NAME}\s+USING\s+(?P<module>{_NAME})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    sql: str
    module: str
    """Of a virtual table, lower-case; else empty."""


def dump(connection: apsw.Connection, target: BinaryIO, options: DumpOptions, stop: Callable[[], bool]) -> None:
    """Reads in one transaction of `connection`. Raises `QueryFailed`."""
    written = 0
    # A schema is a tenant's: what it calls when it is read is to be harmless.
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, 2 * limits.VALUE_BYTES_MAX)
    try:
        connection.execute("BEGIN")
        for count, line in enumerate(_lines(connection, options)):
            if count % _ROWS_BETWEEN_LOOKS == 0 and stop():
                raise QueryFailed(errors.CONNECTION_LOST)
            encoded = line.encode() + b"\n"
            written += len(encoded)
            if written > limits.DUMP_BYTES_MAX:
                raise QueryFailed(f"The export is too large: at most {limits.DUMP_BYTES_MAX} bytes.")
            target.write(encoded)
        connection.execute("COMMIT")
    except apsw.Error as error:
        raise QueryFailed(errors.STORAGE_FAILED) from error


def _lines(connection: apsw.Connection, options: DumpOptions) -> Iterator[str]:
    yield "PRAGMA defer_foreign_keys=TRUE;"
    tables = _tables(connection)
    chosen = [table for table in tables if not options.tables or table.name in options.tables]
    ordered = {table.name.lower(): table for table in _parents_first(connection, chosen)}
    made: set[str] = set()
    for table in ordered.values():
        # In a circle, a row may refer to a table that comes later: that has to be there, empty.
        for name in (table.name.lower(), *_parents(connection, table.name)):
            if options.schema and name in ordered and name not in made:
                made.add(name)
                yield _create(ordered[name].sql)
        if options.data:
            yield from _rows(connection, table.name)
    for table in chosen:
        if table.module:
            if options.schema:
                yield _create(table.sql)
            if options.data:
                yield from _virtual_rows(connection, table)
    if options.data and connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'").fetchone():
        yield "DELETE FROM sqlite_sequence;"
        names = {table.name for table in chosen}
        for name, sequence in connection.execute("SELECT name, seq FROM sqlite_sequence"):
            if name in names:
                yield f'INSERT INTO "sqlite_sequence" ("name","seq") VALUES({_text(name)},{sequence});'
    if options.schema:
        for kind in ("index", "view", "trigger"):
            for name, table, sql in connection.execute(
                "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = ? AND sql IS NOT NULL ORDER BY rowid",
                (kind,),
            ):
                if _is_ours(name) or (options.tables and table not in options.tables):
                    continue
                yield _create(sql)


def _tables(connection: apsw.Connection) -> list[_Table]:
    """In the order they were made; without what belongs to virtual tables, and what is ours or SQLite's."""
    kinds = {name: kind for schema, name, kind, *_ in connection.execute("PRAGMA table_list") if schema == "main"}
    found = []
    for name, sql in connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND sql IS NOT NULL ORDER BY rowid"
    ):
        if name.startswith("sqlite_") or _is_ours(name) or kinds.get(name) == "shadow":
            continue
        module = ""
        if kinds.get(name) == "virtual":
            match = _VIRTUAL.match(sql)
            module = match["module"].strip("\"'`[]").lower() if match is not None else "?"
        found.append(_Table(name, sql, module))
    return found


def _is_ours(name: str) -> bool:
    return name.lower().startswith("_cf_")


def _create(sql: str) -> str:
    for quote in ('"', "'", "`", "["):
        if sql.startswith(f"CREATE TABLE {quote}"):
            return f"CREATE TABLE IF NOT EXISTS {sql.removeprefix('CREATE TABLE ')};"
    return f"{sql};"


def _parents_first(connection: apsw.Connection, tables: list[_Table]) -> list[_Table]:
    """Those that are not virtual, as far as there is such an order."""
    by_name = {table.name.lower(): table for table in tables if not table.module}
    ordered: dict[str, _Table] = {}
    for first in by_name:
        path = [(first, iter(_parents(connection, by_name[first].name)))]
        seen = {first}
        while path:
            name, parents = path[-1]
            parent = next((item for item in parents if item in by_name and item not in seen), None)
            if parent is None:
                ordered.setdefault(name, by_name[name])
                path.pop()
            else:
                seen.add(parent)
                path.append((parent, iter(_parents(connection, by_name[parent].name))))
    return list(ordered.values())


def _parents(connection: apsw.Connection, name: str) -> list[str]:
    return [str(row[2]).lower() for row in connection.execute(f"PRAGMA foreign_key_list({_name(name)})")]


def _rows(connection: apsw.Connection, name: str) -> Iterator[str]:
    columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({_name(name)})")]
    hidden = _rowid_to_keep(connection, name)
    return _inserts(connection, name, [*([hidden] if hidden else []), *columns])


def _rowid_to_keep(connection: apsw.Connection, name: str) -> str:
    """The name of a rowid that no column shows and that would not come out the same by itself; else an empty text."""
    columns = connection.execute(f"PRAGMA table_xinfo({_name(name)})").fetchall()
    taken = {str(row[1]).lower() for row in columns}
    rowid = next((alias for alias in ("rowid", "_rowid_", "oid") if alias not in taken), "")
    keys = [row for row in columns if row[5]]
    if not rowid or (len(keys) == 1 and str(keys[0][2]).upper() == "INTEGER"):
        return ""
    try:
        [(count, low, high)] = connection.execute(
            f"SELECT count(*), min({rowid}), max({rowid}) FROM {_name(name)}"  # noqa: S608
        )
    except apsw.SQLError:  # WITHOUT ROWID
        return ""
    return rowid if count and (low, high) != (1, count) else ""


def _virtual_rows(connection: apsw.Connection, table: _Table) -> Iterator[str]:
    name = _name(table.name)
    columns = [
        str(row[1]) for row in connection.execute(f"PRAGMA table_xinfo({name})") if row[6] == 0
    ]  # the others are hidden: the table's own name and rank
    if table.module in ("rtree", "rtree_i32"):
        yield from _inserts(connection, table.name, columns)
    if table.module != "fts5":
        return
    for key, value in connection.execute(
        f"SELECT k, v FROM {_name(table.name + '_config')} WHERE k <> 'version' ORDER BY k"  # noqa: S608
    ):
        yield f"INSERT INTO {name}({name},rank) VALUES({_text(key)},{_literal(value)});"
    content = _fts5_content(table.sql)
    if content is None:
        yield from _inserts(connection, table.name, ["rowid", *columns])
    elif content:
        yield f"INSERT INTO {name}({name}) VALUES('rebuild');"
    elif connection.execute(f"SELECT 1 FROM {_name(table.name + '_docsize')} LIMIT 1").fetchone():  # noqa: S608
        raise QueryFailed(
            f"D1 Export error: cannot export the rows of the contentless FTS5 table {table.name}: it does not have "
            "them. Export without data, or drop it first."
        )


def _fts5_content(sql: str) -> str | None:
    """The value of the option `content`; None when the table keeps its documents itself."""
    flat = "".join(sql.split())
    place = flat.lower().find("content=")
    if place < 0 or flat[place - 1] not in "(,":
        return None
    value = flat[place + len("content=") :]
    if value[:1] in "'\"`":
        return value[1:].split(value[0])[0]
    return value.split(",")[0].split(")")[0]


def _inserts(connection: apsw.Connection, name: str, columns: list[str]) -> Iterator[str]:
    # Text comes as a BLOB, since it need not be valid UTF-8.
    wanted = [
        f"CASE typeof({_name(column)}) WHEN 'text' THEN CAST({_name(column)} AS BLOB) ELSE {_name(column)} END, "
        f"typeof({_name(column)}) = 'text'"
        for column in columns
    ]
    head = f"INSERT INTO {_name(name)} ({','.join(map(_name, columns))}) VALUES("
    for row in connection.execute(f"SELECT {', '.join(wanted)} FROM {_name(name)}"):  # noqa: S608
        values = [
            _text_of_bytes(value) if is_text else _literal(value)
            for value, is_text in zip(row[::2], row[1::2], strict=True)
        ]
        yield f"{head}{','.join(values)});"


def _literal(value: Any) -> str:  # Any: SQLite's values
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value - value != 0:
        return "9e999" if value > 0 else "-9e999"
    if value == -(2**63):
        return "(-9223372036854775807-1)"
    return repr(value)


def _text_of_bytes(content: bytes) -> str:
    try:
        if b"\0" not in content:
            return _text(content.decode())
    except UnicodeDecodeError:
        pass
    return f"CAST(X'{content.hex()}' AS TEXT)"


def _text(text: str) -> str:
    literal = "'" + text.replace("'", "''") + "'"
    for character, code in (("\n", 10), ("\r", 13)):
        if character in text:
            stand_in = _absent(text, "\\n" if code == 10 else "\\r")
            literal = f"replace({literal.replace(character, stand_in)},'{stand_in}',char({code}))"
    return literal


def _absent(text: str, wanted: str) -> str:
    """What is wanted, or something like it, that is no part of the text."""
    found = wanted
    number = 0
    while found in text:
        number += 1
        found = f"\\{number:o}{wanted}"
    return found


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
