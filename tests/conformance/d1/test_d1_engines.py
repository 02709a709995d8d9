"""What an engine answers to its service and not to a Worker: bounds, sizes, deletion."""

from __future__ import annotations

from typing import Any

import pytest


async def test_a_result_beyond_its_bound_is_an_error(make_service: Any, open_database: Any) -> None:
    db = open_database(make_service(result_bytes_max=10_000))
    with pytest.raises(Exception, match="D1_ERROR: The result is too large: its rows exceed 10000 bytes"):
        await db.prepare("SELECT hex(zeroblob(3000)) FROM (VALUES (1), (2))").all()
    assert await db.prepare("SELECT hex(zeroblob(3000)) AS x FROM (VALUES (1), (2))").first("x") == "00" * 3000


async def test_a_deleted_database_is_empty(service: Any, open_database: Any) -> None:
    db = open_database(service, "gone")
    await db.exec("CREATE TABLE t (a)")
    await service.delete("gone")
    assert await db.prepare("SELECT name FROM sqlite_schema").raw() == []
    await service.delete("never-was")


async def test_a_full_database_says_so_and_can_be_emptied(engine: Any, make_service: Any, open_database: Any) -> None:
    engine._database_bytes_max = 100_000
    db = open_database(make_service())
    await db.exec("CREATE TABLE t (a)")
    with pytest.raises(Exception, match=r"D1_ERROR: Exceeded maximum DB size\."):
        await db.prepare("INSERT INTO t VALUES (zeroblob(90000)), (zeroblob(90000))").run()
    await db.prepare("INSERT INTO t VALUES (zeroblob(1000))").run()
    assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 1


async def test_usage_is_what_size_after_says(service: Any, open_database: Any) -> None:
    binding, db = service.open("a1b2"), open_database(service)
    assert binding.usage() == 0
    await db.prepare("SELECT 1").all()
    assert binding.usage() == 0
    for sql in (
        "CREATE TABLE t (a)",
        "INSERT INTO t VALUES (zeroblob(1000000))",
        "DELETE FROM t",
        "INSERT INTO t VALUES (zeroblob(1900000))",
    ):
        meta = (await db.prepare(sql).run()).meta
        assert binding.usage() == meta.size_after
    with pytest.raises(Exception, match="nope"):
        await db.batch([db.prepare("INSERT INTO t VALUES (zeroblob(1000000))"), db.prepare("SELECT * FROM nope")])
    assert binding.usage() == (await db.prepare("SELECT 1").all()).meta.size_after
    await service.delete("a1b2")
    assert binding.usage() == 0


async def test_usage_of_a_database_that_is_closed_is_the_same(make_service: Any, open_database: Any) -> None:
    service = make_service()
    meta = (
        await open_database(service).batch(
            [
                open_database(service).prepare("CREATE TABLE t (a)"),
                open_database(service).prepare("INSERT INTO t VALUES (zeroblob(123456))"),
            ]
        )
    )[1].meta
    service.database("a1b2").release()
    await service.database("a1b2")._idle.wait()
    assert service.open("a1b2").usage() == meta.size_after
