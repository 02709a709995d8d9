"""Quotas of databases and of the account, on every engine, as a Worker meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from workers._errors import JsException

from tenantry.services import ServiceSettings
from tenantry.services.d1 import SERVICE, D1Service, QueryFailed
from tenantry.services.d1.engine import Engine
from tenantry.services.d1.engines.files import FileEngine
from tenantry.services.d1.engines.memory import MemoryEngine
from tenantry.services.d1.metered import account_meter
from tenantry.services.quota import Limit, Quota

PAGE = 4096
DATABASE_FULL = "D1_ERROR: Exceeded maximum DB size."
ACCOUNT_FULL = "D1_ERROR: Your account has exceeded D1's maximum account storage limit."
FILL = "INSERT INTO t SELECT randomblob(3000) FROM json_each(?1)"
"""A page for each element."""

Make = Callable[..., D1Service]


@pytest.fixture
def make_limited(request: pytest.FixtureRequest, tmp_path: Path, engine: Engine, make_service: Make) -> Make:
    """Services whose account may hold so many pages, or each database."""

    def make(*, account_pages: int | None = None, database_pages: int | None = None) -> D1Service:
        if database_pages is not None:
            limited: Engine = (
                MemoryEngine(database_bytes_max=database_pages * PAGE)
                if isinstance(engine, MemoryEngine)
                else FileEngine(tmp_path / "d1", durable=False, database_bytes_max=database_pages * PAGE)
            )
            return D1Service(limited)
        assert account_pages is not None
        quota = Quota(account=Limit(account_pages * PAGE))
        return make_service(meter=account_meter(engine, quota, tmp_path / "d1.totals", False))

    return make


def rows(count: int) -> str:
    return str([0] * count)


async def refused(statement: Any) -> str:
    with pytest.raises(JsException) as caught:
        await statement.run()
    return str(caught.value.message)


def pages(service: D1Service, *resources: str) -> int:
    return sum(service.engine.usage(resource) for resource in resources) // PAGE


async def test_a_full_database_says_so_and_is_read_and_deleted_from(
    make_limited: Make, open_database: Callable[..., Any]
) -> None:
    service = make_limited(database_pages=20)
    db = open_database(service)
    await db.exec("CREATE TABLE t (data BLOB)")
    assert await refused(db.prepare(FILL).bind(rows(40))) == DATABASE_FULL
    await db.prepare(FILL).bind(rows(10)).run()
    assert await db.prepare("SELECT count(*) FROM t").first("count(*)") == 10
    await db.prepare("DELETE FROM t").run()
    await db.prepare(FILL).bind(rows(10)).run()
    await db.prepare("DROP TABLE t").run()
    assert pages(service, "a1b2") <= 20
    await service.aclose()


async def test_all_databases_of_the_account_count_together(
    make_limited: Make, open_database: Callable[..., Any]
) -> None:
    service = make_limited(account_pages=30)
    one, two = open_database(service, "one"), open_database(service, "two")
    await one.exec("CREATE TABLE t (data BLOB)")
    await two.exec("CREATE TABLE t (data BLOB)")
    await one.prepare(FILL).bind(rows(20)).run()
    assert (await refused(two.prepare(FILL).bind(rows(20)))).startswith(ACCOUNT_FULL)
    assert await two.prepare("SELECT count(*) FROM t").first("count(*)") == 0
    await two.prepare(FILL).bind(rows(2)).run()
    await one.prepare("DELETE FROM t").run()
    await one.prepare(FILL).bind(rows(19)).run()  # into the space of what was deleted
    await service.delete("one")
    await two.prepare(FILL).bind(rows(20)).run()
    assert pages(service, "one", "two") <= 30


async def test_the_last_page_goes_to_one_of_two_databases(
    make_limited: Make, open_database: Callable[..., Any]
) -> None:
    service = make_limited(account_pages=30)
    databases = [open_database(service, name) for name in ("one", "two")]
    for db in databases:
        await db.exec("CREATE TABLE t (data BLOB)")
    results = await asyncio.gather(*[db.prepare(FILL).bind(rows(15)).run() for db in databases], return_exceptions=True)
    assert sorted(isinstance(result, JsException) for result in results) == [False, True]
    assert pages(service, "one", "two") <= 30
    for db in databases:  # what did not fit left nothing
        assert await db.prepare("SELECT count(*) FROM t").first("count(*)") in (0, 15)


async def test_many_writers_never_pass_the_quota(make_limited: Make, open_database: Callable[..., Any]) -> None:
    service = make_limited(account_pages=60)
    databases = [open_database(service, name) for name in ("one", "two", "three")]
    for db in databases:
        await db.exec("CREATE TABLE t (data BLOB)")
    results = await asyncio.gather(
        *[db.prepare(FILL).bind(rows(2)).run() for _ in range(15) for db in databases], return_exceptions=True
    )
    assert any(isinstance(result, JsException) for result in results)
    assert pages(service, "one", "two", "three") <= 60
    stored = [await db.prepare("SELECT count(*) FROM t").first("count(*)") for db in databases]
    assert sum(stored) == 2 * sum(not isinstance(result, JsException) for result in results)


async def test_a_full_account_gets_no_new_database(make_limited: Make, open_database: Callable[..., Any]) -> None:
    service = make_limited(account_pages=2)
    await open_database(service, "one").exec("CREATE TABLE t (data BLOB)")
    assert (await refused(open_database(service, "two").prepare("CREATE TABLE t (data BLOB)"))).startswith(ACCOUNT_FULL)
    assert service.engine.usage("two") == 0


async def test_a_call_that_is_given_up_leaves_the_total_right(
    make_limited: Make, open_database: Callable[..., Any]
) -> None:
    service = make_limited(account_pages=30)
    db = open_database(service, "one")
    await db.exec("CREATE TABLE t (data BLOB)")
    for turns in range(0, 160, 20):
        call = asyncio.create_task(db.prepare(FILL).bind(rows(2)).run())
        for _ in range(turns):
            await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
    held = pages(service, "one")
    two = open_database(service, "two")
    await two.exec("CREATE TABLE t (data BLOB)")
    # A table of n such rows has n + 1 pages, and the schema one.
    assert (await refused(two.prepare(FILL).bind(rows(29 - held)))).startswith(ACCOUNT_FULL)
    await two.prepare(FILL).bind(rows(28 - held)).run()
    assert pages(service, "one", "two") <= 30


@pytest.fixture
async def from_settings(tmp_path: Path) -> AsyncIterator[Callable[[Quota], D1Service]]:
    made: list[D1Service] = []

    def make(quota: Quota) -> D1Service:
        made.append(SERVICE(ServiceSettings(tmp_path, "process", quotas={"d1": quota})))
        return made[-1]

    yield make
    for service in made:
        await service.aclose()


async def test_the_total_is_known_after_an_end_and_a_restore(
    from_settings: Callable[[Quota], D1Service], open_database: Callable[..., Any], tmp_path: Path
) -> None:
    quota = Quota(account=Limit(30 * PAGE))
    service = from_settings(quota)
    await open_database(service, "one").exec("CREATE TABLE t (data BLOB)")
    await open_database(service, "one").prepare(FILL).bind(rows(20)).run()
    await service.aclose()
    service = from_settings(quota)
    two = open_database(service, "two")
    await two.exec("CREATE TABLE t (data BLOB)")
    assert (await refused(two.prepare(FILL).bind(rows(10)))).startswith(ACCOUNT_FULL)
    await service.aclose()
    (tmp_path / "d1.totals").unlink()  # as after a restore
    service = from_settings(quota)
    assert (await refused(open_database(service, "two").prepare(FILL).bind(rows(10)))).startswith(ACCOUNT_FULL)


async def test_a_quota_that_was_lowered_takes_nothing_away(
    from_settings: Callable[[Quota], D1Service], open_database: Callable[..., Any]
) -> None:
    service = from_settings(Quota())
    await open_database(service, "one").exec("CREATE TABLE t (data BLOB)")
    await open_database(service, "one").prepare(FILL).bind(rows(20)).run()
    await service.aclose()
    for quota, text in ((Quota(Limit(5 * PAGE)), DATABASE_FULL), (Quota(account=Limit(5 * PAGE)), ACCOUNT_FULL)):
        service = from_settings(quota)
        db = open_database(service, "one")
        assert (await refused(db.prepare(FILL).bind(rows(5)))).startswith(text)
        assert await db.prepare("SELECT count(*) FROM t").first("count(*)") == 20
        await db.prepare("DELETE FROM t WHERE rowid = (SELECT min(rowid) FROM t)").run()
        await db.prepare("INSERT INTO t SELECT data FROM t LIMIT 1").run()
        await service.aclose()
    await open_database(from_settings(Quota(Limit(5 * PAGE))), "one").exec("DROP TABLE t")


async def test_time_travel_does_not_pass_a_quota(
    from_settings: Callable[[Quota], D1Service], open_database: Callable[..., Any]
) -> None:
    service = from_settings(Quota(account=Limit(30 * PAGE)))
    one, two = service.open("one"), open_database(service, "two")
    await open_database(service, "one").exec("CREATE TABLE t (data BLOB)")
    small = await one.bookmark()
    await open_database(service, "one").prepare(FILL).bind(rows(20)).run()
    large = await one.bookmark()
    await one.restore(bookmark=small)
    assert pages(service, "one") == 2
    await two.exec("CREATE TABLE t (data BLOB)")
    await two.prepare(FILL).bind(rows(20)).run()
    with pytest.raises(QueryFailed, match="maximum account storage limit"):
        await one.restore(bookmark=large)
    assert pages(service, "one") == 2
    await service.delete("two")
    await one.restore(bookmark=large)
    assert await open_database(service, "one").prepare("SELECT count(*) FROM t").first("count(*)") == 20
