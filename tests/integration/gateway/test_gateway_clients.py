"""Clients that leave, that are slow, or that send what nobody wants: what the host is left with."""

from __future__ import annotations

import asyncio
from typing import Any

import psutil
import pytest

from tenantry.gateway import Gateway, listening
from tenantry.gateway.limits import READ_AHEAD_BYTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024

WORKER = """
    import asyncio
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.partition("?")[0]
            if path.endswith("/wait"):
                try:
                    print("waiting")
                    await asyncio.sleep(60)
                finally:
                    print("told to stop")
            if path.endswith("/unread"):
                await asyncio.sleep(1)
            if path.endswith("/later"):
                async def later():
                    print("later began")
                    for _ in range(20):
                        await self.env.KV.put("later", "x")
                        await asyncio.sleep(0.01)
                    print("later finished")
                self.ctx.waitUntil(later())
                await asyncio.sleep(60)
            if path.endswith("/endless"):
                async def endless():
                    try:
                        print("endless began")
                        while True:
                            yield bytes(65536)
                    finally:
                        print("endless closed")
                return Response(endless())
            if path.endswith("/form"):
                print("form began")
                form = await request.form_data()
                return Response(str(len(form["file"])))
            return Response("fine")
"""


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def idle(site: Any) -> bool:
    return all(process["in_flight"] == 0 for process in site.host.processes())


async def test_a_client_that_leaves_stops_the_worker(site: Any) -> None:
    site.deploy(WORKER)
    connection = await site.connect()
    await connection.send(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
    await site.wait_log("waiting")
    connection.close()
    await site.wait_log("told to stop")
    await until(lambda: idle(site))


async def test_a_client_that_leaves_an_upload_that_nobody_reads_stops_the_worker(site: Any) -> None:
    site.deploy(WORKER)
    connection = await site.connect()
    await connection.send(
        b"POST /wait HTTP/1.1\r\nhost: h\r\ncontent-length: 100000000\r\n\r\n" + bytes(READ_AHEAD_BYTES)
    )
    await site.wait_log("waiting")
    await connection.send(bytes(20_000))
    connection.close()
    await site.wait_log("told to stop")
    await until(lambda: idle(site))


async def test_what_was_given_to_wait_until_goes_on_when_the_client_leaves(site: Any) -> None:
    site.deploy(WORKER, {"KV": ("kv_namespace", {"namespace_id": "later"})})
    connection = await site.connect()
    await connection.send(b"GET /later HTTP/1.1\r\nhost: h\r\n\r\n")
    await site.wait_log("later began")
    connection.close()
    await site.wait_log("later finished")
    assert not any("cancel" in message for _, message in site.said)
    await until(lambda: idle(site))


@pytest.mark.parametrize("body", [b"", b"content-length: 100000000\r\n"], ids=["no body", "a body that nobody reads"])
async def test_a_client_that_leaves_during_the_response_ends_the_stream(site: Any, body: bytes) -> None:
    site.deploy(WORKER)
    connection = await site.connect()
    await connection.send(b"POST /endless HTTP/1.1\r\nhost: h\r\n" + body + b"\r\n")
    assert (await connection.head())[0] == 200
    await connection.reader.readexactly(100_000)
    connection.close()
    await site.wait_log("endless closed")
    await until(lambda: idle(site))


async def test_a_client_that_does_not_read_costs_no_memory(site: Any) -> None:
    site.deploy(WORKER)
    warm = await site.connect(65536)
    await warm.send(b"GET /endless HTTP/1.1\r\nhost: h\r\n\r\n")
    await warm.reader.readexactly(4 * MIB)
    warm.close()
    await site.wait_log("endless closed")
    before = psutil.Process().memory_info().rss
    slow = [await site.connect(65536) for _ in range(4)]
    for connection in slow:
        await connection.send(b"GET /endless HTTP/1.1\r\nhost: h\r\n\r\n")
        assert (await connection.head())[0] == 200
    for _ in range(20):
        assert (await site.get("/")).body == b"fine"
        await asyncio.sleep(0.02)
    assert psutil.Process().memory_info().rss - before < 40 * MIB
    for connection in slow:
        connection.close()
    await until(lambda: idle(site))


async def test_a_client_that_leaves_during_an_upload_leaves_no_file(site: Any) -> None:
    site.deploy(WORKER)
    spool = site.data / "spool"
    connection = await site.connect()
    await connection.send(
        b"POST /form HTTP/1.1\r\nhost: h\r\ncontent-length: 100000000\r\n"
        b"content-type: multipart/form-data; boundary=frontier\r\n\r\n"
        b'--frontier\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n' + bytes(4 * MIB)
    )
    await until(lambda: any(spool.iterdir()))
    connection.close()
    await until(lambda: not any(spool.iterdir()) and idle(site))


async def test_an_upload_that_nobody_reads_stays_with_the_client(site: Any) -> None:
    site.deploy(WORKER)
    before = psutil.Process().memory_info().rss
    connection = await site.connect()
    await connection.send(b"POST /unread HTTP/1.1\r\nhost: h\r\ncontent-length: 1000000000\r\n\r\n")
    sent = 0
    try:
        async with asyncio.timeout(0.7):
            while sent < 500 * MIB:
                await connection.send(bytes(MIB))
                sent += MIB
    except TimeoutError:
        pass
    assert sent < 64 * MIB
    assert psutil.Process().memory_info().rss - before < 32 * MIB
    connection.close()


async def test_what_is_wrong_with_the_host_itself_is_a_500_without_its_inside() -> None:
    class Broken:
        def try_fetch(self, *_: Any) -> Any:
            return None

        async def fetch(self, *_: Any) -> Any:
            raise RuntimeError("/a/secret/path")

    gateway = Gateway(Broken(), "front")  # type: ignore[arg-type]  # a host that is none
    async with listening(gateway, "127.0.0.1", 0, 10.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"secret" not in answer
