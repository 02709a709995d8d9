"""Nothing is lost and nothing is counted twice, however many requests there are at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Platform


async def test_a_hundred_uploads_at_once(platform: Platform, name: str) -> None:
    async with platform.async_client("user1") as client:
        before = (await client.get("/stats")).json()
        uploads = [
            client.post(
                "/files",
                data={"key": f"{name}-{number}"},
                files={"file": ("a.bin", bytes([number]) * (number + 1), "application/x-test")},
            )
            for number in range(100)
        ]
        for number, response in enumerate(await asyncio.gather(*uploads)):
            assert response.json() == {"success": True, "key": f"{name}-{number}", "size": number + 1}

        after = (await client.get("/stats")).json()
        assert after["files"]["count"] == before["files"]["count"] + 100
        assert after["files"]["totalSize"] == before["files"]["totalSize"] + 5050
        assert after["activity"]["totalOperations"] == before["activity"]["totalOperations"] + 100
        listed = {file["key"] for file in (await client.get("/files")).json()["files"]}
        assert {f"{name}-{number}" for number in range(100)} <= listed
        for number in range(100):
            response = await client.get("/files", params={"key": f"{name}-{number}"})
            assert response.content == bytes([number]) * (number + 1)


async def test_a_thousand_sets_at_once(platform: Platform, name: str) -> None:
    """More keys than one page of a listing has, too. By aiohttp: httpx is slow with a thousand connections."""
    async with platform.async_client("user1") as client, platform.crowd("user1") as crowd:
        (await client.post("/data", json={"key": name, "value": None})).raise_for_status()
        before = (await client.get("/stats")).json()

        async def put(number: int) -> None:
            key = f"{name}-{number}"
            async with crowd.post("/data", json={"key": key, "value": number}) as response:
                assert await response.json() == {"success": True, "key": key}

        await asyncio.gather(*map(put, range(1000)))

        after = (await client.get("/stats")).json()
        assert after["storage"]["kvKeys"] == before["storage"]["kvKeys"] + 1000
        assert after["activity"]["totalOperations"] == before["activity"]["totalOperations"] + 1000
        listed = (await client.get("/data")).json()
        assert {name, *(f"{name}-{number}" for number in range(1000))} <= set(listed["keys"])
        assert listed["count"] == len(listed["keys"]) == after["storage"]["kvKeys"]


async def test_writes_to_one_key_leave_one_of_the_values(platform: Platform, name: str) -> None:
    async with platform.async_client("user2") as client:
        before = (await client.get("/stats")).json()
        sets = [client.post("/data", json={"key": name, "value": [number] * 100}) for number in range(100)]
        for response in await asyncio.gather(*sets):
            assert response.status_code == 200, response.text

        value = (await client.get("/data", params={"key": name})).json()["value"]
        assert value == [value[0]] * 100
        after = (await client.get("/stats")).json()
        assert after["storage"]["kvKeys"] == before["storage"]["kvKeys"] + 1
        assert after["activity"]["totalOperations"] == before["activity"]["totalOperations"] + 100


@pytest.mark.parametrize("drop", ["DROP TABLE platform_activity", "DELETE FROM platform_activity"])
async def test_the_count_begins_at_zero_when_its_table_is_gone(platform: Platform, name: str, drop: str) -> None:
    """The customer may do that. The operations that come next, all at once, make the table anew."""
    async with platform.async_client("test-user") as client:
        (await client.post("/data", json={"key": name, "value": 1})).raise_for_status()
        (await client.post("/query", json={"sql": drop})).raise_for_status()
        assert (await client.get("/stats")).json()["activity"] == {"totalOperations": 0, "lastActivity": None}

        for response in await asyncio.gather(
            *(client.post("/data", json={"key": name, "value": number}) for number in range(50))
        ):
            response.raise_for_status()
        assert (await client.get("/stats")).json()["activity"]["totalOperations"] == 50
