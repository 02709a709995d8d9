"""What is refused, and in which words. The texts are the contract."""

from __future__ import annotations

from typing import Any

from d1_facade import Subject, case, d1_error, raises, refused

TRANSACTION = (
    "To execute a transaction, please use the state.storage.transaction() or state.storage.transactionSync() APIs "
    "instead of the SQL BEGIN TRANSACTION or SAVEPOINT statements. The JavaScript API is safer because it will "
    "automatically roll back on exceptions, and because it interacts correctly with Durable Objects' automatic atomic "
    "write coalescing."
)
DENIED = "not authorized: SQLITE_AUTH"
SCHEMA = """
CREATE TABLE t (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 0, c CHECK (c < 10));
CREATE TABLE child (p REFERENCES t (id));
CREATE TABLE later (p REFERENCES t (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE strict (i INTEGER) STRICT;
INSERT INTO t VALUES (1, 'a', 0, 0);
""".strip()

# What is not SQL.
NOT_SQL: list[tuple[str, str]] = [
    ("SELEC", 'near "SELEC": syntax error at offset 0: SQLITE_ERROR'),
    ("SELECT 1 FROM", "incomplete input: SQLITE_ERROR"),
    ("SELECT * FROM nope", "no such table: nope: SQLITE_ERROR"),
    ("SELECT nope FROM t", "no such column: nope at offset 7: SQLITE_ERROR"),
    ("SELECT 'é', nope FROM t", "no such column: nope at offset 13: SQLITE_ERROR"),
    ("", "No SQL statements detected."),
    (" \n-- only\n  -- comments\n", "No SQL statements detected."),
    ("/* */", "SQL code did not contain a statement."),
    (";", "SQL code did not contain a statement."),
    ("SELECT 1; -- after", "SQL code did not contain a statement."),
    ("SELECT 1;;", "SQL code did not contain a statement."),
    ("SELECT 1\0", "SQL code did not contain a statement."),
    ("SELECT 'a\0b'", 'unrecognized token: "\'a" at offset 7: SQLITE_ERROR'),
]

# Constraints.
CONSTRAINTS: list[tuple[str, str]] = [
    (
        "INSERT INTO t (id) VALUES (1)",
        "UNIQUE constraint failed: t.id: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_PRIMARYKEY)",
    ),
    (
        "INSERT INTO t (u) VALUES ('a')",
        "UNIQUE constraint failed: t.u: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_UNIQUE)",
    ),
    (
        "INSERT INTO t (n) VALUES (NULL)",
        "NOT NULL constraint failed: t.n: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_NOTNULL)",
    ),
    (
        "INSERT INTO t (c) VALUES (11)",
        "CHECK constraint failed: c < 10: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_CHECK)",
    ),
    (
        "INSERT INTO child VALUES (9)",
        "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)",
    ),
    (
        "INSERT INTO later VALUES (9)",
        "FOREIGN KEY constraint failed: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_FOREIGNKEY)",
    ),
    (
        "INSERT INTO strict VALUES ('x')",
        "cannot store TEXT value in INTEGER column strict.i: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_DATATYPE)",
    ),
]

# Parameters and several statements.
PARAMETERS: list[tuple[str, str]] = [
    ("SELECT ?", "Wrong number of parameter bindings for SQL query."),
    ("SELECT 1; SELECT ?", "Wrong number of parameter bindings for SQL query."),
    (
        "SELECT ?; SELECT 1",
        "When executing multiple SQL statements in a single call, only the last statement can have parameters.",
    ),
]

# Transactions are the platform's.
TRANSACTIONS: list[tuple[str, str]] = [
    *[
        (sql, TRANSACTION)
        for sql in (
            "BEGIN",
            "begin exclusive",
            "COMMIT",
            "END",
            "ROLLBACK",
            "SAVEPOINT s",
            "RELEASE s",
            "ROLLBACK TO s",
        )
    ],
    ("SELECT 1; BEGIN", TRANSACTION),
]

# Other databases and the file system.
OUTSIDE: list[tuple[str, str]] = [
    *[
        (sql, DENIED)
        for sql in (
            "ATTACH ':memory:' AS x",
            "ATTACH '/etc/passwd' AS x",
            "DETACH main",
            "VACUUM",
            "/* hidden */ VACUUM INTO '/dev/null'",
            "CREATE TEMP TABLE x (a)",
            "CREATE TEMPORARY VIEW x AS SELECT 1",
            "CREATE TEMP TRIGGER x AFTER INSERT ON t BEGIN SELECT 1; END",
            "CREATE TABLE temp.x (a)",
        )
    ],
]

