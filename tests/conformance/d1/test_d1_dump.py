"""A database as SQL and back: what comes out of an import is what went into the export."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tenantry.services.d1 import D1Service, DumpOptions, Import, QueryFailed, Statement, limits, split_statements
from tenantry.services.d1.encoding import ArraysDocument, Totals
from tenantry.services.d1.engines.memory import MemoryEngine
from tenantry.services.d1.script import Script

EVERYTHING = DumpOptions()


def dump(service: D1Service, resource_id: str, options: DumpOptions = EVERYTHING) -> str:
    target = io.BytesIO()
    service.engine.dump(resource_id, target, options, lambda: False)
    return target.getvalue().decode()


async def load(service: D1Service, resource_id: str, sql: str) -> Totals:
    totals = Totals()
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_text(sql, newline="")
        await service.database(resource_id).run(Script(Path(file.name)), totals, 30.0, sql_bytes_max=8_000_000)
    return totals


async def rows(service: D1Service, resource_id: str, sql: str) -> bytes:
    parts = await service.open(resource_id).query([Statement(sql)], ArraysDocument(10_000_000))
    return b"".join(parts).split(b',"success"')[0]


async def fill(service: D1Service, sql: str) -> None:
    await service.open("one").query([Statement(piece) for piece in split_statements(sql)], ArraysDocument(10_000_000))


async def check_round_trip(service: D1Service, *queries: str, in_order: bool = True) -> str:
    sql = dump(service, "one")
    await load(service, "two", sql)
    again = dump(service, "two")
    assert again == sql if in_order else sorted(again.splitlines()) == sorted(sql.splitlines())
    for query in ("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name", *queries):
        assert await rows(service, "two", query) == await rows(service, "one", query), query
    return sql


async def test_the_form_is_cloudflares(service: D1Service) -> None:
    await fill(
        service,
        'CREATE TABLE "quoted" (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, b BLOB);'
        "INSERT INTO quoted (t, b) VALUES ('it''s', x'00ff'), ('two' || char(10) || 'lines', NULL);"
        "CREATE INDEX i ON quoted (t); CREATE TRIGGER tr AFTER INSERT ON quoted BEGIN SELECT 1; END;"
        "CREATE VIEW v AS SELECT t FROM quoted;",
    )
    sql = await check_round_trip(service, "SELECT * FROM quoted", "SELECT * FROM sqlite_sequence", "SELECT * FROM v")
    assert sql.splitlines() == [
        "PRAGMA defer_foreign_keys=TRUE;",
        'CREATE TABLE IF NOT EXISTS "quoted" (id INTEGER PRIMARY KEY AUTOINCREMENT, t TEXT, b BLOB);',
        """INSERT INTO "quoted" ("id","t","b") VALUES(1,'it''s',X'00ff');""",
        """INSERT INTO "quoted" ("id","t","b") VALUES(2,replace('two\\nlines','\\n',char(10)),NULL);""",
        "DELETE FROM sqlite_sequence;",
        """INSERT INTO "sqlite_sequence" ("name","seq") VALUES('quoted',2);""",
        "CREATE INDEX i ON quoted (t);",
        "CREATE VIEW v AS SELECT t FROM quoted;",
        "CREATE TRIGGER tr AFTER INSERT ON quoted BEGIN SELECT 1; END;",
    ]


async def test_an_empty_database(service: D1Service) -> None:
    assert dump(service, "one") == "PRAGMA defer_foreign_keys=TRUE;\n"
    await check_round_trip(service)


async def test_foreign_keys_in_any_order_and_in_circles(service: D1Service) -> None:
    await fill(
        service,
        "CREATE TABLE c (p REFERENCES b (id)); CREATE TABLE b (id INTEGER PRIMARY KEY, p REFERENCES a (id));"
        "CREATE TABLE a (id INTEGER PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, 1);"
        "INSERT INTO c VALUES (1);"
        "CREATE TABLE x (id INTEGER PRIMARY KEY, y REFERENCES y (id) DEFERRABLE INITIALLY DEFERRED);"
        "CREATE TABLE y (id INTEGER PRIMARY KEY, x REFERENCES x (id), me REFERENCES y (id));"
        "INSERT INTO x VALUES (1, 1); INSERT INTO y VALUES (1, 1, 1);",
    )
    sql = await check_round_trip(service, "SELECT * FROM x, y", "SELECT * FROM a, b, c", in_order=False)
    assert sql.index("CREATE TABLE a") < sql.index("CREATE TABLE b") < sql.index("CREATE TABLE c")


async def test_full_text_search_is_found_again(service: D1Service) -> None:
    await fill(
        service,
        "CREATE VIRTUAL TABLE own USING fts5(title, body, tokenize = 'porter unicode61');"
        "INSERT INTO own (rowid, title, body) VALUES (5, 'Running', 'it''s; water'), (9, 'Wine', NULL);"
        "INSERT INTO own (own, rank) VALUES ('rank', 'bm25(10.0, 5.0)');"
        "CREATE TABLE docs (id INTEGER PRIMARY KEY, a, b); INSERT INTO docs VALUES (3, 'red apples', 'x');"
        "CREATE VIRTUAL TABLE outside USING fts5(a, content = 'docs', content_rowid='id');"
        "INSERT INTO outside (outside) VALUES ('rebuild');"
        "CREATE VIRTUAL TABLE words USING fts5vocab(own, 'row');"
        "CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1); INSERT INTO boxes VALUES (7, 0.5, 1.5);",
    )
    await check_round_trip(
        service,
        "SELECT rowid, * FROM own WHERE own MATCH 'run'",
        "SELECT rowid, bm25(own) FROM own('wine')",
        "SELECT rowid, a FROM outside('apples')",
        "SELECT * FROM words",
        "SELECT * FROM boxes",
        "SELECT k, v FROM own_config",
    )


async def test_a_table_that_does_not_have_its_documents_is_said(service: D1Service) -> None:
    await fill(service, "CREATE VIRTUAL TABLE f USING fts5(a, content = '')")
    await check_round_trip(service)
    await fill(service, "INSERT INTO f (rowid, a) VALUES (1, 'x')")
    with pytest.raises(QueryFailed, match="D1 Export error: cannot export the rows of the contentless FTS5 table f"):
        dump(service, "one")
    assert "CREATE VIRTUAL TABLE f" in dump(service, "one", DumpOptions(data=False))


async def test_rowids_that_nothing_else_says(service: D1Service) -> None:
    await fill(
        service,
        "CREATE TABLE gaps (a); INSERT INTO gaps (rowid, a) VALUES (5, 'x'), (2, 'y');"
        "CREATE TABLE none (a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO none VALUES ('k', 1);"
        "CREATE TABLE taken (rowid TEXT, _rowid_ TEXT, oid TEXT); INSERT INTO taken VALUES ('a', 'b', 'c');"
        "CREATE TABLE made (a, b AS (a * 2) STORED, c AS (a * 3)); INSERT INTO made (a) VALUES (4);",
    )
    await check_round_trip(
        service, "SELECT rowid, a FROM gaps", "SELECT * FROM none", "SELECT * FROM taken", "SELECT * FROM made"
    )


async def test_texts_that_are_not(service: D1Service) -> None:
    await fill(
        service,
        "CREATE TABLE t (a); INSERT INTO t VALUES (CAST(x'ff00fe' AS TEXT)), (CAST(x'610062' AS TEXT)), (''), (x'');"
        "INSERT INTO t VALUES ('\\n' || char(10) || '\\1\\n' || char(13)), (9e999), (-9e999), (1e300), (0.1), (-0.0);"
        "INSERT INTO t VALUES (9223372036854775807), (-9223372036854775808), (1e15), (123456789012345680.0)",
    )
    await check_round_trip(
        service, "SELECT typeof(a), hex(a) FROM t", "SELECT quote(a) FROM t WHERE typeof(a) <> 'text'"
    )


async def test_the_largest_row_comes_back(service: D1Service) -> None:
    await fill(service, "CREATE TABLE t (a); INSERT INTO t VALUES (randomblob(1999990))")
    await check_round_trip(service, "SELECT hex(substr(a, 1, 1000)), hex(substr(a, -1000)) FROM t")


async def test_an_export_shows_one_state_and_calls_go_on(tmp_path: Path, engine: Any) -> None:
    service = D1Service(engine, spool=tmp_path / "spool")
    await fill(
        service,
        "CREATE TABLE t (a); WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT 20000) "
        "INSERT INTO t SELECT n FROM r; CREATE TABLE total (n); INSERT INTO total SELECT count(*) FROM t",
    )
    job = await service.transfers.export("one", EVERYTHING)
    writes = 0
    while not job.done.is_set():
        batch = [Statement("INSERT INTO t VALUES (0)"), Statement("UPDATE total SET n = n + 1")]
        await service.open("one").query(batch, ArraysDocument(10_000))
        writes += 1
    assert job.failure is None
    assert writes > 0
    path = service.transfers.download(job.secret)
    assert path is not None
    exported = b"".join([piece async for piece in service.transfers.read(path)]).decode()
    count = exported.count('INSERT INTO "t"')
    assert f'INSERT INTO "total" ("n") VALUES({count});' in exported
    await service.aclose()
    assert not (tmp_path / "spool").exists()


async def test_what_is_sent_and_fetched_is_bounded_in_number_and_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    service = D1Service(MemoryEngine(), spool=tmp_path / "spool")
    monkeypatch.setattr(service.transfers, "_clock", lambda: now)
    monkeypatch.setattr("tenantry.services.d1.limits.TRANSFERS_KEPT_MAX", 3)
    secret, upload = await service.transfers.offer_upload("one", hashlib.md5(b"SELECT 1").hexdigest())

    async def body(*pieces: bytes) -> AsyncIterator[bytes]:
        for piece in pieces:
            await asyncio.sleep(0)
            yield piece

    assert await service.transfers.receive_untrusted(secret, body(b"SELECT", b" 1")) == upload.etag
    job = await service.transfers.export("one", EVERYTHING)
    await job.done.wait()
    await service.transfers.export("one", EVERYTHING)
    with pytest.raises(QueryFailed, match="Too many exports and imports"):
        await service.transfers.export("one", EVERYTHING)
    assert service.transfers.download(job.secret) is not None
    monkeypatch.setattr("tenantry.services.d1.limits.IMPORT_BYTES_MAX", 100)
    now = 4000.0
    assert service.transfers.download(job.secret) is None
    assert await service.transfers.wait("one", job.bookmark, 0.0) is None
    with pytest.raises(QueryFailed, match="There is no such upload"):
        await service.transfers.ingest("one", upload.etag, upload.filename)
    assert list((tmp_path / "spool").iterdir()) == []
    secret, _ = await service.transfers.offer_upload("one", "0" * 32)
    with pytest.raises(QueryFailed, match="The file is too large: at most 100 bytes"):
        await service.transfers.receive_untrusted(secret, body(*[b"x" * 50] * 10**6))
    await service.aclose()


async def run_import(service: D1Service, resource_id: str, sql: bytes) -> Import:
    """To its end, which nobody is told of."""

    async def body() -> AsyncIterator[bytes]:
        yield sql

    etag = hashlib.md5(sql).hexdigest()
    secret, upload = await service.transfers.offer_upload(resource_id, etag)
    await service.transfers.receive_untrusted(secret, body())
    job = await service.transfers.ingest(resource_id, etag, upload.filename)
    await job.done.wait()
    assert job.failure is None
    return job


async def test_an_import_whose_end_nobody_was_told_of_is_not_run_again(tmp_path: Path, engine: Any) -> None:
    """A client that lost the answer comes with the same file again, also to a host that was started anew."""
    sql = b"CREATE TABLE t (a); INSERT INTO t VALUES (1);"
    etag = hashlib.md5(sql).hexdigest()
    service = D1Service(engine, spool=tmp_path / "spool")
    job = await run_import(service, "one", sql)
    assert await service.transfers.untold("one", etag) is job
    assert await service.transfers.untold("one", "0" * 32) is None, "another file"
    assert await service.transfers.untold("two", etag) is None, "another database"
    again = D1Service(engine, spool=tmp_path / "spool again")
    known = await again.transfers.untold("one", etag)
    assert known is not None
    assert known.done.is_set()
    assert (known.statements, known.meta) == (job.statements, job.meta)
    assert "_cf_" not in dump(again, "one")
    with pytest.raises(QueryFailed, match="SQLITE_AUTH"):
        await rows(again, "one", "SELECT * FROM _cf_import")
    # It is in nobody's way: tables can be altered.
    await fill(again, "ALTER TABLE t ADD COLUMN b")

    # Its answer may yet be lost, with the host.
    await again.transfers.told(known)
    other = D1Service(engine, spool=tmp_path / "another spool")
    assert await other.transfers.untold("one", etag) is not None
    assert await again.transfers.untold("one", etag) is None
    last = D1Service(engine, spool=tmp_path / "spool at last")
    assert await last.transfers.untold("one", etag) is None, "the same file was begun anew"
    with pytest.raises(QueryFailed, match="SQLITE_AUTH"):
        await fill(last, "ALTER TABLE t RENAME TO _cf_import")
    assert '[["t"]]' in (await rows(last, "one", "SELECT name FROM sqlite_schema")).decode()
    for each in (last, other, again, service):
        await each.aclose()


async def test_an_import_whose_end_was_told_leaves_nothing(
    tmp_path: Path, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = D1Service(engine, spool=tmp_path / "spool")

    async def run(resource_id: str, table: str) -> Import:
        return await run_import(service, resource_id, f"CREATE TABLE {table} (a);".encode())

    async def is_there(resource_id: str) -> bool:
        return b"_cf_import" in await rows(service, resource_id, "SELECT name FROM sqlite_schema")

    # Not at once, but at an orderly end; and what stands there of another import stays.
    await service.transfers.told(await run("one", "t"))
    assert await is_there("one")
    await service.transfers.told(await run("two", "t"))
    await run("two", "u")
    with monkeypatch.context() as patched:
        # Or after a while.
        patched.setattr(limits, "ANSWER_SECONDS_MAX", 0.0)
        await service.transfers.told(await run("three", "t"))
        async with asyncio.timeout(60):
            while await is_there("three"):
                pass
    assert await is_there("one")
    await service.transfers.aclose()
    assert not await is_there("one")
    assert await is_there("two")
    await service.aclose()


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.text("'\\n\r\n;\x00-/*\"", max_size=12),
    st.binary(max_size=20),
)
NAMES = st.text("abé \"'`[];-\n", min_size=1, max_size=6).map(lambda name: f"n{name}")


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
@given(
    st.dictionaries(NAMES.map(str.lower), st.lists(st.lists(VALUES, min_size=3, max_size=3), max_size=6), max_size=4),
    st.sampled_from(["", "INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC"]),
)
async def test_any_values_under_any_names(tables: dict[str, list[list[Any]]], affinity: str) -> None:
    service = D1Service(MemoryEngine())
    queries = []
    try:
        for name, content in tables.items():
            quoted = '"' + name.replace('"', '""') + '"'
            await fill(service, f"CREATE TABLE {quoted} ({quoted} {affinity}, second, third PRIMARY KEY)")
            connection: Any = service.engine.open("one")._create()  # type: ignore[attr-defined]  # integers as such
            for row in content:
                cells = tuple(row)
                connection._connection.execute(f"INSERT OR IGNORE INTO {quoted} VALUES (?, ?, ?)", cells)
            connection.close()
            queries.append(
                f"SELECT rowid, quote({quoted}), typeof(second), hex(second), quote(second), hex(third) FROM {quoted}"
            )
        await check_round_trip(service, *queries)
    finally:
        await service.aclose()
