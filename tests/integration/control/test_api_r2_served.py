"""R2 over REST on a real socket: Cloudflare's own SDK, clients that leave, bodies larger than what is held of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cloudflare import AsyncCloudflare, BadRequestError, Cloudflare, NotFoundError

from tenantry.cli.compose import _listening

MIB = 1024 * 1024
LEAST = 8192


@pytest.fixture
async def url(control: Any) -> AsyncIterator[str]:
    async with _listening(control.app, "127.0.0.1", 0, 5) as port:
        yield f"http://127.0.0.1:{port}/client/v4"


async def test_the_sdk_does_all_it_can(control: Any, url: str) -> None:
    account = {"account_id": control.account}
    bucket = {**account, "bucket_name": "files"}
    async with AsyncCloudflare(api_token=control.token, base_url=url, max_retries=0) as client:
        buckets = client.r2.buckets
        made = await buckets.create(name="files", storage_class="InfrequentAccess", **account)
        assert (made.name, made.storage_class) == ("files", "InfrequentAccess")
        with pytest.raises(BadRequestError, match="already exists"):
            await buckets.create(name="files", **account)
        assert [one.name for one in (await buckets.list(**account)).buckets or []] == ["files"]
        changed = await buckets.edit("files", storage_class="Standard", **account)
        assert changed.storage_class == "Standard"
        assert (await buckets.get("files", **account)).creation_date == made.creation_date

        for number in range(5):
            stored = await buckets.objects.upload(f"dir/k {number}", b"x" * number, **bucket)
            assert (stored.key, stored.size, stored.etag) == (
                f"dir/k {number}",
                str(number),
                hashlib.md5(b"x" * number).hexdigest(),
            )
        seen = [one.key async for one in buckets.objects.list(per_page=2, **bucket)]
        assert seen == [f"dir/k {number}" for number in range(5)]
        got = await buckets.objects.get("dir/k 4", **bucket)
        assert await got.read() == b"xxxx"
        with pytest.raises(NotFoundError):
            await buckets.objects.get("none", **bucket)
        with pytest.raises(BadRequestError, match="not empty"):
            await buckets.delete("files", **account)
        for key in seen:
            assert (await buckets.objects.delete(key, **bucket)).key == key

        rules: Any = [{"allowed": {"methods": ["GET"], "origins": ["https://example.com"]}, "maxAgeSeconds": 5}]
        await buckets.cors.update("files", rules=rules, **account)
        policy = await buckets.cors.get("files", **account)
        assert [one.max_age_seconds for one in policy.rules or []] == [5]
        await buckets.cors.delete("files", **account)
        lifecycle: Any = [
            {
                "id": "a",
                "enabled": True,
                "conditions": {"prefix": "logs/"},
                "deleteObjectsTransition": {"condition": {"type": "Age", "maxAge": 60}},
            }
        ]
        await buckets.lifecycle.update("files", rules=lifecycle, **account)
        (rule,) = (await buckets.lifecycle.get("files", **account)).rules or []
        assert (rule.id, rule.conditions.prefix) == ("a", "logs/")
        await buckets.delete("files", **account)
        with pytest.raises(NotFoundError):
            await buckets.get("files", **account)


async def test_the_sdk_without_async_uploads_a_file(control: Any, url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(3 * MIB))
    bucket = {"account_id": control.account, "bucket_name": "files"}

    def use() -> bytes:
        with Cloudflare(api_token=control.token, base_url=url, max_retries=0) as client:
            client.r2.buckets.create(name="files", account_id=control.account)
            client.r2.buckets.objects.upload("k", tmp_path / "file", **bucket)
            with client.r2.buckets.objects.with_streaming_response.get("k", **bucket) as response:
                return b"".join(response.iter_bytes())

    assert await asyncio.to_thread(use) == (tmp_path / "file").read_bytes()


async def test_a_client_that_leaves_leaves_nothing_behind(control: Any, url: str) -> None:
    """Half an upload is never an object and no file; half a download gives its file back."""
    await control.call("POST", "/r2/buckets", json={"name": "files"})
    await control.call("PUT", "/r2/buckets/files/objects/big", content=bytes(32 * MIB))
    folder = control.data / "accounts" / control.account / "r2" / "files"
    (body,) = (path for path in (folder / "bodies").rglob("*") if path.is_file())

    async def half() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield bytes(MIB)
        raise ConnectionError("the client left")

    headers = {"Authorization": f"Bearer {control.token}"}
    path = f"{url}/accounts/{control.account}/r2/buckets/files/objects"
    async with httpx.AsyncClient(headers=headers) as client:
        with pytest.raises(ConnectionError):
            await client.put(f"{path}/half", content=half())
        async with client.stream("GET", f"{path}/big") as response:
            async for _ in response.aiter_bytes(LEAST):
                break
    async with asyncio.timeout(30):
        while any((folder / "staging").iterdir()):
            await asyncio.sleep(0.01)
        await control.call("DELETE", "/r2/buckets/files/objects/big")
        while body.exists():
            await asyncio.sleep(0.01)
    assert (await control.call("GET", "/r2/buckets/files/objects")).json()["result"] == []
