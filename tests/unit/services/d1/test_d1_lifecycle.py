"""Databases opened, evicted, closed, deleted, overloaded, left by their callers, and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from tenantry.errors import ConfigError
from tenantry.services import ServiceSettings
from tenantry.services.d1 import SERVICE, D1Service, limits
from tenantry.services.d1.engines.files import FileEngine

LONG = "WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # what it waits for happens in a thread
            await asyncio.sleep(0.001)


def test_the_entry_point_says_what_it_binds() -> None:
    assert SERVICE.name == "d1"
    assert SERVICE.binding_types == {"d1": "id"}


async def test_the_service_keeps_each_database_in_a_file_below_the_folder(tmp_path: Path, open_database: Any) -> None:
    for durability in ("full", "process"):
        service = SERVICE(ServiceSettings(tmp_path / durability, durability))
        db = open_database(service, "my-db")
        await db.exec("CREATE TABLE t (a); INSERT INTO t VALUES (5)")
        await service.aclose()
        names = sorted(path.name for path in (tmp_path / durability / "d1").iterdir())
        assert names == ["my-db.history", "my-db.sqlite"]
        again = SERVICE(ServiceSettings(tmp_path / durability, durability))
        assert await open_database(again, "my-db").prepare("SELECT a FROM t").first("a") == 5
        await again.delete("my-db")
        assert list((tmp_path / durability / "d1").iterdir()) == []
        await again.aclose()
    with pytest.raises(ConfigError):
        SERVICE(ServiceSettings(tmp_path, "sometimes"))


async def test_a_durable_commit_is_synced(tmp_path: Path) -> None:
    for durable, level in ((True, 2), (False, 1)):
        session: Any = FileEngine(tmp_path / str(durable), durable=durable).open("db")
        connection = session._create()
        assert connection.own("PRAGMA synchronous") == [(level,)]
        assert connection.own("PRAGMA journal_mode") == [("wal",)]
        session.close()


async def test_a_service_that_was_not_used_closes(service: D1Service) -> None:
    service.open("db")
    await service.aclose()
    await service.aclose()


async def test_concurrent_writes_are_all_there_and_in_order(db: Any, service: D1Service) -> None:
    await db.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
    insert = db.prepare("INSERT INTO t (a) VALUES (?) RETURNING id")
    ids = await asyncio.gather(*[insert.bind(n).first("id") for n in range(300)])
    assert ids == list(range(1, 301))
    assert (await db.prepare("SELECT count(*) AS n, count(DISTINCT a) AS d FROM t").first()) == {"n": 300, "d": 300}


async def test_one_of_many_concurrent_calls_fails_alone(db: Any) -> None:
    await db.exec("CREATE TABLE t (a UNIQUE ON CONFLICT ROLLBACK)")
    insert = db.prepare("INSERT INTO t VALUES (?)")
    results = await asyncio.gather(*[insert.bind(n % 40).run() for n in range(60)], return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False] * 40 + [True] * 20
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 40


async def test_the_queue_is_bounded(make_service: Any, open_database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "QUEUE_CALLS_MAX", 5)
    db = open_database(make_service())
    calls = [db.prepare("SELECT 1 AS x").first("x") for _ in range(8)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[:5] == [1] * 5
    texts = {getattr(result, "message", "") for result in results[5:]}
    assert texts == {"D1_ERROR: D1 DB is overloaded. Too many requests queued."}
    assert await db.prepare("SELECT 1 AS x").first("x") == 1


async def test_the_bytes_of_requests_are_bounded(
    make_service: Any, open_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUEUE_BYTES_MAX", 250_000)
    db = open_database(make_service())
    calls = [db.prepare("SELECT length(?) AS x").bind("x" * 100_000).first("x") for _ in range(4)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[:2] == [100_000] * 2
    assert all("D1 DB is overloaded" in str(result) for result in results[2:])
    assert await db.prepare("SELECT length(?) AS x").bind("x" * 100_000).first("x") == 100_000


async def test_a_caller_that_leaves_stops_its_query(db: Any, service: D1Service) -> None:
    running = asyncio.create_task(db.prepare(LONG).all())
    waiting = asyncio.create_task(db.prepare("SELECT 1 AS x").first("x"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    async with asyncio.timeout(5):
        assert await waiting == 1


async def test_a_caller_that_leaves_while_it_waits_is_passed_over(db: Any, service: D1Service) -> None:
    await db.exec("CREATE TABLE t (a)")
    running = asyncio.create_task(db.prepare(LONG).all())
    await until(lambda: service.database("a1b2").busy)
    insert = db.prepare("INSERT INTO t VALUES (?)")
    calls = [asyncio.create_task(insert.bind(n).run()) for n in range(3)]
    await asyncio.sleep(0.06)
    calls[1].cancel()
    running.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert await db.prepare("SELECT a FROM t ORDER BY a").raw() == [[0], [2]]


async def test_idle_databases_are_closed_and_opened_again(make_service: Any, open_database: Any) -> None:
    service = make_service(open_databases_max=3)
    databases = [open_database(service, f"db{n}") for n in range(8)]
    for n, db in enumerate(databases):
        await db.exec(f"CREATE TABLE t (a); INSERT INTO t VALUES ({n})")
    await until(lambda: len(service._databases) <= 3)
    found = await asyncio.gather(*[db.prepare("SELECT a FROM t").first("a") for db in databases])
    assert found == list(range(8))
    await until(lambda: len(service._databases) <= 3)


async def test_a_database_in_use_is_not_evicted(make_service: Any, open_database: Any) -> None:
    service = make_service(open_databases_max=1, query_seconds_max=60, thread_count=2)
    long = asyncio.create_task(open_database(service, "busy").prepare(LONG).all())
    await asyncio.sleep(0)
    database = service.database("busy")
    for n in range(3):
        assert await open_database(service, f"db{n}").prepare("SELECT 1 AS x").first("x") == 1
    assert service.database("busy") is database
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_closing_lets_calls_end_and_refuses_new_ones(make_service: Any, open_database: Any, engine: Any) -> None:
    service = make_service()
    db = open_database(service)
    await db.exec("CREATE TABLE t (a)")
    calls = [asyncio.create_task(db.prepare("INSERT INTO t VALUES (?)").bind(n).run()) for n in range(20)]
    await asyncio.sleep(0)
    await service.aclose()
    assert all(result.success for result in await asyncio.gather(*calls))
    with pytest.raises(Exception, match=r"D1_ERROR: Network connection lost\."):
        await db.prepare("SELECT 1").all()
    assert await open_database(make_service()).prepare("SELECT count(*) AS n FROM t").first("n") == 20


async def test_closing_stops_what_does_not_end(make_service: Any, open_database: Any) -> None:
    service = make_service(drain_seconds=0.05)
    db = open_database(service)
    calls = [asyncio.create_task(db.prepare(sql).all()) for sql in (LONG, "SELECT 1")]
    await asyncio.sleep(0)
    await service.aclose()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {str(result) for result in results} == {"Error: D1_ERROR: Network connection lost."}


async def test_deleting_fails_what_runs_and_what_waits(service: D1Service, open_database: Any) -> None:
    db = open_database(service, "gone")
    await db.exec("CREATE TABLE t (a)")
    calls = [asyncio.create_task(db.prepare(sql).all()) for sql in (LONG, "INSERT INTO t VALUES (1)")]
    await asyncio.sleep(0)
    await service.delete("gone")
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all("Network connection lost" in str(result) for result in results)
    assert await db.prepare("SELECT name FROM sqlite_schema").raw() == []


async def test_a_file_that_is_no_database_is_said_without_its_path(
    folder: Path, service: D1Service, open_database: Any
) -> None:
    folder.mkdir()
    (folder / "bad.sqlite").write_bytes(b"this is no database" * 100)
    db = open_database(service, "bad")
    for _ in range(2):
        with pytest.raises(Exception) as raised:  # noqa: PT011  # the text is what counts
            await db.prepare("SELECT * FROM sqlite_schema").all()
        assert "Internal error while starting up D1 DB storage" in str(raised.value)
        assert str(folder) not in str(raised.value)
    assert await open_database(service, "good").prepare("SELECT 1 AS x").first("x") == 1


async def test_an_operator_may_read_the_file_meanwhile(folder: Path, db: Any) -> None:
    await db.exec("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    other = apsw.Connection(str(folder / "a1b2.sqlite"), flags=apsw.SQLITE_OPEN_READONLY)
    assert list(other.execute("SELECT a FROM t")) == [(1,)]
    other.close()
    await db.prepare("INSERT INTO t VALUES (2)").run()


WRITER = """
import asyncio, json, sys
from pathlib import Path
from tenantry.services import ServiceSettings
from tenantry.services.d1 import SERVICE