# Pragmas.
PRAGMAS: list[tuple[str, str]] = [
    *[
        (f"PRAGMA {pragma}", DENIED)
        for pragma in (
            "journal_mode",
            "journal_mode = off",
            "synchronous = off",
            "page_size = 512",
            "max_page_count = 1",
            "writable_schema = on",
            "trusted_schema = on",
            "temp_store_directory = '/'",
            "database_list",
            "compile_options",
            "module_list",
            "function_list",
            "user_version = 1",
            "integrity_check",
            "wal_checkpoint",
            "hard_heap_limit = 1",
            "foreign_keys = 2",
            "table_info",
            "table_info(_cf_KV)",
            "index_list('_CF_x')",
            "optimize(x)",
        )
    ],
    ("SELECT * FROM pragma_database_list", DENIED),
    ("SELECT * FROM pragma_compile_options", DENIED),
]

# Functions and modules.
FUNCTIONS: list[tuple[str, str]] = [
    ("SELECT sqlite_version()", "not authorized to use function: sqlite_version at offset 7: SQLITE_ERROR"),
    ("SELECT fts3_tokenizer('x')", "not authorized to use function: fts3_tokenizer at offset 7: SQLITE_ERROR"),
    ("SELECT readfile('/etc/passwd')", "no such function: readfile at offset 7: SQLITE_ERROR"),
    ("SELECT edit('x')", "no such function: edit at offset 7: SQLITE_ERROR"),
    ("SELECT load_extension('x')", "not authorized: SQLITE_ERROR"),
    ("CREATE VIEW v AS SELECT sqlite_source_id(); SELECT * FROM v", "not authorized to use function: sqlite_source_id"),
    ("CREATE VIRTUAL TABLE x USING fts4(a)", DENIED),
    ("CREATE VIRTUAL TABLE x USING dbstat(main)", DENIED),
    ("SELECT * FROM dbstat", "access to dbstat.name is prohibited: SQLITE_AUTH"),
    ("SELECT * FROM carray(1, 1)", "access to carray.value is prohibited: SQLITE_AUTH"),
    ("SELECT * FROM sqlite_dbpage", "no such table: sqlite_dbpage: SQLITE_ERROR"),
]

# Names of the platform's.
NAMES: list[tuple[str, str]] = [
    ("CREATE TABLE _cf_x (a)", DENIED),
    ('CREATE TABLE "_CF_x" (a)', DENIED),
    ("CREATE VIEW _cf_v AS SELECT 1", DENIED),
    ("CREATE INDEX _cf_i ON t (c)", DENIED),
    ("CREATE TRIGGER _cf_t AFTER INSERT ON t BEGIN SELECT 1; END", DENIED),
    ("CREATE VIRTUAL TABLE _cf_f USING fts5(a)", DENIED),
    ("ALTER TABLE t RENAME TO _cf_t", DENIED),
    ("ALTER TABLE t RENAME TO [_Cf_t]; ALTER TABLE _cf_t RENAME TO t", DENIED),
]

# The schema is not to be written by hand.
SCHEMA_WRITES: list[tuple[str, str]] = [
    ("UPDATE sqlite_master SET sql = ''", "table sqlite_master may not be modified: SQLITE_ERROR"),
    ("CREATE TABLE sqlite_x (a)", "object name reserved for internal use: sqlite_x: SQLITE_ERROR"),
]

# Limits.
GIANTS: list[tuple[str, str]] = [
    ("SELECT '" + "a" * 100_001 + "'", "statement too long: SQLITE_TOOBIG"),
    ("SELECT zeroblob(2000001)", "string or blob too big: SQLITE_TOOBIG"),
    ("SELECT printf('%.*c', 1000000000, 'x')", "string or blob too big: SQLITE_TOOBIG"),
    ("CREATE TABLE w (" + ",".join(f"c{n}" for n in range(101)) + ")", "too many columns on w: SQLITE_ERROR"),
    ("SELECT " + " UNION SELECT ".join("123456"), "too many terms in compound SELECT"),
    ("SELECT " + "+".join(["1"] * 101), "Expression tree is too large (maximum depth 100)"),
    ("SELECT 'x' LIKE '" + "a" * 51 + "'", "LIKE or GLOB pattern too complex: SQLITE_ERROR"),
    ("SELECT " + ",".join(["?"] * 101), "too many SQL variables"),
    ("SELECT ?101", "variable number must be between ?1 and ?100"),
    ("SELECT max(" + ",".join(["1"] * 128) + ")", "too many arguments on function max"),
    ("SELECT CAST(x'ff' AS TEXT)", "A text of this query's result is not valid UTF-8. Read it with CAST(… AS BLOB)."),
]

