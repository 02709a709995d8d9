"""`cloudflare_like`: as stale as Cloudflare may be and no staler, with a clock that the test turns."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tenantry.errors import BindingError
from tenantry.services import ServiceSettings
from tenantry.services.kv import KvService, MemoryEngine
from tenantry.services.kv.limits import EDGE_CACHE_BYTES_MAX, EDGE_PAGES_MAX, VALUE_BYTES_MAX
from tenantry.streams import read_all


class Rehearsal:
    """One namespace that is `cloudflare_like`, and its service."""

    def __init__(self, service: KvService, clock: list[float]) -> None:
        self.service = service
        self.clock = clock

    async def call(self, method: str, *args: Any) -> Any:
        result = await self.service.open("slow").call(method, list(args))
        return result if not hasattr(result, "aclose") else await read_all(result, 2**26)

    async def get(self, key: str, cache_ttl: int | None = None) -> Any:
        return await self.call("get", key, cache_ttl)

    async def put(self, key: str, value: bytes, ttl: int | None = None) -> None:
        """A write that is not the second within a second."""
        self.wait(1)
        await self.call("put", key, value, None, ttl)

    async def names(self, prefix: str = "") -> list[str]:
        return [key["name"] for key in json.loads(await self.call("list", prefix))["keys"]]

    def wait(self, seconds: float) -> None:
        self.clock[0] += seconds


@pytest.fixture
async def kv(tmp_path: Path) -> AsyncIterator[Rehearsal]:
    clock = [1_800_000_000.0]

    def of_resource(service: str, resource_id: str) -> Mapping[str, str]:
        assert service == "kv"
        return {"consistency": "cloudflare_like"} if resource_id == "slow" else {}

    settings = ServiceSettings(tmp_path, of_resource=of_resource)
    service = KvService(settings, engine=MemoryEngine(), clock=lambda: clock[0])
    yield Rehearsal(service, clock)
    await service.aclose()


async def test_a_key_that_was_not_read_lately_is_current(kv: Rehearsal) -> None:
    await kv.put("key", b"one")
    await kv.put("key", b"two")
    assert await kv.get("key") == b"two"


async def test_what_was_read_is_served_for_60_seconds_more(kv: Rehearsal) -> None:
    await kv.put("key", b"one")
    assert await kv.get("key") == b"one"
    read_at = kv.clock[0]
    await kv.put("key", b"two")
    kv.clock[0] = read_at + 59.9
    assert await kv.get("key") == b"one"
    assert await kv.call("getWithMetadata", "key") == [b"one", None]
    assert await kv.call("getMany", ["key"]) == [[b"one", None]]
    kv.clock[0] = read_at + 60
    assert await kv.get("key") == b"two"


async def test_that_nothing_was_there_is_served_for_60_seconds_too(kv: Rehearsal) -> None:
    assert await kv.get("key") is None
    await kv.put("key", b"value")
    assert await kv.get("key") is None
    kv.wait(60)
    assert await kv.get("key") == b"value"


async def test_a_deleted_key_is_still_seen_for_60_seconds(kv: Rehearsal) -> None:
    await kv.put("key", b"value")
    await kv.get("key")
    kv.wait(1)
    await kv.call("delete", "key")
    assert await kv.get("key") == b"value"
    kv.wait(60)
    assert await kv.get("key") is None


async def test_cache_ttl_is_how_old_an_answer_may_be(kv: Rehearsal) -> None:
    await kv.put("key", b"one")
    assert await kv.get("key", 3600) == b"one"
    await kv.put("key", b"two")
    kv.wait(100)
    assert await kv.get("key", 3600) == b"one"
    assert await kv.get("key") == b"two", "another reader may ask for a fresher one"
    await kv.put("key", b"three")
    kv.wait(30)
    assert await kv.get("key", 30) == b"three"


async def test_a_big_value_is_served_as_it_was(kv: Rehearsal) -> None:
    old, new = b"o" * 100_000, b"n" * 200_000
    await kv.put("key", old)
    assert await kv.get("key") == old
    await kv.put("key", new)
    assert await kv.get("key") == old
    assert await kv.get("key") == old
    kv.wait(60)
    assert await kv.get("key") == new


async def test_an_expired_entry_is_not_seen_from_memory_either(kv: Rehearsal) -> None:
    await kv.put("key", b"value", ttl=60)
    await kv.put("stays", b"value")
    kv.wait(30)
    assert await kv.get("key", 3600) == b"value"
    assert await kv.names() == ["key", "stays"]
    kv.wait(31)
    assert await kv.get("key", 3600) is None
    assert await kv.names() == ["stays"]


async def test_a_listing_is_served_for_60_seconds_too(kv: Rehearsal) -> None:
    await kv.put("a", b"")
    assert await kv.names() == ["a"]
    await kv.put("b", b"")
    assert await kv.names() == ["a"]
    assert await kv.names("b") == ["b"], "one with another prefix was not read before"
    kv.wait(60)
    assert await kv.names() == ["a", "b"]


async def test_pages_go_on_over_what_expired_meanwhile(kv: Rehearsal) -> None:
    await kv.put("a", b"", ttl=60)
    await kv.put("b", b"")
    await kv.put("c", b"")
    kv.wait(30)
    assert len(json.loads(await kv.call("list", None, 1))["keys"]) == 1
    kv.wait(40)
    page = json.loads(await kv.call("list", None, 1))
    assert [key["name"] for key in page["keys"]] == ["b"]
    page = json.loads(await kv.call("list", None, 1, page["cursor"]))
    assert [key["name"] for key in page["keys"]] == ["c"]


async def test_a_second_write_to_a_key_within_a_second_is_refused(kv: Rehearsal) -> None:
    await kv.put("key", b"one")
    kv.wait(0.999)
    with pytest.raises(BindingError) as put:
        await kv.call("put", "key", b"two")
    assert put.value.message == "KV PUT failed: 429 Too Many Requests"
    with pytest.raises(BindingError) as deleted:
        await kv.call("delete", "key")
    assert deleted.value.message == "KV DELETE failed: 429 Too Many Requests"
    await kv.call("put", "other", b"is another key")
    kv.wait(0.001)
    await kv.call("put", "key", b"three")
    kv.wait(60)
    assert await kv.get("key") == b"three"


async def test_a_write_that_is_wrong_is_no_write(kv: Rehearsal) -> None:
    with pytest.raises(BindingError, match="at least 60"):
        await kv.call("put", "key", b"", None, 59)
    await kv.call("put", "key", b"value")


async def test_what_it_remembers_is_bounded(kv: Rehearsal) -> None:
    value = b"x" * (VALUE_BYTES_MAX // 4)
    for index in range(8):
        await kv.put(f"big{index}", value)
        await kv.get(f"big{index}")
    for index in range(1000):
        await kv.get(f"absent{index}")
        await kv.names(str(index))
    edge = kv.service._edges["slow"]
    assert edge._seen_bytes <= EDGE_CACHE_BYTES_MAX
    assert edge._seen_bytes == sum(seen.size_bytes for seen in edge._seen.values())
    assert len(edge._pages) <= EDGE_PAGES_MAX
    assert len(edge._written) == 1, "only the last second's"


async def test_a_clock_that_is_set_back_makes_nothing_older_than_it_is(kv: Rehearsal) -> None:
    await kv.put("key", b"one")
    await kv.get("key")
    kv.wait(-1000)
    await kv.call("put", "key", b"two")
    assert await kv.get("key") == b"two"


async def test_other_namespaces_are_strong_as_ever(kv: Rehearsal) -> None:
    binding = kv.service.open("fast")
    for value in (b"one", b"two", b"three"):
        await binding.call("put", ["key", value])
        assert await binding.call("get", ["key"]) == value


async def test_a_deleted_namespace_is_not_served_from_memory(kv: Rehearsal) -> None:
    await kv.put("key", b"value")
    await kv.get("key")
    await kv.service.delete("slow")
    with pytest.raises(BindingError, match="404 namespace not found"):
        await kv.get("key")
