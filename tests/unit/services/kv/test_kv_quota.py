"""Quotas of namespaces and of the account, on every engine, as a Worker meets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import BindingError
from tenantry.services import ServiceSettings
from tenantry.services.kv import KvService, MemoryEngine
from tenantry.services.quota import Limit, Quota
from tenantry.streams import BytesStream

Make = Callable[[Quota], KvService]


class Slow:
    """A value that comes when it is let."""

    def __init__(self, data: bytes, *, length: int | None) -> None:
        self.length = length
        self._data = data
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()

    async def read(self, size_max: int) -> bytes:
        self.asked.set()
        await self.gate.wait()
        data, self._data = self._data[:size_max], self._data[size_max:]
        return data

    async def aclose(self) -> None:
        pass


@pytest.fixture(params=["memory", "sqlite"])
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Make]:
    made: list[KvService] = []

    def service(quota: Quota) -> KvService:
        settings = ServiceSettings(tmp_path, "process", quotas={"kv": quota})
        made.append(KvService(settings, engine=MemoryEngine() if request.param == "memory" else None))
        return made[-1]

    yield service
    for each in made:
        await each.aclose()


async def put(service: KvService, namespace: str, key: str, value: Any, *more: Any) -> None:
    await service.open(namespace).call("put", [key, value, *more])


async def refused(service: KvService, namespace: str, key: str, value: Any, *more: Any) -> str:
    with pytest.raises(BindingError) as caught:
        await put(service, namespace, key, value, *more)
    return caught.value.message.removeprefix("KV PUT failed: 413 ")


async def test_the_last_byte_of_a_namespace_fits(make: Make) -> None:
    service = make(Quota(Limit(100)))
    await put(service, "a", "key", bytes(90))
    assert await refused(service, "a", "k", bytes(7)) == "More bytes than the namespace may hold"
    await put(service, "a", "k", bytes(6))
    assert await refused(service, "a", "key", bytes(91)) == "More bytes than the namespace may hold"
    await put(service, "a", "key", bytes(90))  # in place of itself
    assert await refused(service, "a", "k", bytes(6), None, None, "1") == "More bytes than the namespace may hold"
    await put(service, "b", "key", bytes(97))
    await service.open("a").call("delete", ["key"])
    await put(service, "a", "k", bytes(99))


async def test_keys_are_counted(make: Make) -> None:
    service = make(Quota(Limit(count=2)))
    await put(service, "a", "1", b"")
    await put(service, "a", "2", b"")
    assert await refused(service, "a", "3", b"") == "More keys than the namespace may hold"
    await put(service, "a", "2", b"more")
    await service.open("a").call("delete", ["1"])
    await put(service, "a", "3", b"")


async def test_all_namespaces_of_the_account_count_together(make: Make) -> None:
    service = make(Quota(account=Limit(100)))
    await put(service, "a", "k", bytes(60))
    assert await refused(service, "b", "k", bytes(39)) == "More bytes than the account may hold"
    await put(service, "b", "k", bytes(38))
    await service.delete("a")
    await put(service, "b", "l", bytes(60))


async def test_an_upload_in_progress_counts(make: Make) -> None:
    service = make(Quota(Limit(100_000)))
    slow = Slow(bytes(80_000), length=80_000)
    upload = asyncio.create_task(put(service, "a", "slow", slow))
    await slow.asked.wait()
    assert await refused(service, "a", "k", bytes(30_000)) == "More bytes than the namespace may hold"
    slow.gate.set()
    await upload
    await put(service, "a", "k", bytes(10_000))


async def test_a_value_of_unknown_length_stops_where_there_is_no_more_room(make: Make) -> None:
    service = make(Quota(Limit(100_000)))
    slow = Slow(bytes(200_000), length=None)
    slow.gate.set()
    assert await refused(service, "a", "k", slow) == "More bytes than the namespace may hold"
    assert await service.open("a").call("get", ["k"]) is None
    await put(service, "a", "k", BytesStream(bytes(90_000)))


async def test_the_total_is_known_after_an_end_and_after_a_crash(tmp_path: Path) -> None:
    settings = ServiceSettings(tmp_path, quotas={"kv": Quota(account=Limit(100))})
    service = KvService(settings)
    await put(service, "a", "k", bytes(40))
    await service.aclose()
    service = KvService(settings)
    await put(service, "b", "k", bytes(40))
    assert await refused(service, "b", "l", bytes(40)) == "More bytes than the account may hold"
    await service.aclose()
    (tmp_path / "kv.totals").unlink()  # as after a restore
    service = KvService(settings)
    assert await refused(service, "c", "l", bytes(40)) == "More bytes than the account may hold"
    await service.aclose()
