"""What statements return: rows, meta, and how values look on their way in and out."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from workers.rpc import JsDict


async def test_rows_are_objects_with_attributes_and_keys(db: Any) -> None:
    result = await db.prepare("SELECT 1 AS id, 'ann' AS name").all()
    assert result.results[0].name == "ann"
    assert result["results"][0]["id"] == 1
    assert result.success is True
    assert result.to_py()["results"] == [{"id": 1, "name": "ann"}]


async def test_of_columns_with_one_name_the_last_stays_and_raw_keeps_all(db: Any) -> None:
    statement = db.prepare("SELECT 1 AS a, 2 AS b, 3 AS a")
    assert (await statement.all()).results == [{"a": 3, "b": 2}]
    assert await statement.raw(columnNames=True) == [["a", "b", "a"], [1, 2, 3]]
    assert await statement.raw({"columnNames": True}) == [["a", "b", "a"], [1, 2, 3]]
    assert await statement.raw() == [[1, 2, 3]]


async def test_names_of_columns_come_even_without_rows(db: Any) -> None:
    assert await db.prepare("SELECT 1 AS one WHERE 0").raw(columnNames=True) == [["one"]]


async def test_first_gives_a_row_a_column_or_none(db: Any) -> None:
    statement = db.prepare("SELECT 7 AS a UNION ALL SELECT 8")
    assert await statement.first() == {"a": 7}
    assert await statement.first("a") == 7
    assert await db.prepare("SELECT 1 AS a WHERE 0").first() is None
    assert await db.prepare("SELECT 1 AS a WHERE 0").first("b") is None
    assert await db.prepare("SELECT NULL AS a").first("a") is None
    with pytest.raises(Exception, match=r"^Error: D1_COLUMN_NOTFOUND: Column not found \(b\)$"):
        await statement.first("b")


async def test_first_runs_the_statement_to_its_end(db: Any) -> None:
    await db.exec("CREATE TABLE t (a)")
    assert await db.prepare("INSERT INTO t VALUES (1), (2), (3) RETURNING a").first("a") == 1
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 3


async def test_meta_tells_what_changed(db: Any) -> None:
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


async def test_changes_of_triggers_count(db: Any) -> None:
    await db.exec("CREATE TABLE t (a); CREATE TABLE log (a)")
    await db.prepare("CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.a); END").run()
    assert (await db.prepare("INSERT INTO t VALUES (1)").run()).meta.changes == 2


@pytest.mark.parametrize(
    ("value", "kind", "returned"),
    [
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
    ],
)
async def test_a_value_is_bound_and_returned(db: Any, value: Any, kind: str, returned: Any) -> None:
    row = await db.prepare("SELECT typeof(?1) AS kind, ?1 AS value").bind(value).first()
    assert row == {"kind": kind, "value": returned}
    assert type(row["value"]) is type(returned)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53, "Type 'bigint' not supported for value '9007199254740992'"),
        ({"a": 1}, "Type 'object' not supported for value '[object Object]'"),
        ([1, 256], "Type 'object' not supported for value '1,256'"),
        ([True, None], "Type 'object' not supported for value 'true,'"),
        (
            datetime(2024, 5, 1, 12, tzinfo=UTC),
            "Type 'object' not supported for value 'Wed May 01 2024 12:00:00 GMT+0000 (Coordinated Universal Time)'",
        ),
    ],
)
def test_other_types_are_refused_when_bound(db: Any, value: Any, text: str) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011  # the text is what counts
        db.prepare("SELECT ?").bind(value)
    assert str(raised.value) == f"Error: D1_TYPE_ERROR: {text}"


@pytest.mark.parametrize("value", [(1, 2), bytearray(b"x")])
def test_types_that_cannot_leave_python_are_refused_before(db: Any, value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be sent over RPC"):
        db.prepare("SELECT ?").bind(value)


@pytest.mark.parametrize(
    ("sql", "value", "returned"),
    [
        ("SELECT ? / 2 AS x", 5, 2.5),
        ("SELECT json_object('a', ?) AS x", 1, '{"a":1.0}'),
        ("SELECT printf('%d', ?) AS x", 3, "3"),
        ("SELECT substr('abcdef', ?) AS x", 3, "cdef"),
        ("SELECT column1 AS x FROM (VALUES (1), (2)) LIMIT ?", 1, 1),
        ("SELECT CAST(? AS INTEGER) AS x", 9.99, 9),
    ],
)
async def test_numbers_are_bound_as_doubles(db: Any, sql: str, value: Any, returned: Any) -> None:
    assert await db.prepare(sql).bind(value).first("x") == returned


async def test_the_affinity_of_a_column_decides_what_is_stored(db: Any) -> None:
    await db.exec("CREATE TABLE t (i INTEGER, n NUMERIC, r REAL, t TEXT, b BLOB)")
    await db.prepare("INSERT INTO t VALUES (?1, ?1, ?1, ?1, ?1)").bind(1).run()
    kinds = await db.prepare("SELECT typeof(i), typeof(n), typeof(r), typeof(t), typeof(b), t FROM t").raw()
    assert kinds == [["integer", "integer", "real", "text", "real", "1.0"]]


@pytest.mark.parametrize(
    ("sql", "returned"),
    [
        ("2.0", 2),
        ("9007199254740991", 9007199254740991),
        ("9007199254740993", 9007199254740992.0),
        ("-9223372036854775808", -9223372036854775808.0),
        ("1e20", 1e20),
        ("9e999", None),
        ("x'00ff'", [0, 255]),
        ("''", ""),
    ],
)
async def test_values_of_sqlite_in_python(db: Any, sql: str, returned: Any) -> None:
    value = await db.prepare(f"SELECT {sql} AS x").first("x")
    assert value == returned
    assert type(value) is type(returned)


async def test_statements_are_immutable(db: Any) -> None:
    statement = db.prepare("SELECT ? AS x")
    one = statement.bind(1)
    two = one.bind(b"\x02")
    assert (statement.params, one.params, two.params) == ([], [1], [[2]])
    assert one.statement == "SELECT ? AS x"
    assert [await one.first("x"), await two.first("x"), await one.first("x")] == [1, [2], 1]


async def test_named_parameters_take_positions_by_first_appearance(db: Any) -> None:
    row = await db.prepare("SELECT :b AS b, @a AS a, :b AS again").bind("first", "second").first()
    assert row == {"b": "first", "a": "second", "again": "first"}


async def test_a_large_request_and_a_large_result_go_as_streams(db: Any) -> None:
    blob = bytes(range(256)) * 1000
    text = "ü" * 300_000
    row = await db.prepare("SELECT ? AS b, ? AS t").bind(blob, text).first()
    assert bytes(row.b) == blob
    assert row.t == text


async def test_a_batch_returns_a_result_for_each_statement(db: Any) -> None:
    await db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    insert = db.prepare("INSERT INTO t (a) VALUES (?)")
    results = await db.batch([insert.bind("x"), insert.bind("y"), db.prepare("SELECT a FROM t")])
    assert [result.meta.last_row_id for result in results] == [1, 2, 2]
    assert results[2].results == [{"a": "x"}, {"a": "y"}]
    assert isinstance(results[0], JsDict)


async def test_exec_counts_its_lines(db: Any) -> None:
    result = await db.exec("CREATE TABLE t (a);\n-- a comment\n\nINSERT INTO t VALUES (1); INSERT INTO t VALUES (2);\n")
    assert result.count == 2
    assert result["duration"] > 0
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 2


async def test_a_session_keeps_a_bookmark_that_grows(db: Any) -> None:
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
    with pytest.raises(Exception, match="D1_SESSION_ERROR: invalid bookmark or constraint"):
        db.withSession(5)


async def test_dead_methods_say_so(db: Any) -> None:
    with pytest.raises(Exception, match="D1_DUMP_ERROR"):
        await db.dump()
    with pytest.raises(Exception, match="d1_binding_jsrpc"):
        await db.query({"sql": "SELECT 1"})


async def test_a_result_beyond_its_bound_is_an_error(make_service: Any, open_database: Any) -> None:
    db = open_database(make_service(result_bytes_max=10_000))
    with pytest.raises(Exception, match="D1_ERROR: The result is too large: its rows exceed 10000 bytes"):
        await db.prepare("SELECT hex(zeroblob(3000)) FROM (VALUES (1), (2))").all()
    assert await db.prepare("SELECT hex(zeroblob(3000)) AS x FROM (VALUES (1), (2))").first("x") == "00" * 3000


async def test_databases_are_separate(service: Any, open_database: Any) -> None:
    one, two = open_database(service, "one"), open_database(service, "two")
    await one.exec("CREATE TABLE t (a)")
    with pytest.raises(Exception, match="no such table: t"):
        await two.prepare("SELECT * FROM t").all()


async def test_a_deleted_database_is_empty(service: Any, open_database: Any) -> None:
    db = open_database(service, "gone")
    await db.exec("CREATE TABLE t (a)")
    await service.delete("gone")
    assert await db.prepare("SELECT name FROM sqlite_schema").raw() == []
    await service.delete("never-was")
