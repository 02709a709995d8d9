"""The proxy of a worker process, spoken to over real sockets: what it passes on, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from tenantry.config.egress import EgressPolicy
from tenantry.host.egress import EgressNetwork
from tenantry.host.egress import forward as forward_module
from tenantry.host.egress import proxy as proxy_module
from tenantry.host.egress.dialer import Dialer
from tenantry.host.egress.proxy import Proxy

_LOOPBACK = EgressPolicy(mode="allow", networks=(ip_network("127.0.0.0/8"),), names=frozenset({"named.example"}))
_NAMES = {"named.example": ["127.0.0.1"], "inner.example": ["10.0.0.1"], "mixed.example": ["10.0.0.1", "127.0.0.1"]}
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _lookup(name: str) -> list[str]:
    if name not in _NAMES:
        raise OSError("no such name")
    return _NAMES[name]


@dataclass
class Side:
    """A proxy, and a way to speak to it as a worker does."""

    proxy: Proxy
    address: tuple[str, int]
    network: EgressNetwork
    refused: list[str] = field(default_factory=list)

    async def say(self, data: bytes, *, end: bool = False) -> bytes:
        """All that the proxy answers, until it closes."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(data)
            if end:
                writer.write_eof()
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    @asynccontextmanager
    async def tunnel(self, target: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 "), head
            async with asyncio.timeout(10):
                yield reader, writer
        finally:
            writer.close()


@pytest_asyncio.fixture
async def side() -> AsyncIterator[Side]:
    async with _side(_LOOPBACK) as made:
        yield made


@asynccontextmanager
async def _side(policy: EgressPolicy) -> AsyncIterator[Side]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    address = listener.getsockname()
    network = EgressNetwork(_lookup)
    refused: list[str] = []
    with capture_logs() as logs:
        proxy = Proxy(listener, Dialer(network, policy), refused.append)
        yield Side(proxy, address, network, refused)
        proxy.close()
        await proxy.wait_closed()
    assert logs == []  # whatever was said to it is no fault of ours
    assert network.sockets.open == 0
    assert len(asyncio.all_tasks()) <= 3, asyncio.all_tasks()  # ours, and the fixtures'
    await network.aclose()


@asynccontextmanager
async def _server(handler: Handler) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.write(b"<end>")


def _answering(response: bytes, seen: list[bytes]) -> Handler:
    """A server that reads one head and answers with these bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(response)

    return serve


# Tunnels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "named.example", "NAMED.example.", "0x7f.1"])
async def test_a_tunnel_carries_bytes_both_ways_and_ends_by_halves(side: Side, host: str) -> None:
    async with _server(_echo) as port, side.tunnel(f"{host}:{port}") as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write(b"more")
        writer.write_eof()
        assert await reader.read() == b"more<end>"


async def test_what_comes_in_one_piece_with_connect_goes_into_the_tunnel(side: Side) -> None:
    async with _server(_echo) as port:
        answer = await side.say(f"CONNECT 127.0.0.1:{port} HTTP/1.0\r\n\r\nearly".encode(), end=True)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nearly<end>"


async def test_a_large_stream_through_a_tunnel_arrives_whole(side: Side) -> None:
    data = bytes(range(256)) * 40_000
    async with _server(_echo) as port, side.tunnel(f"127.0.0.1:{port}") as (reader, writer):
        writing = asyncio.create_task(_write_all(writer, data))
        assert await reader.readexactly(len(data)) == data
        await writing


async def _write_all(writer: asyncio.StreamWriter, data: bytes) -> None:
    for start in range(0, len(data), 65536):
        writer.write(data[start : start + 65536])
        await writer.drain()


async def test_who_does_not_read_makes_the_other_wait(side: Side) -> None:
    sent = 0

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    async with _server(flood) as port, side.tunnel(f"127.0.0.1:{port}"):
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
    assert sent < 64 << 20


async def test_a_tunnel_that_breaks_on_one_side_breaks_on_the_other(side: Side) -> None:
    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()

    async with _server(drop) as port, side.tunnel(f"127.0.0.1:{port}") as (reader, writer):
        writer.write(b"xy")
        assert await _rest(reader) == b""


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What still comes; whether it ends or breaks makes no difference."""
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def test_a_silent_tunnel_is_closed(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "IDLE_SECONDS_MAX", 0.05)
    async with _server(_echo) as port, side.tunnel(f"127.0.0.1:{port}") as (reader, _):
        assert await _rest(reader) == b""


async def test_closing_the_proxy_breaks_its_tunnels(side: Side) -> None:
    async with _server(_echo) as port, side.tunnel(f"127.0.0.1:{port}") as (reader, writer):
        writer.write(b"x")
        await reader.readexactly(1)
        side.proxy.close()
        assert await _rest(reader) == b""


async def test_a_proxy_that_is_told_to_refuse_breaks_what_is_open_and_says_why(side: Side) -> None:
    async with _server(_echo) as port:
        async with side.tunnel(f"127.0.0.1:{port}") as (reader, writer):
            writer.write(b"x")
            await reader.readexactly(1)
            side.proxy.refuse("Not today.")
            assert await _rest(reader) == b""
        answer = await side.say(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert answer.endswith(b"Not today.\n")


# Refusals ----------------------------------------------------------------------------------------------------------

_REFUSED = [
    # request line, status
    ("CONNECT 10.0.0.1:443", 403),
    ("CONNECT 169.254.169.254:80", 403),
    ("CONNECT [::1]:80", 403),
    ("CONNECT [::ffff:10.0.0.1]:80", 403),
    ("CONNECT 8.8.8.8:443", 403),
    ("CONNECT unlisted.example:443", 403),
    ("CONNECT inner.example:443", 403),
    ("CONNECT localhost:443", 403),
    ("CONNECT 127.0.0.1:25", 403),
    ("CONNECT 127.0.0.1:0", 403),
    ("CONNECT 127.0.0.1:99999", 403),
    ("CONNECT 127.0.0.1:1", 502),
    ("CONNECT 127.0.0.1", 400),
    ("CONNECT :443", 400),
    ("CONNECT 127.0.0.1:-1", 400),
    ("CONNECT 300.1.1.1:80", 400),
    ("CONNECT [zz]:80", 400),
    ("CONNECT user@127.0.0.1:80", 400),
    ("CONNECT http://127.0.0.1:80", 400),
    ("connect 127.0.0.1:80", 400),
    ("GET /", 400),
    ("OPTIONS *", 400),
    ("GET https://127.0.0.1/", 400),
    ("GET ftp://127.0.0.1/", 400),
    ("GET file:///etc/passwd", 400),
    ("GET http://user:word@127.0.0.1/", 400),
    ("GET http://127.0.0.1:80#x", 400),
    ("GET http:///x", 400),
    ("GET http://10.0.0.1/", 403),
    ("GET http://10.0.0.1:80?x", 403),
    ("GET http://[fd00::1]/", 403),
    ("GET http://127.0.0.1:1/", 502),
]


@pytest.mark.parametrize(("line", "status"), _REFUSED)
async def test_a_request_that_goes_nowhere_is_told_so(side: Side, line: str, status: int) -> None:
    answer = await side.say(f"{line} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert b"Connection: close\r\n" in answer
    assert len(side.refused) == (status == 403)


_MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET http://127.0.0.1/ HTTP/1.1\r\n\r\n",  # no Host
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET http://127.0.0.1/\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET http://127.0.0.1/ HTTP/1.1\r\nHost : a\r\n\r\n",
    b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"CONNECT \xff\xfe:80 HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("data", _MALFORMED)
async def test_what_is_not_http_is_a_bad_request(side: Side, data: bytes) -> None:
    answer = await side.say(data, end=True)
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"501"), answer


async def test_whatever_is_said_it_answers_or_hangs_up() -> None:
    chance = random.Random(20260901)
    async with _server(_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [])) as port:
        # What becomes of the port by chance must not be somebody else's.
        policy = EgressPolicy(networks=_LOOPBACK.networks, closed_ports=frozenset(range(1, 65536)) - {port})
        whole = [
            f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode(),
            f"POST http://127.0.0.1:{port}/a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody".encode(),
            f"PUT http://127.0.0.1:{port}/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "4\r\nbody\r\n0\r\n\r\n".encode(),
        ]
        async with _side(policy) as side:
            for _ in range(150):
                data = bytearray(chance.choice(whole))
                for _ in range(chance.randint(1, 4)):
                    start = chance.randrange(len(data))
                    put = chance.choice([b"", b"\r\n", b"\0", b" ", b":", b"\xff", b"%", chance.randbytes(1)])
                    data[start : start + chance.randint(0, 4)] = put
                with suppress(ConnectionError):
                    answer = await side.say(bytes(data), end=True)
                    assert answer == b"" or answer.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), (data, answer)