async def main():
    binding = SERVICE(ServiceSettings(Path(sys.argv[1]), sys.argv[2])).open("db")
    await binding.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
    async def write(first):
        for n in range(first, 10**9, 8):
            batch = [[f"INSERT INTO t VALUES (?, {half})", [n * 2 + half]] for half in (0, 1)]
            await binding.call("query", [json.dumps({"statements": batch})])
            sys.stdout.write(f"{n}\\n")
            sys.stdout.flush()
    await asyncio.gather(*[write(first) for first in range(8)])

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_after_kill_9_what_was_acknowledged_is_there_and_nothing_is_torn(
    tmp_path: Path, open_database: Any, durability: str
) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path), durability], stdout=subprocess.PIPE, env={**os.environ}
    )
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().split(b"\n")[:-1]]
    writer.stdout.close()
    writer.wait()
    service = SERVICE(ServiceSettings(tmp_path, durability))
    db = open_database(service, "db")
    found = {row[0] for row in await db.prepare("SELECT a FROM t").raw()}
    assert {half for n in acknowledged for half in (n * 2, n * 2 + 1)} <= found
    assert {a ^ 1 for a in found} == found, "a batch was torn"
    assert await db.prepare("PRAGMA quick_check").raw() == [["ok"]]
    await service.aclose()