ALLOWED = [
    "PRAGMA foreign_keys",
    "PRAGMA foreign_keys = off",
    "PRAGMA defer_foreign_keys = 'ON'",
    "PRAGMA case_sensitive_like = no",
    "PRAGMA recursive_triggers = 1",
    "PRAGMA table_list",
    "PRAGMA table_info(t)",
    "PRAGMA table_xinfo('t')",
    "PRAGMA index_list(t)",
    "PRAGMA index_info(sqlite_autoindex_t_1)",
    "PRAGMA foreign_key_list(child)",
    "PRAGMA foreign_key_check",
    "PRAGMA foreign_key_check(child)",
    "PRAGMA quick_check",
    "PRAGMA quick_check(5)",
    "PRAGMA optimize",
    "PRAGMA optimize(0x10002)",
    "PRAGMA page_size",
    "PRAGMA data_version",
    "SELECT * FROM pragma_table_info('t')",
    "EXPLAIN QUERY PLAN SELECT * FROM t",
    "ANALYZE",
    "REINDEX",
    "ALTER TABLE t RENAME TO t2",
    "ALTER TABLE t ADD COLUMN more",
    "ALTER TABLE child RENAME COLUMN p TO q",
    "CREATE TABLE x (a, b AS (a + 1) STORED); ALTER TABLE x ADD COLUMN c; ALTER TABLE x DROP COLUMN c",
    "CREATE TABLE x (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO x DEFAULT VALUES; DELETE FROM sqlite_sequence",
    "CREATE VIRTUAL TABLE x USING fts5(a); INSERT INTO x VALUES ('b'); SELECT highlight(x, 0, '<', '>') FROM x('b')",
    "CREATE VIRTUAL TABLE x USING fts5(a); CREATE VIRTUAL TABLE v USING fts5vocab(x, 'row'); SELECT * FROM v",
    "CREATE VIRTUAL TABLE x USING rtree(id, a, b); INSERT INTO x VALUES (1, 0, 1); SELECT rtreecheck('x')",
    "SELECT * FROM json_each('[1,2]'), json_tree('{}')",
    "SELECT '{\"a\":1}' ->> '$.a', json_extract(jsonb('{}'), '$')",
    "SELECT pow(2, 3), ceil(1.5), log2(8), pi()",
    "SELECT row_number() OVER (ORDER BY id), lag(id) OVER () FROM t",
    "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r",
    "INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = 5 RETURNING n",
    "SELECT date('now'), strftime('%s', 'now'), unixepoch(), current_timestamp",
    "SELECT group_concat(u, ','), string_agg(u, ';') FROM t",
    "SELECT 1; \n",
    "SELECT 1 -- a comment;;",
]


async def seeded(subject: Subject) -> Any:
    await subject.db.exec(SCHEMA)
    return subject.db


@case("error texts", "no statement")
async def what_is_not_sql(subject: Subject) -> None:
    await refused(await seeded(subject), NOT_SQL)


@case("error texts", "foreign keys")
async def constraints(subject: Subject) -> None:
    await refused(await seeded(subject), CONSTRAINTS)


@case("parameters", "several statements")
async def wrong_parameters(subject: Subject) -> None:
    await refused(await seeded(subject), PARAMETERS)


@case("transactions")
async def transactions_are_the_platforms(subject: Subject) -> None:
    await refused(await seeded(subject), TRANSACTIONS)


@case("authorization")
async def other_databases_and_the_file_system(subject: Subject) -> None:
    await refused(await seeded(subject), OUTSIDE)


@case("authorization")
async def pragmas_that_are_refused(subject: Subject) -> None:
    await refused(await seeded(subject), PRAGMAS)


@case("authorization")
async def functions_and_modules_that_are_refused(subject: Subject) -> None:
    await refused(await seeded(subject), FUNCTIONS)


@case("authorization")
async def names_of_the_platforms(subject: Subject) -> None:
    await refused(await seeded(subject), NAMES)


