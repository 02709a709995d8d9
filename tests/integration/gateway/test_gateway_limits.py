"""What a client is told when a limit was reached."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tenantry.config.plans import Plan, Plans

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOST_OPTIONS = {
    "plans": Plans(
        Plan(concurrent_invocations=1, queued_invocations=1, wall_seconds=3, memory_mib=48, startup_cpu_ms=300)
    )
}
GATEWAY_OPTIONS = {"body_bytes_max": 100_000}

WORKER = """
    import asyncio, time
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.rpartition("/")[2]
            print("begin", path)
            if path == "wait":
                await asyncio.Event().wait()
            if path == "grow":
                kept = []
                while True:
                    kept.append(b"x" * 1_000_000)
                    time.sleep(0.001)  # no faster than the host looks: the sandbox's own bound would come first
            if path == "size":
                size = 0
                async for chunk in request.body:
                    size += len(chunk)
                return Response(str(size))
            if path == "echo":
                return Response(request.body)
            return Response("fine")
"""


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def test_a_body_that_says_it_is_too_large_reaches_no_worker(site: Any) -> None:
    site.deploy(WORKER)
    reply = await site.send(b"POST /size HTTP/1.1\r\nhost: h\r\ncontent-length: 100001\r\n\r\n")
    assert (reply.status, reply.body) == (413, b"The request's body is too large.\n")
    assert not any("begin size" in message for _, message in site.said)
    reply = await site.send(b"POST /size HTTP/1.1\r\nhost: h\r\ncontent-length: 100000\r\n\r\n" + bytes(100_000))
    assert (reply.status, reply.body) == (200, b"100000")


async def test_a_body_that_becomes_too_large_is_refused_under_way(site: Any) -> None:
    site.deploy(WORKER)
    head = b"POST /size HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    reply = await site.send(head + chunk(bytes(50_000)) * 2 + b"0\r\n\r\n")
    assert (reply.status, reply.body) == (200, b"100000")
    reply = await site.send(head + chunk(bytes(50_000)) * 3)
    assert reply.status == 413
    reply = await site.send(head.replace(b"/size", b"/fine") + chunk(b"x") + b"0\r\n\r\n")
    assert (reply.status, reply.body) == (200, b"fine")


async def test_an_answer_that_has_begun_breaks_off_with_the_body_that_it_is_made_of(site: Any) -> None:
    site.deploy(WORKER)
    connection = await site.connect()
    await connection.send(
        b"POST /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"x" * 90_000)
    )
    status, _ = await connection.head()
    assert status == 200
    await connection.send(chunk(bytes(20_000)))
    async with asyncio.timeout(20):
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await connection.reader.readuntil(b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "status", "text", "log"),
    [
        ("/wait", 524, b"error code: 1102\n", "exceeded its time limit of 3 s"),
        ("/grow", 503, b"error code: 1102\n", "exceeded memory limit: more than 48 MiB"),
    ],
)
async def test_limits_of_a_request(site: Any, path: str, status: int, text: bytes, log: str) -> None:
    site.deploy(WORKER)
    reply = await site.get(path)
    assert (reply.status, reply.body) == (status, text)
    await site.wait_log(log)
    assert (await site.get("/")).body == b"fine"


async def test_an_import_without_end(site: Any) -> None:
    site.deploy("while True: pass")
    reply = await site.get("/")
    assert (reply.status, reply.body) == (503, b"error code: 1101\n")
    await site.wait_log("start-up limit")


async def test_one_too_many_is_told_when_to_come_again(site: Any) -> None:
    site.deploy(WORKER)
    connection = await site.connect()
    await connection.send(b"GET /wait HTTP/1.1\r\nhost: h\r\n\r\n")
    await site.wait_log("begin wait")
    behind = asyncio.create_task(site.get("/"))
    async with asyncio.timeout(20):
        while site.host.find(None, "front").admission.queued == 0:
            await asyncio.sleep(0)
    reply = await site.get("/")
    assert (reply.status, reply.body) == (429, b"error code: 1015\n")
    assert reply.values("retry-after") == ["1"]
    assert (await connection.reply()).status == 524
    assert (await behind).body == b"fine"
