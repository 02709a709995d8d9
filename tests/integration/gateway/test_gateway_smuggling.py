"""Two readings of one request: whatever the bytes, a Worker sees what one strict reading finds, or nothing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="module")

COUNTS = """
    from workers import Response, WorkerEntrypoint

    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            print(f"saw {request.method} {request.url}")
            await request.text()
            return Response("fine")
"""

HOST = b"host: example.com\r\n"
INNER = b"GET /inner HTTP/1.1\r\nhost: example.com\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"

assert len(INNER) == 42

AMBIGUOUS = {
    "an encoding with a blank before its colon": (
        b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding : chunked\r\ncontent-length: 42\r\n\r\n" + INNER
    ),
    "an encoding that is folded": (
        b"POST / HTTP/1.1\r\n" + HOST + b"x: a\r\n transfer-encoding: chunked\r\ncontent-length: 42\r\n\r\n" + INNER
    ),
    "an encoding that is none": (
        b"POST / HTTP/1.1\r\n" + HOST + b"transfer-encoding: xchunked\r\ncontent-length: 42\r\n\r\n" + INNER
    ),
    "an encoding twice": b"POST / HTTP/1.1\r\n"
    + HOST
    + CHUNKED
    + b"transfer-encoding: identity\r\n\r\n0\r\n\r\n"
    + INNER,
    "a length with a plus": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: +0\r\n\r\n" + INNER,
    "a length list": b"POST / HTTP/1.1\r\n" + HOST + b"content-length: 0, 42\r\n\r\n" + INNER,
    "a NUL in a name": b"GET / HTTP/1.1\r\n" + HOST + b"x\0y: a\r\n\r\n" + INNER,
    "a NUL in a value": b"GET / HTTP/1.1\r\n" + HOST + b"x: a\0b\r\n\r\n" + INNER,
    "chunks before there were any": b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n" + INNER,
    "a fragment": b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n" + INNER,
    "a version that is none": b"GET / HTTP/1.2.3\r\n" + HOST + b"\r\n" + INNER,
}


BROKEN = {
    "a chunk that is too large to count": b"f" * 17 + b"\r\n",
    "a negative chunk": b"-1\r\n",
    "a chunk whose size is no number": b"0x2a\r\n",
    "a chunk that goes on beyond its size": b"1\r\nxx\r\n",
    "an extension without end": b"1;" + b"x" * 1_000_000,
    "trailers without end": b"0\r\n" + b"x: y\r\n" * 200_000,
}


async def answered(connection: Any) -> list[int]:
    """The status of each answer, until the connection is closed."""
    statuses = []
    with suppress(asyncio.IncompleteReadError, ConnectionResetError):
        while True:
            statuses.append((await connection.reply()).status)
    return statuses


def seen(site: Any) -> list[str]:
    return [message for _, message in site.said if message.startswith("saw")]


@pytest.mark.parametrize("request_bytes", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_what_could_be_read_in_two_ways_is_refused_with_all_that_follows(site: Any, request_bytes: bytes) -> None:
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(request_bytes)
    assert await answered(connection) == [400]
    assert seen(site) == []


@pytest.mark.parametrize("chunk", BROKEN.values(), ids=BROKEN.keys())
async def test_nothing_after_a_broken_chunk_is_a_request(site: Any, chunk: bytes) -> None:
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n" + chunk + INNER)
    (status,) = await answered(connection)
    assert status in (400, 500)  # the Worker may have been asked already, and its reading of the body failed
    assert not any("inner" in message for message in seen(site))


@pytest.mark.parametrize("framing", [b"content-length: 6\r\n" + CHUNKED, CHUNKED + b"content-length: 6\r\n"])
async def test_a_length_beside_chunks_is_refused(site: Any, framing: bytes) -> None:
    """RFC 9112, section 6.3, lets a server do so, and says why it should."""
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(b"POST /outer HTTP/1.1\r\n" + HOST + framing + b"\r\n3\r\nabc\r\n0\r\n\r\n")
    assert await answered(connection) == [400]
    assert seen(site) == []


async def test_requests_that_come_at_once_are_answered_in_order(site: Any) -> None:
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(b"".join(b"GET /%d HTTP/1.1\r\n%b\r\n" % (number, HOST) for number in range(20)))
    assert [(await connection.reply()).status for _ in range(20)] == [200] * 20
    assert seen(site) == [f"saw GET http://example.com/{number}" for number in range(20)]


async def test_a_client_that_asks_for_too_much_at_once_is_cut_off_behind_what_is_served(site: Any) -> None:
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(INNER * 1000)
    statuses = await answered(connection)
    assert 0 < len(statuses) < 1000
    assert set(statuses) <= {200, 400}


async def test_the_host_of_an_absolute_target_counts(site: Any) -> None:
    """RFC 9112, section 3.2.2."""
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(b"GET http://other.example/x?y HTTP/1.1\r\n" + HOST + b"\r\n")
    assert (await connection.reply()).status == 200
    assert seen(site) == ["saw GET http://other.example/x?y"]


async def test_an_upgrade_is_not_on_offer(site: Any) -> None:
    site.deploy(COUNTS)
    connection = await site.connect()
    head = b"GET /socket HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
    await connection.send(head + INNER)
    assert await answered(connection) == [200]
    assert seen(site) == ["saw GET http://example.com/socket"]


async def test_bare_line_feeds_are_no_way_in(site: Any) -> None:
    """RFC 9112, section 2.2, lets a server take them for line ends. Then they are that for the whole request."""
    site.deploy(COUNTS)
    connection = await site.connect()
    await connection.send(b"POST / HTTP/1.1\nhost: example.com\ncontent-length: 42\n\n" + INNER)
    reply = await connection.reply()
    assert reply.status in (200, 400)
    assert not any("inner" in message for message in seen(site))


async def test_clients_that_never_finish_a_request_hold_nobody_up(site: Any) -> None:
    site.deploy(COUNTS)
    halves = [await site.connect() for _ in range(200)]
    for number, half in enumerate(halves):
        await half.send(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx" if number % 2 else b"GET / HT")
    for _ in range(20):
        assert (await site.get()).status == 200
