"""What statements return: rows, meta, and how values look on their way in and out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from d1_facade import Subject, case, raises
from workers.rpc import JsDict


@case("rows")
async def rows_are_objects_with_attributes_and_keys(subject: Subject) -> None:
    db = subject.db
    result = await db.prepare("SELECT 1 AS id, 'ann' AS name").all()
    assert result.results[0].name == "ann"
    assert result["results"][0]["id"] == 1
    assert result.success is True
    assert result.to_py()["results"] == [{"id": 1, "name": "ann"}]


@case("rows", "raw")
async def of_columns_with_one_name_the_last_stays_and_raw_keeps_all(subject: Subject) -> None:
    db = subject.db
    statement = db.prepare("SELECT 1 AS a, 2 AS b, 3 AS a")
    assert (await statement.all()).results == [{"a": 3, "b": 2}]
    assert await statement.raw(columnNames=True) == [["a", "b", "a"], [1, 2, 3]]
    assert await statement.raw({"columnNames": True}) == [["a", "b", "a"], [1, 2, 3]]
    assert await statement.raw() == [[1, 2, 3]]


@case("raw")
async def names_of_columns_come_even_without_rows(subject: Subject) -> None:
    db = subject.db
    assert await db.prepare("SELECT 1 AS one WHERE 0").raw(columnNames=True) == [["one"]]


@case("first")
async def first_gives_a_row_a_column_or_none(subject: Subject) -> None:
    db = subject.db
    statement = db.prepare("SELECT 7 AS a UNION ALL SELECT 8")
    assert await statement.first() == {"a": 7}
    assert await statement.first("a") == 7
    assert await db.prepare("SELECT 1 AS a WHERE 0").first() is None
    assert await db.prepare("SELECT 1 AS a WHERE 0").first("b") is None
    assert await db.prepare("SELECT NULL AS a").first("a") is None
    with raises("Error: D1_COLUMN_NOTFOUND: Column not found (b)"):
        await statement.first("b")


@case("first")
async def first_runs_the_statement_to_its_end(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    assert await db.prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a").first("a") == 1
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 3


@case("meta")
async def meta_tells_what_changed(subject: Subject) -> None:
    db = subject.db
    created = (await db.prepare("CREATE TABLE t (id INTEGER PRIMARY KEY, a)").run()).meta
    assert (created.changes, created.changed_db, created.size_after) == (0, True, 8192)
    inserted = (await db.prepare("INSERT INTO t (a) VALUES (1), (2), (3)").run()).meta
    assert (inserted.changes, inserted.last_row_id, inserted.changed_db, inserted.rows_written) == (3, 3, True, 3)
    read = (await db.prepare("SELECT a FROM t WHERE a > 2").all()).meta
    assert (read.changes, read.last_row_id, read.changed_db, read.rows_read, read.rows_written) == (0, 3, False, 3, 0)
    assert isinstance(read.duration, float)
    assert read.duration > 0
    assert read.timings.sql_duration_ms == read.duration
    assert read.served_by == "tenantry"


@case("meta")
async def changes_of_triggers_count(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a); CREATE TABLE log (a)")
    await db.prepare("CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END").run()
    assert (await db.prepare("INSERT INTO t VALUES (1)").run()).meta.changes == 2


VALUES: list[Any] = [
    (None, "null", None),
    (True, "real", 1),
    (False, "real", 0),
    (1, "real", 1),
    (-(2**53 - 1), "real", -(2**53 - 1)),
    (1.5, "real", 1.5),
    (-0.0, "real", 0),
    (1e300, "real", 1e300),
    (math.nan, "null", None),
    (-math.inf, "null", None),
    ("", "text", ""),
    ("snow ☃ 🎉", "text", "snow ☃ 🎉"),
    ("lone \ud83c surrogate", "text", "lone � surrogate"),
    ("nul \0 inside", "text", "nul \0 inside"),
    (b"\x00\xff", "blob", [0, 255]),
    (b"", "blob", []),
    (memoryview(b"ab"), "blob", [97, 98]),
    ([1, 2, 255], "blob", [1, 2, 255]),
    ([], "blob", []),
]


@case("values in", "values out")
async def a_value_is_bound_and_returned(subject: Subject) -> None:
    db = subject.db
    for value, kind, returned in VALUES:
        row = await db.prepare("SELECT typeof(?1) AS kind, ?1 AS value").bind(value).first()
        assert row == {"kind": kind, "value": returned}, value
        assert type(row["value"]) is type(returned), value


REFUSED_TYPES: list[Any] = [
    (2**53, "Type 'bigint' not supported for value '9007199254740992'"),
    ({"a": 1}, "Type 'object' not supported for value '[object Object]'"),
    ([1, 256], "Type 'object' not supported for value '1,256'"),
    ([True, None], "Type 'object' not supported for value 'true,'"),
    (
        datetime(2024, 5, 1, 12, tzinfo=UTC),
        "Type 'object' not supported for value 'Wed May 01 2024 12:00:00 GMT+0000 (Coordinated Universal Time)'",
    ),
]


@case("types refused")
async def other_types_are_refused_when_bound(subject: Subject) -> None:
    db = subject.db
    for value, text in REFUSED_TYPES:
        with raises(f"Error: D1_TYPE_ERROR: {text}"):
            db.prepare("SELECT ?").bind(value)


UNSENDABLE: list[Any] = [(1, 2), bytearray(b"x")]


@case("types refused")
async def types_that_cannot_leave_python_are_refused_before(subject: Subject) -> None:
    db = subject.db
    for value in UNSENDABLE:
        with raises(f"{type(value)} cannot be sent over RPC", TypeError):
            db.prepare("SELECT ?").bind(value)


DOUBLES: list[Any] = [
    ("SELECT ? / 2 AS x", 5, 2.5),
    ("SELECT json_object('a', ?) AS x", 1, '{"a":1.0}'),
    ("SELECT printf('%d', ?) AS x", 3, "3"),
    ("SELECT substr('abcdef', ?) AS x", 3, "cdef"),
    ("SELECT column1 AS x FROM (VALUES (1), (2)) LIMIT ?", 1, 1),
    ("SELECT CAST(? AS INTEGER) AS x", 9.99, 9),
]


@case("values in")
async def numbers_are_bound_as_doubles(subject: Subject) -> None:
    db = subject.db
    for sql, value, returned in DOUBLES:
        assert await db.prepare(sql).bind(value).first("x") == returned, sql


@case("values in")
async def the_affinity_of_a_column_decides_what_is_stored(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (i INTEGER, n NUMERIC, r REAL, t TEXT, b BLOB)")
    await db.prepare("INSERT INTO t VALUES (?1, ?1, ?1, ?1, ?1)").bind(1).run()
    kinds = await db.prepare("SELECT typeof(i), typeof(n), typeof(r), typeof(t), typeof(b), t FROM t").raw()
    assert kinds == [["integer", "integer", "real", "text", "real", "1.0"]]


SQLITE_VALUES: list[Any] = [
    ("2.0", 2),
    ("9007199254740991", 9007199254740991),
    ("9007199254740993", 9007199254740992.0),
    ("-9223372036854775808", -9223372036854775808.0),
    ("1e20", 1e20),
    ("9e999", None),
    ("x'00ff'", [0, 255]),
    ("''", ""),
]


@case("values out")
async def values_of_sqlite_in_python(subject: Subject) -> None:
    db = subject.db
    for sql, returned in SQLITE_VALUES:
        value = await db.prepare(f"SELECT {sql} AS x").first("x")
        assert value == returned, sql
        assert type(value) is type(returned), sql


@case("prepare", "bind")
async def statements_are_immutable(subject: Subject) -> None:
    db = subject.db
    statement = db.prepare("SELECT ? AS x")
    one = statement.bind(1)
    two = one.bind(b"\x02")
    assert (statement.params, one.params, two.params) == ([], [1], [[2]])
    assert one.statement == "SELECT ? AS x"
    assert [await one.first("x"), await two.first("x"), await one.first("x")] == [1, [2], 1]


@case("parameters")
async def named_parameters_take_positions_by_first_appearance(subject: Subject) -> None:
    db = subject.db
    row = await db.prepare("SELECT :b AS b, @a AS a, :b AS again").bind("first", "second").first()
    assert row == {"b": "first", "a": "second", "again": "first"}


@case("values in", "values out")
async def a_large_request_and_a_large_result_go_as_streams(subject: Subject) -> None:
    db = subject.db
    blob = bytes(range(256)) * 1000
    text = "ü" * 300_000
    row = await db.prepare("SELECT ? AS b, ? AS t").bind(blob, text).first()
    assert bytes(row.b) == blob
    assert row.t == text


@case("batch")
async def a_batch_returns_a_result_for_each_statement(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    insert = db.prepare("INSERT INTO t (a) VALUES (?)")
    results = await db.batch([insert.bind("x"), insert.bind("y"), db.prepare("SELECT a FROM t")])
    assert [result.meta.last_row_id for result in results] == [1, 2, 2]
    assert results[2].results == [{"a": "x"}, {"a": "y"}]
    assert isinstance(results[0], JsDict)


@case("exec")
async def exec_counts_its_lines(subject: Subject) -> None:
    db = subject.db
    result = await db.exec("CREATE TABLE t (a);\n-- a comment\n\nINSERT INTO t VALUES (1); INSERT INTO t VALUES (2);\n")
    assert result.count == 2
    assert result["duration"] > 0
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 2


@case("sessions")
async def a_session_keeps_a_bookmark_that_grows(subject: Subject) -> None:
    db = subject.db
    session = db.with_session("first-primary")
    assert session.getBookmark() is None
    await session.prepare("CREATE TABLE t (a)").run()
    one = session.get_bookmark()
    await session.batch([session.prepare("INSERT INTO t VALUES (1)")])
    two = session.getBookmark()
    assert one < two
    later = db.withSession(two)
    assert later.getBookmark() == two
    await later.prepare("SELECT * FROM t").first()
    assert later.getBookmark() == two, "the state is the same"
    await later.prepare("INSERT INTO t VALUES (2)").run()
    assert later.getBookmark() > two
    assert db.withSession("  ").getBookmark() is None
    with raises("Error: D1_SESSION_ERROR: invalid bookmark or constraint"):
        db.withSession(5)


@case("dead methods")
async def dead_methods_say_so(subject: Subject) -> None:
    db = subject.db
    with raises("Error: D1_DUMP_ERROR: "):
        await db.dump()
    with raises("Error: D1_ERROR: D1Database.query() requires the d1_binding_jsrpc"):
        await db.query({"sql": "SELECT 1"})


@case("isolation")
async def databases_do_not_see_each_other(subject: Subject) -> None:
    await subject.db.exec("CREATE TABLE t (a)")
    with raises("Error: D1_ERROR: no such table: t"):
        await subject.other.prepare("SELECT * FROM t").all()


WRITES = [
    # rows and their entries in indexes; of an UPDATE, in those of the columns it sets
    ("INSERT INTO t VALUES (1, 'a', 'x', 0)", 4),
    ("INSERT INTO t VALUES (2, 'b', 'x', 0), (3, 'c', 'y', 0)", 8),
    ("UPDATE t SET d = 5", 3),
    ("UPDATE t SET c = 'z' WHERE a < 3", 6),
    ("UPDATE t SET b = b || 'b', c = 'y'", 12),
    ("INSERT INTO t VALUES (1, 'q', 'x', 0) ON CONFLICT (a) DO NOTHING", 0),
    ("INSERT INTO k VALUES ('p', 1)", 1),
    ("DELETE FROM t WHERE a = 1", 4),
    ("DELETE FROM t WHERE a = 1", 0),
    ("SELECT * FROM t", 0),
]


@case("meta")
async def rows_written_counts_entries_of_indexes(subject: Subject) -> None:
    db = subject.db
    await db.exec(
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b UNIQUE, c, d); CREATE INDEX tc ON t (c)\n"
        "CREATE INDEX tcb ON t (c, b)\nCREATE TABLE k (a PRIMARY KEY, b) WITHOUT ROWID"
    )
    for sql, written in WRITES:
        assert (await db.prepare(sql).run()).meta.rows_written == written, sql
    update = db.prepare("UPDATE t SET b = ? WHERE a = ?")
    assert (await update.bind("k", 99).run()).meta.rows_written == 0
    assert (await update.bind("k", 2).run()).meta.rows_written == 3, "from the cache of statements"
    insert = db.prepare("INSERT INTO t (b) VALUES (?)")
    assert (await insert.bind("m").run()).meta.rows_written == 4
    assert (await insert.bind("n").run()).meta.rows_written == 4, "from the cache of statements"
    await db.exec("DROP INDEX tcb")
    assert (await insert.bind("o").run()).meta.rows_written == 3, "compiled anew"


@case("meta")
async def size_after_is_the_size(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    grown = (await db.prepare("INSERT INTO t VALUES (zeroblob(100000))").run()).meta
    assert grown.size_after >= 100_000
    assert grown.size_after % 4096 == 0
    same = (await db.prepare("SELECT 1").all()).meta
    assert (same.size_after, same.changed_db) == (grown.size_after, False)
    # Pages that became free stay part of the file, as on D1; `changed_db` looks at changes, row id and size.
    dropped = (await db.prepare("DROP TABLE t").run()).meta
    assert (dropped.size_after, dropped.changed_db) == (grown.size_after, False)


@case("sessions")
async def constraints_of_a_session(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    for constraint in ("first-primary", "first-unconstrained", "", "  ", None):
        session = db.withSession(constraint)
        assert session.getBookmark() is None, constraint
        await session.prepare("INSERT INTO t VALUES (1)").run()
        assert session.getBookmark() is not None, constraint
    assert await db.withSession(session.getBookmark()).prepare("SELECT count(*) AS n FROM t").first("n") == 5
