"""Limits, each at n - 1, n and n + 1; and statements made to hurt."""

from __future__ import annotations

from typing import Any

from d1_facade import Subject, case, d1_error

ROW_OVERHEAD_BYTES = 5
"""Of a record with one large BLOB: its header. SQLite counts it to the row."""


def names(count: int) -> str:
    return ",".join(f"c{n}" for n in range(count))


def padded(characters: int) -> str:
    return f"SELECT 1 /*{'x' * (characters - 13)}*/"


LIMITS: list[tuple[str, int, Any, str]] = [
    # what, the last good value, the SQL for a value, the text above
    ("bytes of SQL", 100_000, padded, "statement too long: SQLITE_TOOBIG"),
    (
        "bytes of SQL, in UTF-8",
        33_325,
        lambda n: f"SELECT '{'€' * n}', 1234567890123",
        "statement too long: SQLITE_TOOBIG",
    ),
    ("bytes of a BLOB", 2_000_000, lambda n: f"SELECT length(zeroblob({n}))", "string or blob too big: SQLITE_TOOBIG"),
    (
        "bytes of a text",
        2_000_000,
        lambda n: f"SELECT octet_length(CAST(zeroblob({n - 1}) AS TEXT) || 'x')",
        "string or blob too big: SQLITE_TOOBIG",
    ),
    ("columns", 100, lambda n: f"CREATE TABLE w{n} ({names(n)})", "too many columns on w101: SQLITE_ERROR"),
    ("columns of a result", 100, lambda n: f"SELECT {','.join(['1'] * n)}", "too many columns in result set"),
    ("depth of an expression", 100, lambda n: f"SELECT {'+'.join(['1'] * n)}", "Expression tree is too large"),
    ("terms of a compound", 5, lambda n: " UNION ALL ".join(["SELECT 1"] * n), "too many terms in compound SELECT"),
    ("bytes of a pattern", 50, lambda n: f"SELECT 'x' LIKE '{'a' * n}'", "LIKE or GLOB pattern too complex"),
    ("bytes of a GLOB", 50, lambda n: f"SELECT 'x' GLOB '{'a' * n}'", "LIKE or GLOB pattern too complex"),
    (
        "arguments of a function",
        127,
        lambda n: f"SELECT max({','.join(['1'] * n)})",
        "too many arguments on function max",
    ),
]


@case("limits")
async def one_above_each_limit_is_refused(subject: Subject) -> None:
    for what, last, sql, text in LIMITS:
        for good in (last - 1, last):
            try:
                await subject.db.prepare(sql(good)).all()
            except Exception as error:
                raise AssertionError(f"{what}: {good} was refused: {error}") from error
        with d1_error(text):
            await subject.db.prepare(sql(last + 1)).all()


@case("limits", "parameters")
async def a_hundred_parameters(subject: Subject) -> None:
    for count in (99, 100):
        row = await subject.db.prepare(f"SELECT {','.join(['?'] * count)}").bind(*range(count)).raw()
        assert row == [list(range(count))]
    with d1_error("too many SQL variables"):
        await subject.db.prepare(f"SELECT {','.join(['?'] * 101)}").bind(*range(101)).raw()
    assert await subject.db.prepare("SELECT ?100 AS x").bind(*range(100)).first("x") == 99
    with d1_error("variable number must be between ?1 and ?100"):
        await subject.db.prepare("SELECT ?101 AS x").bind(*range(101)).first("x")


@case("limits")
async def two_million_bytes_of_a_row(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    largest = 2_000_000 - ROW_OVERHEAD_BYTES
    for size in (largest - 1, largest):
        await db.prepare(f"INSERT INTO t VALUES (zeroblob({size}))").run()
    with d1_error("string or blob too big: SQLITE_TOOBIG"):
        await db.prepare(f"INSERT INTO t VALUES (zeroblob({largest + 1}))").run()
    assert await db.prepare("SELECT max(length(a)) AS n FROM t").first("n") == largest


@case("limits")
async def two_million_bytes_that_are_bound(subject: Subject) -> None:
    for value in ("x" * 2_000_000, bytes(1_999_999)):
        assert await subject.db.prepare("SELECT length(?) AS n").bind(value).first("n") == len(value)
    for value in ("x" * 2_000_001, bytes(2_000_001)):
        with d1_error("string or blob too big: SQLITE_TOOBIG"):
            await subject.db.prepare("SELECT length(?) AS n").bind(value).first("n")


@case("limits")
async def triggers_call_each_other_ten_deep(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (n)\nPRAGMA recursive_triggers = on")
    await db.prepare(
        "CREATE TRIGGER tr AFTER INSERT ON t WHEN new.n > 1 BEGIN INSERT INTO t VALUES (new.n - 1); END"
    ).run()
    for depth in (9, 10):
        await db.prepare("INSERT INTO t VALUES (?)").bind(depth).run()
    with d1_error("triggers nested too deep: SQLITE_ERROR"):
        await db.prepare("INSERT INTO t VALUES (?)").bind(11).run()


GIANTS = [
    "SELECT zeroblob(1000000000)",
    "SELECT hex(randomblob(1900000))",
    "SELECT group_concat(hex(zeroblob(100000))) FROM (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11))",
]


@case("deadline", "limits")
async def giants_end_and_the_database_is_usable_at_once(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    for sql in GIANTS:
        with d1_error("string or blob too big: SQLITE_TOOBIG"):
            await db.prepare(sql).all()
        await db.prepare("INSERT INTO t VALUES (1)").run()
