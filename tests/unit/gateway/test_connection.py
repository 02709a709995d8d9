"""HTTP/1.1 whichever way its bytes are cut: the same requests, in order, and an end for what is none."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry.gateway.connection import Connection
from tenantry.gateway.exchange import Exchange
from tenantry.gateway.request import BadRequest, read_request
from tenantry.gateway.server import GatewayServer
from tenantry.gateway.stats import RequestStats


class _Gateway:
    """Answers each request in a later turn, as a Worker would, with what it was."""

    is_draining = False

    def __init__(self, loop: asyncio.AbstractEventLoop, body_bytes_max: int | None) -> None:
        self._loop = loop
        self._body_bytes_max = body_bytes_max
        self.requests = RequestStats()
        self.asked: list[tuple[str, bytes, bytes]] = []

    def read(self, exchange: Exchange) -> None:
        exchange.request = read_request(exchange.head)
        if self._body_bytes_max is not None and exchange.body is not None:
            exchange.body.limit(self._body_bytes_max, lambda: self.refuse(exchange, BadRequest(413, "")))

    def serve(self, exchange: Exchange) -> None:
        if exchange.body is None:
            self._loop.call_soon(self._answer, exchange, exchange.inline_body)
        else:
            exchange.serving = self._loop.create_task(self._serve(exchange))

    async def _serve(self, exchange: Exchange) -> None:
        body = b""
        assert exchange.body is not None
        try:
            while chunk := await exchange.body.read(997):
                body += chunk
        except Exception:
            exchange.respond(500, b"", b"")
            return
        self._answer(exchange, body)

    def _answer(self, exchange: Exchange, body: bytes) -> None:
        if not exchange.over:
            self.asked.append((exchange.head.method, exchange.head.target, body))
            exchange.respond(200, b"", b"%d" % len(self.asked))

    def refuse(self, exchange: Exchange, error: BadRequest) -> None:
        exchange.respond(error.status, b"", b"")


class _Transport(asyncio.Transport):
    def __init__(self, protocol: Connection) -> None:
        super().__init__()
        self._protocol = protocol
        self.sent = b""
        self.closed = False
        self.reading = True
        self.ended = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        assert not self.closed
        assert not self.ended
        self.sent += bytes(data)

    def write_eof(self) -> None:
        self.ended = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close


async def _served(pieces: list[bytes], body_bytes_max: int | None = None) -> tuple[_Gateway, _Transport]:
    loop = asyncio.get_running_loop()
    gateway = _Gateway(loop, body_bytes_max)
    connection = Connection(GatewayServer(gateway))  # type: ignore[arg-type]  # a gateway that has no host
    transport = _Transport(connection)
    connection.connection_made(transport)
    for piece in pieces:
        for _ in range(1000):
            if transport.reading or transport.closed:
                break
            await asyncio.sleep(0)
        if transport.closed:
            break
        assert transport.reading, "it stopped reading for good"
        connection.data_received(piece)
    for _ in range(1000):
        await asyncio.sleep(0)
    transport.close()
    await asyncio.sleep(0)
    assert gateway.requests.in_flight == 0
    return gateway, transport


def _cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(bounds) if start < end]


_methods = st.sampled_from(["GET", "POST", "PUT", "DELETE"])
_targets = st.lists(st.sampled_from([b"a", b"/", b"%20", b"?", b"="]), max_size=6).map(
    lambda parts: b"/" + b"".join(parts)
)
_bodies = st.integers(0, 200).map(lambda size: bytes(range(size)) * (1 + size % 7))


@st.composite
def _requests(draw: st.DrawFn) -> tuple[bytes, tuple[str, bytes, bytes]]:
    method, body = draw(_methods), draw(_bodies)
    target = draw(_targets)
    head = f"{method} ".encode() + target + b" HTTP/1.1\r\nHost: h\r\nX: " + b"y" * draw(st.integers(0, 40)) + b"\r\n"
    if draw(st.booleans()):
        sizes = draw(st.lists(st.integers(1, 50), max_size=8))
        wire, rest = b"", body
        for size in sizes:
            chunk, rest = rest[:size], rest[size:]
            wire += b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunk else b""
        wire += b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b""
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + wire + b"0\r\n\r\n", (method, target, body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body, (method, target, body)


@settings(deadline=None, max_examples=50)
@given(st.lists(_requests(), min_size=1, max_size=6), st.lists(st.integers(0, 5000), max_size=12))
def test_requests_are_the_same_however_they_are_cut(
    requests: list[tuple[bytes, tuple[str, bytes, bytes]]], places: list[int]
) -> None:
    gateway, transport = asyncio.run(_served(_cut(b"".join(wire for wire, _ in requests), places)))
    assert gateway.asked == [expected for _, expected in requests]
    assert transport.sent.count(b"HTTP/1.1 200 ") == len(requests)
    assert gateway.requests.by_class == [0, 0, len(requests), 0, 0, 0]


@pytest.mark.parametrize("last", [1, 60_000, 250_000])
async def test_the_end_of_a_long_body_is_not_taken_for_a_head(last: int) -> None:
    head = b"POST /long HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % (500_000 + last)
    following = b"GET /next HTTP/1.1\r\nhost: h\r\n\r\n"
    gateway, _ = await _served([head, bytes(250_000), bytes(250_000), bytes(last), following] * 3)
    assert [(target, len(body)) for _, target, body in gateway.asked] == [(b"/long", 500_000 + last), (b"/next", 0)] * 3


async def test_nothing_behind_a_body_that_became_too_large_is_a_request() -> None:
    head = b"POST /large HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    rest = b"14\r\n" + bytes(20) + b"\r\n0\r\n\r\nGET /behind HTTP/1.1\r\nhost: h\r\n\r\n"
    gateway, transport = await _served([head, rest], body_bytes_max=10)
    assert transport.sent.startswith(b"HTTP/1.1 413 ")
    assert transport.sent.count(b"HTTP/1.1 ") == 1
    assert gateway.asked == []


@pytest.mark.parametrize("method", ["FROBNICATE", "get", "PRI", "M-SEARCH", "PURGE", "x" * 64])
async def test_any_token_is_a_method(method: str) -> None:
    gateway, _ = await _served([f"{method} / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\nab".encode()] * 2)
    assert gateway.asked == [(method, b"/", b"ab")] * 2


_PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"HEAD / HTTP/1.0\r\n",
        b"Host: h\r\n",
        b"\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 70000\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"hello",
        b"\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
)


@settings(deadline=None, max_examples=50)
@given(st.lists(_PIECES | st.binary(max_size=20), max_size=30), st.lists(st.integers(0, 5000), max_size=5))
def test_no_bytes_break_a_connection(pieces: list[bytes], places: list[int]) -> None:
    """What is asked, and what a client is told, hangs on the bytes alone; and nothing raises."""
    whole = b"".join(pieces)
    first = asyncio.run(_served(_cut(whole, places)))[0].asked
    again = asyncio.run(_served(_cut(whole, [])))[0].asked
    assert first == again
