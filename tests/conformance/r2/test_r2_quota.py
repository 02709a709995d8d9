"""Quotas of buckets and of the account, on every engine, as a Worker and the other edges meet them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import BindingError
from tenantry.services import ServiceSettings
from tenantry.services.quota import Limit, Quota
from tenantry.services.r2 import SERVICE, R2Service, metered
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.limits import PART_BYTES_MIN
from tenantry.services.r2.options import PutOptions
from tenantry.streams import BytesStream

Make = Callable[[Quota], R2Service]

BYTES = "Your proposed upload exceeds the quota: more bytes than the bucket may hold. (100100)"
OBJECTS = "Your proposed upload exceeds the quota: more objects than the bucket may hold. (100100)"
ACCOUNT_BYTES = "Your proposed upload exceeds the quota: more bytes than the account may hold. (100100)"


class Slow:
    """A body that comes when it is let."""

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
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


@pytest.fixture
def make(engine: Engine, tmp_path: Path) -> Make:
    """The engine's fixture closes what is below; the account's totals are closed with the service."""

    def service(quota: Quota) -> R2Service:
        return R2Service(metered(engine, ServiceSettings(tmp_path, "process", quotas={"r2": quota})))

    return service


async def call(service: R2Service, bucket: str, method: str, *args: Any) -> Any:
    return await service.open(bucket).call(method, list(args))


async def refused(service: R2Service, bucket: str, method: str, *args: Any) -> str:
    with pytest.raises(BindingError) as caught:
        await call(service, bucket, method, *args)
    return caught.value.message.removeprefix(f"{method}: ")


async def test_the_last_byte_of_a_bucket_fits(make: Make) -> None:
    service = make(Quota(Limit(100)))
    await call(service, "a", "put", "key", bytes(90))
    assert await refused(service, "a", "put", "k", bytes(11)) == BYTES
    assert await call(service, "a", "head", "k") is None
    await call(service, "a", "put", "k", bytes(10))
    assert await refused(service, "a", "put", "key", bytes(91)) == BYTES
    await call(service, "a", "put", "key", bytes(90))  # in place of itself
    await call(service, "b", "put", "key", bytes(100))
    await call(service, "a", "delete", "key")
    await call(service, "a", "put", "other", bytes(90))


async def test_objects_are_counted(make: Make) -> None:
    service = make(Quota(Limit(count=2)))
    await call(service, "a", "put", "1", b"")
    await call(service, "a", "put", "2", b"")
    assert await refused(service, "a", "put", "3", b"") == OBJECTS
    await call(service, "a", "put", "2", b"more")
    await call(service, "a", "delete", ["1"])
    await call(service, "a", "put", "3", b"")


async def test_a_put_whose_conditions_do_not_hold_gives_its_room_back(make: Make) -> None:
    service = make(Quota(Limit(100)))
    await call(service, "a", "put", "k", bytes(50))
    for _ in range(2):
        options = {"onlyIf": {"etagMatches": "no such etag"}}
        assert await call(service, "a", "put", "k", bytes(50), options) is None
        with pytest.raises(BindingError, match="10037"):
            await call(service, "a", "put", "j", bytes(50), {"md5": bytes(16)})
    await call(service, "a", "put", "j", bytes(50))


async def test_all_buckets_of_the_account_count_together(make: Make) -> None:
    service = make(Quota(account=Limit(100)))
    await call(service, "a", "put", "k", bytes(60))
    assert await refused(service, "b", "put", "k", bytes(41)) == ACCOUNT_BYTES
    await call(service, "b", "put", "k", bytes(40))
    assert not await service.delete_if_empty("a")
    assert await refused(service, "b", "put", "l", bytes(1)) == ACCOUNT_BYTES
    await service.delete("a")
    await call(service, "b", "put", "l", bytes(60))
    await service.aclose()


@pytest.mark.parametrize("bucket", ["a", "b"])
async def test_an_upload_in_progress_counts(make: Make, bucket: str) -> None:
    service = make(Quota(Limit(100_000), Limit(100_000)))
    slow = Slow(bytes(80_000))
    upload = asyncio.create_task(call(service, "a", "put", "slow", slow))
    await slow.asked.wait()
    assert (await refused(service, bucket, "put", "k", bytes(20_001))).startswith("Your proposed upload exceeds")
    upload.cancel()
    await asyncio.wait([upload])
    await call(service, bucket, "put", "k", bytes(100_000))
    await service.aclose()


async def test_of_two_writers_one_gets_the_last_byte(make: Make) -> None:
    service = make(Quota(account=Limit(100_000)))
    bodies = [Slow(bytes(50_001)), Slow(bytes(50_001))]
    puts = [asyncio.create_task(call(service, name, "put", "k", body)) for name, body in zip("ab", bodies, strict=True)]
    for body in bodies:
        body.gate.set()
    ended = await asyncio.gather(*puts, return_exceptions=True)
    assert sorted(isinstance(each, BindingError) for each in ended) == [False, True]
    await service.aclose()


async def test_a_deletion_during_a_replacement_does_not_make_room_twice(make: Make) -> None:
    service = make(Quota(Limit(100_000)))
    await call(service, "a", "put", "k", bytes(90_000))
    slow = Slow(bytes(90_000))
    replacement = asyncio.create_task(call(service, "a", "put", "k", slow))
    await slow.asked.wait()
    await call(service, "a", "delete", "k")
    assert await refused(service, "a", "put", "j", bytes(10_001)) == BYTES
    slow.gate.set()
    await replacement
    await call(service, "a", "put", "j", bytes(10_000))


async def test_a_body_of_unknown_length_stops_where_there_is_no_more_room(make: Make) -> None:
    service = make(Quota(Limit(100_000)))

    class Endless(BytesStream):
        def __init__(self) -> None:
            super().__init__(b"")
            self.length = None
            self.given = 0

        async def read(self, size_max: int) -> bytes:
            await asyncio.sleep(0)
            self.given += 1_000
            return bytes(1_000)

    endless = Endless()
    with pytest.raises(BindingError) as caught:
        await service.bucket("a").put("k", endless, PutOptions(), any_length=True)
    assert caught.value.message == f"put: {BYTES}"
    assert endless.given == 101_000
    assert await call(service, "a", "head", "k") is None


async def test_parts_of_an_unfinished_upload_count_and_the_object_made_of_them_not_again(make: Make) -> None:
    service = make(Quota(Limit(2 * PART_BYTES_MIN, 1)))
    upload = (await call(service, "a", "createMultipartUpload", "k"))["uploadId"]
    first = await call(service, "a", "uploadPart", "k", upload, 1, bytes(PART_BYTES_MIN))
    assert await refused(service, "a", "uploadPart", "k", upload, 2, bytes(PART_BYTES_MIN + 1)) == BYTES
    assert await refused(service, "a", "put", "j", bytes(PART_BYTES_MIN + 1)) == BYTES
    second = await call(service, "a", "uploadPart", "k", upload, 2, bytes(PART_BYTES_MIN))
    first = await call(service, "a", "uploadPart", "k", upload, 1, bytes(PART_BYTES_MIN))  # in place of itself
    await call(service, "a", "put", "j", b"")
    assert await refused(service, "a", "completeMultipartUpload", "k", upload, [first, second]) == OBJECTS
    await call(service, "a", "delete", "j")
    made = await call(service, "a", "completeMultipartUpload", "k", upload, [first, second])
    assert made["size"] == 2 * PART_BYTES_MIN
    await call(service, "a", "delete", "k")
    upload = (await call(service, "a", "createMultipartUpload", "k"))["uploadId"]
    await call(service, "a", "uploadPart", "k", upload, 1, bytes(2 * PART_BYTES_MIN))
    await call(service, "a", "abortMultipartUpload", "k", upload)
    await call(service, "a", "put", "j", bytes(PART_BYTES_MIN))


async def test_an_object_under_a_customers_key_counts_as_its_owner_sees_it(make: Make) -> None:
    service = make(Quota(Limit(100_000)))
    options = {"ssecKey": "ab" * 32}
    assert await refused(service, "a", "put", "k", bytes(100_001), options) == BYTES
    await call(service, "a", "put", "k", bytes(100_000), options)
    assert (await service.bucket("a").usage()).bytes == 100_000


async def test_the_total_is_known_after_an_end_and_a_restore(tmp_path: Path) -> None:
    settings = ServiceSettings(tmp_path, quotas={"r2": Quota(account=Limit(100))})
    service = SERVICE(settings)
    await call(service, "a", "put", "k", bytes(60))
    await service.aclose()
    service = SERVICE(settings)
    assert await refused(service, "b", "put", "k", bytes(41)) == ACCOUNT_BYTES
    await service.aclose()
    (tmp_path / "r2.totals").unlink()  # as after a restore
    service = SERVICE(settings)
    assert await refused(service, "b", "put", "k", bytes(41)) == ACCOUNT_BYTES
    await call(service, "b", "put", "k", bytes(40))
    await service.aclose()
