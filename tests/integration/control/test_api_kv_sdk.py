"""Cloudflare's own Python SDK on the KV of a running platform, over real HTTP: sync and async, pages and streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from cloudflare import AsyncCloudflare, BadRequestError, Cloudflare, NotFoundError, RateLimitError

from tenantry.cli.compose import RunningPlatform, running
from tenantry.config.kv import KvNamespaceSettings
from tenantry.config.platform import PlatformSettings

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS = ["a", "a/b", "a//b", "/a/", "a%2Fb", "a?b#c d+e", "é", "\U0001f600", "...", "k" * 512]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningPlatform]:
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    (data / "bundles").mkdir()
    kv = KvNamespaceSettings(titles={"slow": "cloudflare_like"})
    settings = PlatformSettings(data, "no-worker", port=0, control_port=0, s3_port=0, durability="process", kv=kv)
    async with running(settings) as platform:
        yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def client(served: RunningPlatform) -> AsyncIterator[AsyncCloudflare]:
    async with AsyncCloudflare(
        base_url=f"{served.control_url}/client/v4", api_token=served.admin_token, max_retries=0
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def namespace(served: RunningPlatform, client: AsyncCloudflare) -> AsyncIterator[dict[str, str]]:
    """A namespace of the test's own, as the arguments of every call."""
    made = await client.kv.namespaces.create(account_id=served.account_id, title=f"sdk {time.monotonic_ns()}")
    assert made is not None
    named = {"account_id": served.account_id, "namespace_id": made.id}
    yield named
    await client.kv.namespaces.delete(**named)


async def test_namespaces(served: RunningPlatform, client: AsyncCloudflare) -> None:
    account = served.account_id
    titles = [f"list {index:02}" for index in range(25)]
    made = [await client.kv.namespaces.create(account_id=account, title=title) for title in titles]

    listed = [each async for each in client.kv.namespaces.list(account_id=account, per_page=10, order="title")]
    assert [each.title for each in listed if each.title.startswith("list")] == titles

    renamed = await client.kv.namespaces.update(account_id=account, namespace_id=made[0].id, title="renamed")
    assert (renamed.id, renamed.title, renamed.supports_url_encoding) == (made[0].id, "renamed", True)
    got = await client.kv.namespaces.get(account_id=account, namespace_id=made[0].id)
    assert got.title == "renamed"
    with pytest.raises(BadRequestError) as taken:
        await client.kv.namespaces.create(account_id=account, title="renamed")
    assert taken.value.errors[0].code == 10014
    for each in made:
        assert await client.kv.namespaces.delete(account_id=account, namespace_id=each.id) is None
    with pytest.raises(NotFoundError) as gone:
        await client.kv.namespaces.get(account_id=account, namespace_id=made[0].id)
    assert gone.value.errors[0].code == 10013


@pytest.mark.parametrize("key", KEYS)
async def test_a_value_with_its_metadata(client: AsyncCloudflare, namespace: dict[str, str], key: str) -> None:
    value = bytes(range(256)) * 500
    await client.kv.namespaces.values.update(key, **namespace, value=value, metadata={"m": [1, "é"]}, expiration_ttl=90)

    got = await client.kv.namespaces.values.get(key, **namespace)
    assert await got.read() == value
    assert 0 < int(got.headers["expiration"]) - time.time() <= 91
    assert await client.kv.namespaces.metadata.get(key, **namespace) == {"m": [1, "é"]}
    await client.kv.namespaces.values.update(key, **namespace, value=b"")
    assert await (await client.kv.namespaces.values.get(key, **namespace)).read() == b""
    assert await client.kv.namespaces.metadata.get(key, **namespace) is None
    await client.kv.namespaces.values.delete(key, **namespace)
    with pytest.raises(NotFoundError) as absent:
        await client.kv.namespaces.values.get(key, **namespace)
    assert absent.value.errors[0].code == 10009


async def test_bulk_and_pages(client: AsyncCloudflare, namespace: dict[str, str]) -> None:
    pairs: list[Any] = [{"key": f"key{index:04}", "value": str(index)} for index in range(1205)]
    pairs[0] |= {"metadata": {"m": 1}, "base64": True, "value": "AP8="}
    done = await client.kv.namespaces.bulk_update(**namespace, body=pairs)
    assert (done.successful_key_count, done.unsuccessful_keys) == (1205, [])

    names = [key.name async for key in client.kv.namespaces.keys.list(**namespace, prefix="key0", limit=100)]
    assert names == [f"key{index:04}" for index in range(1000)]
    first = await client.kv.namespaces.keys.list(**namespace)
    assert len(first.result) == 1000
    assert first.result[0].metadata == {"m": 1}
    assert len([key async for key in first]) == 1205

    found = await client.kv.namespaces.bulk_get(**namespace, keys=["key0001", "absent"])
    assert found.values == {"key0001": "1", "absent": None}
    found = await client.kv.namespaces.bulk_get(**namespace, keys=["key0001"], type="json", with_metadata=True)
    assert found.values["key0001"].value == 1

    done = await client.kv.namespaces.bulk_delete(**namespace, body=[pair["key"] for pair in pairs])
    assert done.successful_key_count == 1205
    assert [key async for key in client.kv.namespaces.keys.list(**namespace)] == []


async def test_a_namespace_that_is_set_to_cloudflares_rules(served: RunningPlatform, client: AsyncCloudflare) -> None:
    made = await client.kv.namespaces.create(account_id=served.account_id, title="slow")
    named = {"account_id": served.account_id, "namespace_id": made.id}
    refusal: RateLimitError | None = None
    while refusal is None:
        # The clock is the machine's: who needed more than a second for two writes is not refused the second.
        try:
            await client.kv.namespaces.values.update("key", **named, value=b"value")
        except RateLimitError as error:
            refusal = error
    assert refusal.errors[0].code == 10022
    assert refusal.response.headers["retry-after"] == "1"
    assert await (await client.kv.namespaces.values.get("key", **named)).read() == b"value"


async def test_the_sync_client(served: RunningPlatform, namespace: dict[str, str]) -> None:
    def use() -> None:
        with Cloudflare(
            base_url=f"{served.control_url}/client/v4", api_token=served.admin_token, max_retries=0
        ) as client:
            kv = client.kv.namespaces
            kv.bulk_update(**namespace, body=[{"key": f"{index:03}", "value": "v"} for index in range(150)])
            kv.values.update("a/b c", **namespace, value=b"x" * 1_000_000)
            with kv.values.with_streaming_response.get("a/b c", **namespace) as response:
                assert sum(len(chunk) for chunk in response.iter_bytes()) == 1_000_000
            assert len([key.name for key in kv.keys.list(**namespace, limit=40)]) == 151
            assert namespace["namespace_id"] in [each.id for each in kv.list(account_id=served.account_id, per_page=1)]

    await asyncio.to_thread(use)


async def test_a_client_may_stop_reading_in_the_middle_of_a_value(
    client: AsyncCloudflare, namespace: dict[str, str]
) -> None:
    await client.kv.namespaces.values.update("big", **namespace, value=b"x" * 25 * 1024 * 1024)
    async with client.kv.namespaces.values.with_streaming_response.get("big", **namespace) as response:
        async for _ in response.iter_bytes(1000):
            break
    await client.kv.namespaces.values.update("big", **namespace, value=b"small")
    assert await (await client.kv.namespaces.values.get("big", **namespace)).read() == b"small"