async def test_a_head_without_end_is_refused(side: Side) -> None:
    answer = await side.say(b"GET http://127.0.0.1/ HTTP/1.1\r\nX: " + b"x" * (400 * 1024))
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("data", [b"", b"CONNECT 127.0"])
async def test_who_says_nothing_is_hung_up_on(side: Side, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "PROXY_HEAD_SECONDS_MAX", 0.02)
    with suppress(ConnectionError):
        assert await side.say(data) == b""


@pytest.mark.parametrize("data", [b"", b"CONNECT 127.0", b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_who_leaves_early_leaves_nothing_behind(side: Side, data: bytes) -> None:
    for _ in range(5):
        _, writer = await asyncio.open_connection(*side.address)
        writer.write(data)
        writer.transport.abort()
    assert (await side.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


async def test_a_policy_that_denies_lets_nothing_through() -> None:
    async with _side(EgressPolicy(mode="deny")) as side:
        answer = await side.say(b"CONNECT 8.8.8.8:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_of_several_addresses_only_those_permitted_are_tried() -> None:
    policy = EgressPolicy(mode="public", networks=_LOOPBACK.networks)
    async with _side(policy) as side, _server(_echo) as port:
        answer = await side.say(f"CONNECT mixed.example:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), end=True)
    assert answer.endswith(b"<end>")


async def test_connections_beyond_the_platforms_share_are_refused(side: Side) -> None:
    side.network.sockets.most = 1
    async with _server(_echo) as port, side.tunnel(f"127.0.0.1:{port}"):
        answer = await side.say(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 503 ")


async def test_connections_beyond_the_process_share_wait(side: Side) -> None:
    async with _server(_echo) as port:
        opened = [await asyncio.open_connection(*side.address) for _ in range(proxy_module.PROXY_CONNECTIONS_MAX)]
        waiting = asyncio.create_task(
            side.say(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), end=True)
        )
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        for _, writer in opened:
            writer.close()
        assert (await waiting).endswith(b"<end>")


# Requests ----------------------------------------------------------------------------------------------------------


async def test_a_request_is_passed_on_without_what_belongs_to_the_connection(side: Side) -> None:
    seen: list[bytes] = []
    answering = _answering(b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nKeep-Alive: x\r\nX-A: b\r\n\r\nhello", seen)
    async with _server(answering) as port:
        answer = await side.say(
            f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\nHost: other.example\r\nProxy-Authorization: secret\r\n"
            "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nX-Kept: 2\r\n\r\n".encode()
        )
    assert seen[0].split(b"\r\n") == [
        b"GET /a?b=c HTTP/1.1",
        f"Host: 127.0.0.1:{port}".encode(),
        b"X-Kept: 2",
        b"Connection: close",
        b"",
        b"",
    ]
    assert answer == b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\nX-A: b\r\nConnection: close\r\n\r\nhello"


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        ("Content-Length: 5", b"hello"),
        ("Transfer-Encoding: chunked", b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-T: y\r\n\r\n"),
    ],
)
async def test_a_body_is_passed_on_however_it_is_framed(side: Side, framing: str, body: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"chunked" in head:
            received = await reader.readuntil(b"0\r\n\r\n")
        else:
            received = await reader.readexactly(5)
        writer.write(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(received), received)
        )

    async with _server(serve) as port:
        answer = await side.say(
            f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + body
        )
    assert b"he" in answer
    assert b"llo" in answer
    assert b"X-T" not in answer


async def test_who_waits_for_100_continue_is_told_to_go_on(side: Side) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"100-continue" not in head
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + await reader.readexactly(5))

    async with _server(serve) as port:
        reader, writer = await asyncio.open_connection(*side.address)
        head = f"PUT http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        writer.write(head.encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"hello")
        assert (await reader.read()).endswith(b"hello")
        writer.close()


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (b"", b"502"),
        (b"nonsense\r\n\r\n", b"502"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", b"502"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (300 * 1024) + b"\r\n\r\n", b"502"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", b"502"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"200"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", b"204"),
    ],
)
async def test_a_servers_answer_is_passed_on_if_it_is_one(side: Side, response: bytes, status: bytes) -> None:
    seen: list[bytes] = []
    async with _server(_answering(response, seen)) as port:
        answer = await side.say(f"GET http://127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.split(b" ")[1] == status
    assert (b"until the end" in answer) == (b"until the end" in response)


async def test_an_answer_that_breaks_off_is_not_made_whole(side: Side) -> None:
    async with _server(_answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", [])) as port:
        try:
            answer = await side.say(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        except ConnectionError:
            return
    assert not answer.endswith(b"0\r\n\r\n")


async def test_a_silent_server_is_a_timeout(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward_module, "IDLE_SECONDS_MAX", 0.05)

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _server(silent) as port:
        answer = await side.say(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 504 ")


async def test_a_body_that_cannot_be_understood_ends_the_request(side: Side) -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with _server(serve) as port:
        head = f"POST http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await side.say(head.encode() + b"zz\r\nhello")
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_second_request_on_a_connection_goes_nowhere(side: Side) -> None:
    seen: list[bytes] = []
    async with _server(_answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", seen)) as port:
        request = f"GET http://127.0.0.1:{port}/%d HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await side.say((request % 1 + request % 2).encode())
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in answer
    assert len(seen) == 1


async def test_a_server_is_let_go_when_the_worker_leaves(side: Side) -> None:
    left = asyncio.Event()
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        try:
            await reader.read()
        finally:
            left.set()

    async with _server(serve) as port:
        _, writer = await asyncio.open_connection(*side.address)
        writer.write(f"GET http://127.0.0.1:{port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asked.wait()
        writer.close()
        async with asyncio.timeout(10):
            await left.wait()