@case("authorization")
async def the_schema_is_not_written_by_hand(subject: Subject) -> None:
    await refused(await seeded(subject), SCHEMA_WRITES)


@case("limits", "error texts")
async def above_the_limits(subject: Subject) -> None:
    await refused(await seeded(subject), GIANTS)


@case("authorization")
async def what_is_allowed(subject: Subject) -> None:
    for sql in ALLOWED:
        # Each in a database as it was: what a statement did is undone by the one that fails.
        with d1_error("no such table: stop"):
            await subject.db.batch(
                [
                    *[subject.db.prepare(line) for line in SCHEMA.split("\n")],
                    subject.db.prepare(sql),
                    subject.db.prepare("SELECT * FROM stop"),
                ]
            )


@case("parameters")
async def more_values_than_parameters(subject: Subject) -> None:
    db = subject.db
    with d1_error("Wrong number of parameter bindings for SQL query."):
        await db.prepare("SELECT ?").bind(1, 2).all()


@case("several statements")
async def parameters_before_the_last_statement_are_refused_however_many_are_bound(subject: Subject) -> None:
    db = subject.db
    for values in ([], [1], [1, 2], [1, 2, 3]):
        with d1_error(
            "When executing multiple SQL statements in a single call, only the last statement can have parameters."
        ):
            await db.prepare("SELECT ?, ?; SELECT ?").bind(*values).all()


@case("several statements")
async def of_several_statements_the_last_one_has_the_parameters_and_the_result(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    result = await db.prepare("INSERT INTO t VALUES (1); SELECT 5 AS x; SELECT a, ? AS b FROM t").bind("v").all()
    assert result.results == [{"a": 1, "b": "v"}]
    assert result.meta.changes == 1


@case("batch", "several statements")
async def when_one_of_several_statements_fails_none_has_happened(subject: Subject) -> None:
    db = subject.db
    await db.exec("CREATE TABLE t (a)")
    with d1_error("no such table: nope"):
        await db.prepare("INSERT INTO t VALUES (1); INSERT INTO nope VALUES (1)").run()
    with d1_error("no such table: nope"):
        await db.batch([db.prepare("INSERT INTO t VALUES (1)"), db.prepare("INSERT INTO nope VALUES (1)")])
    with raises("Error: D1_EXEC_ERROR: Error in line 1: INSERT INTO t VALUES (1): no such table: nope"):
        await db.exec("INSERT INTO t VALUES (1)\nINSERT INTO nope VALUES (1)")
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 0


@case("batch")
async def an_empty_batch_and_a_batch_of_something_else(subject: Subject) -> None:
    db = subject.db
    with d1_error("No SQL statements detected."):
        await db.batch([])
    with raises("", TypeError):
        await db.batch(["SELECT 1"])


EXEC_ERRORS = [
    (
        "SELECT 1;\nSELEC",
        'D1_EXEC_ERROR: Error in line 1: SELECT 1;: near "SELEC": syntax error at offset 0: SQLITE_ERROR',
    ),
    (
        "CREATE TABLE x (\na)",
        "D1_EXEC_ERROR: Error in line 1: CREATE TABLE x (: incomplete input: SQLITE_ERROR",
    ),
    ("\n -- nothing\n", "D1_EXEC_ERROR: Error in line 1: -- nothing: No SQL statements detected."),
    (
        "SELECT ?",
        "D1_EXEC_ERROR: Error in line 1: SELECT ?: Wrong number of parameter bindings for SQL query.",
    ),
]


@case("exec")
async def exec_says_the_first_line(subject: Subject) -> None:
    for sql, text in EXEC_ERRORS:
        with raises(f"Error: {text}"):
            await subject.db.exec(sql)


@case("foreign keys")
async def foreign_keys_may_be_deferred_to_the_end_of_a_batch_and_no_further(subject: Subject) -> None:
    db = await seeded(subject)
    child = db.prepare("INSERT INTO child VALUES (77)")
    defer = db.prepare("PRAGMA defer_foreign_keys = on")
    await db.batch([defer, child, db.prepare("INSERT INTO t (id) VALUES (77)")])
    with d1_error("FOREIGN KEY constraint failed"):
        await db.batch([defer, db.prepare("INSERT INTO child VALUES (78)")])
    with d1_error("FOREIGN KEY constraint failed"):
        await db.batch([db.prepare("INSERT INTO child VALUES (79)"), db.prepare("INSERT INTO t (id) VALUES (79)")])
