"""kill -9 of everything, and of one customer's process."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from conftest import Platform

# Some 30 milliseconds of work in the customer's D1, so that requests are in flight when a process is killed.
SLOW_SQL = (
    "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 100000) SELECT max(n) FROM count"
)
USERS = ("user1", "user2", "test-user")
WORKERS = ("customer-worker-1", "customer-worker-2", "customer-worker-test")


def test_everything_is_there_after_kill_9_between_two_requests(own_platform: Platform) -> None:
    def restart() -> list[tuple[str, httpx.Client]]:
        own_platform.kill()
        own_platform.start()
        return [(user, own_platform.client(user)) for user in USERS[:2]]

    for user, client in restart():
        client.post("/data", json={"key": "kept", "value": {"of": user}}).raise_for_status()
        client.post("/data", json={"key": "dropped", "value": 1}).raise_for_status()
        client.post("/files", data={"key": "kept"}, files={"file": ("a", user.encode(), "text/x-a")}).raise_for_status()
        client.post("/query", json={"sql": "CREATE TABLE t (word TEXT)"}).raise_for_status()
        client.post("/query", json={"sql": "INSERT INTO t VALUES (?)", "params": [user]}).raise_for_status()
        client.close()
    for _, client in restart():
        client.delete("/data", params={"key": "dropped"}).raise_for_status()
        client.close()
    for user, client in restart():
        assert client.get("/data").json() == {"keys": ["kept"], "count": 1}
        assert client.get("/data", params={"key": "kept"}).json()["value"] == {"of": user}
        file = client.get("/files", params={"key": "kept"})
        assert (file.text, file.headers["content-type"]) == (user, "text/x-a")
        rows = client.post("/query", json={"sql": "SELECT word FROM t"}).json()["results"]
        assert rows == [{"word": user}]
        stats = client.get("/stats").json()
        assert stats["activity"]["totalOperations"] == 4
        assert stats["storage"] == {"kvKeys": 1, "r2Objects": 1}
        client.close()


async def test_what_was_acknowledged_before_kill_9_is_there_after_it(own_platform: Platform) -> None:
    own_platform.start()
    acknowledged_keys: list[str] = []
    acknowledged_files: list[str] = []
    sent = 0

    async def write(client: httpx.AsyncClient, writer: int) -> None:
        nonlocal sent
        for number in range(10_000):
            key = f"{writer}-{number}"
            sent += 2
            response = await client.post("/data", json={"key": key, "value": key})
            assert response.status_code == 200, response.text
            acknowledged_keys.append(key)
            response = await client.post("/files", data={"key": key}, files={"file": ("a", key.encode(), "text/plain")})
            assert response.status_code == 200, response.text
            acknowledged_files.append(key)

    async def kill_when_busy() -> None:
        while len(acknowledged_files) < 100:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(own_platform.kill)

    async with own_platform.async_client("user1") as client:
        writers = [asyncio.create_task(write(client, writer)) for writer in range(8)]
        await kill_when_busy()
        for outcome in await asyncio.gather(*writers, return_exceptions=True):
            assert isinstance(outcome, httpx.TransportError), outcome

    own_platform.start()
    async with own_platform.async_client("user1") as client:
        keys = set((await client.get("/data")).json()["keys"])
        files = (await client.get("/files")).json()
        assert set(acknowledged_keys) <= keys
        assert set(acknowledged_files) <= {file["key"] for file in files["files"]}
        for key in acknowledged_files[-20:]:
            assert (await client.get("/files", params={"key": key})).text == key
            assert (await client.get("/data", params={"key": key})).json()["value"] == key
        stats = (await client.get("/stats")).json()
        assert stats["storage"] == {"kvKeys": len(keys), "r2Objects": files["count"]}
        operations = stats["activity"]["totalOperations"]
        assert len(acknowledged_keys) + len(acknowledged_files) <= operations <= sent


async def test_kill_9_of_one_customers_process_fails_only_that_customers_requests(platform: Platform) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = {user: await stack.enter_async_context(platform.async_client(user)) for user in USERS}
        for client in clients.values():
            (await client.get("/stats")).raise_for_status()

        async def query(user: str) -> tuple[str, httpx.Response]:
            return user, await clients[user].post("/query", json={"sql": SLOW_SQL})

        in_flight = [asyncio.create_task(query(USERS[number % 3])) for number in range(201)]
        await platform.wait_busy(dict.fromkeys(WORKERS, 10))
        await asyncio.to_thread(platform.kill_workers, "customer-worker-1")
        failed = dict.fromkeys(USERS, 0)
        for user, response in await asyncio.gather(*in_flight):
            if response.status_code != 200:
                assert response.status_code in (500, 503), response.text
                assert "error" in response.json()
                assert "Traceback" not in response.text
                failed[user] += 1
        assert failed["user1"] > 0  # some of the ten may have been answered by then
        assert failed == {"user1": failed["user1"], "user2": 0, "test-user": 0}

        for client in clients.values():
            response = await client.post("/data", json={"key": "after", "value": 1})
            assert response.status_code == 200, response.text


async def test_a_killed_process_is_replaced_for_the_next_request(platform: Platform, name: str) -> None:
    async with platform.async_client("user1") as client:
        (await client.post("/data", json={"key": name, "value": 1})).raise_for_status()
        killed = await asyncio.to_thread(platform.kill_workers, "customer-worker-1")
        assert killed > 0
        response = await client.get("/data", params={"key": name})
        assert (response.status_code, response.json()["value"]) == (200, 1)


def test_ctrl_c_ends_it_in_order(own_platform: Platform) -> None:
    own_platform.start()
    with own_platform.client("user1") as client:
        client.post("/data", json={"key": "a", "value": 1}).raise_for_status()
    assert own_platform.stop() in (0, 130)
    assert "Traceback" not in own_platform.log_text()