RESTORER = """
import asyncio, sys
from pathlib import Path
from tenantry.services import ServiceSettings
from tenantry.services.d1 import SERVICE

async def main():
    binding = SERVICE(ServiceSettings(Path(sys.argv[1]), "full")).open("db")
    await binding.execute("CREATE TABLE t (a)")
    bookmarks = []
    for n in range(10**9):
        if n % 3 == 2:
            await binding.restore(bookmark=bookmarks[-2])
            sys.stdout.write(f"restored {n - 2}\\n")
        else:
            await binding.execute(f"DELETE FROM t; INSERT INTO t VALUES ({n}), ({n}), (hex(zeroblob(300000)))")
            bookmarks.append(await binding.bookmark())
            sys.stdout.write(f"{bookmarks[-1]} {n}\\n")
        sys.stdout.flush()

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [8, 10])
async def test_after_kill_9_amid_restores_the_state_is_one_that_was_and_the_past_is_whole(
    tmp_path: Path, open_database: Any, lines: int
) -> None:
    writer = subprocess.Popen([sys.executable, "-c", RESTORER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    told = [writer.stdout.readline().decode().split() for _ in range(lines)]
    writer.send_signal(signal.SIGKILL)
    told += [line.decode().split() for line in writer.stdout.read().splitlines()]
    writer.stdout.close()
    writer.wait()
    service = SERVICE(ServiceSettings(tmp_path, "full"))
    db, binding = open_database(service, "db"), service.open("db")
    n = len(told) - 1
    acknowledged = n - 2 if n % 3 == 2 else n
    after_it = n - 1 if n % 3 == 1 else n + 1  # a restore, or the next write
    state = await db.prepare("SELECT a FROM t LIMIT 2").raw()
    assert state in ([[acknowledged]] * 2, [[after_it]] * 2)
    assert await db.prepare("PRAGMA quick_check").raw() == [["ok"]]
    for bookmark, number in told:
        if bookmark != "restored":
            await binding.restore(bookmark=bookmark)
            assert await db.prepare("SELECT a FROM t LIMIT 2").raw() == [[int(number)]] * 2
    await service.aclose()


async def test_bookmarks_grow_even_if_the_clock_goes_back(folder: Path, open_database: Any) -> None:
    now = 1_700_000_000 * 10**9
    service = D1Service(FileEngine(folder, durable=False, wall_clock=lambda: now))
    session = open_database(service).withSession()
    bookmarks = []
    for _ in range(3):
        await session.prepare("CREATE TABLE IF NOT EXISTS t (a)").run()
        await session.prepare("INSERT INTO t VALUES (1)").run()
        bookmarks.append(session.getBookmark())
        now -= 3600 * 10**9
    assert bookmarks == sorted(set(bookmarks))
    assert [len(part) for part in bookmarks[0].split("-")] == [8, 8, 8, 32]
    await service.aclose()
