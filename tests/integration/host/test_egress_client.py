"""The way out by itself: times, turns, and what is left when it is over. Real sockets, no Worker."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from tenantry.config.egress import EgressPolicy
from tenantry.errors import BindingError, ProtocolError, StreamError
from tenantry.host.egress import Egress, EgressNetwork, client, resolver
from tenantry.host.egress.resolver import NotPermitted, PolicyResolver, SystemLookup
from tenantry.host.targets import Reply
from tenantry.streams import BytesStream, read_all
from tenantry.wire.events import InvocationKind
from tenantry.wire.values import RequestValue, ResponseValue, decode_untrusted, encode

LOOPBACK = EgressPolicy(networks=(ip_network("127.0.0.0/8"),))
NOBODY: Any = None  # an invocation, which only its terms are asked of, elsewhere

# A certificate of secure.example that nobody vouches for, good until 2126.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9plHV0aCgyUV+VbT
EpV1ZVtyRpqDS+cZaFRoBNETqDahRANCAARdgQS/+zAH2w7Q6YActCSMGJ8Um5+l
aAkHCRyIv83JQh2uGs2/2sxhQg+TFwQOzuGqYVs3t7O3x853rRflaywG
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBpDCCAUqgAwIBAgIUfpdLUNNlthNFssQDoACGY6XIVwUwCgYIKoZIzj0EAwIw
GTEXMBUGA1UEAwwOc2VjdXJlLmV4YW1wbGUwIBcNMjYxMTIzMTY1NjUyWhgPMjEy
NjEwMzAxNjU2NTJaMBkxFzAVBgNVBAMMDnNlY3VyZS5leGFtcGxlMFkwEwYHKoZI
zj0CAQYIKoZIzj0DAQcDQgAEXYEEv/swB9sO0OmAHLQkjBifFJufpWgJBwkciL/N
yUIdrhrNv9rMYUIPkxcEDs7hqmFbN7ezt8fOd60X5WssBqNuMGwwHQYDVR0OBBYE
FC/tmyAy7gi+/emIVCIBY0iqitTGMB8GA1UdIwQYMBaAFC/tmyAy7gi+/emIVCIB
Y0iqitTGMA8GA1UdEwEB/wQFMAMBAf8wGQYDVR0RBBIwEIIOc2VjdXJlLmV4YW1w
bGUwCgYIKoZIzj0EAwIDSAAwRQIgfs2IwcW1GOYNi7ej/yw/7cVfMXzTWK1tDD/7
rhphY1kCIQDQYKitK/+C9h788v3vv92536ApJEr8T+JtYR5YIBDqXg==
-----END CERTIFICATE-----
"""


async def lookup(name: str) -> list[str]:
    return ["127.0.0.1"]


@asynccontextmanager
async def network(find: Callable[[str], Awaitable[list[str]]] = lookup) -> AsyncIterator[EgressNetwork]:
    made = EgressNetwork(find)
    try:
        yield made
    finally:
        await made.aclose()
        async with asyncio.timeout(5):
            while made.sockets.open:  # a transport closes in the turn after
                await asyncio.sleep(0)


@asynccontextmanager
async def server(answer: bytes | Callable[[], AsyncIterator[bytes]], **options: Any) -> AsyncIterator[int]:
    """Answers each request with bytes, then waits until its client leaves."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer if isinstance(answer, bytes) else b"")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, **options)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()
        while tasks:
            await asyncio.sleep(0)
        await asyncio.sleep(0)


async def ask(egress: Egress, url: str, **fields: Any) -> Reply:
    request = RequestValue(fields.pop("method", "GET"), url, [], **fields)
    return await egress.call(NOBODY, InvocationKind.FETCH, "fetch", encode([request]), [])


def body_of(reply: Reply) -> Any:
    (body,) = reply.things
    return body


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok"


async def test_a_server_that_never_answers_times_out() -> None:
    async with server(b"") as port, network() as shared:
        egress = Egress(shared, LOOPBACK, aiohttp.ClientTimeout(total=None, sock_read=0.05))
        with pytest.raises(BindingError, match=f"127.0.0.1:{port} timed out"):
            await ask(egress, f"http://127.0.0.1:{port}/")


async def test_a_body_that_stops_times_out_and_closes() -> None:
    async with server(HALF) as port, network() as shared:
        egress = Egress(shared, LOOPBACK, aiohttp.ClientTimeout(total=None, sock_read=0.5))
        body = body_of(await ask(egress, f"http://127.0.0.1:{port}/"))
        assert body.length == 4
        assert await body.read(100) == b"ok"
        with pytest.raises(StreamError, match="nothing for too long"):
            await body.read(100)
        with pytest.raises(StreamError):
            await body.read(100)
        await body.aclose()


async def test_turns_are_given_back_whatever_ends_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "CONNECTIONS_PER_WORKER_MAX", 2)
    monkeypatch.setattr(client, "QUEUE_SECONDS_MAX", 0.05)
    async with server(HALF) as port, server(b"") as silent, network() as shared:
        egress = Egress(shared, LOOPBACK)
        url = f"http://127.0.0.1:{port}/"
        held = [body_of(await ask(egress, url)) for _ in range(2)]
        with pytest.raises(BindingError, match="waited too long for its turn"):
            await ask(egress, url)
        waiting = asyncio.create_task(ask(egress, url))
        await asyncio.sleep(0)
        await held[0].aclose()
        await held[0].aclose()
        held[0] = body_of(await waiting)
        for body in held:
            await body.aclose()
        for _ in range(5):
            task = asyncio.create_task(ask(egress, f"http://127.0.0.1:{silent}/"))
            await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        for _ in range(5):
            with pytest.raises(BindingError):
                await ask(egress, "http://127.0.0.1:1/")
        for _ in range(2):
            body = body_of(await ask(egress, url))
            assert await body.read(10) == b"ok"
            await body.aclose()


async def test_a_read_that_is_cancelled_can_be_followed_by_a_close() -> None:
    async with server(HALF) as port, network() as shared:
        body = body_of(await ask(Egress(shared, LOOPBACK), f"http://127.0.0.1:{port}/"))
        assert await body.read(10) == b"ok"
        reading = asyncio.create_task(body.read(10))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await body.aclose()


async def test_an_idle_worker_keeps_nothing() -> None:
    async with server(OK) as port, network() as shared:
        egress = Egress(shared, LOOPBACK)
        for _ in range(2):
            reply = await ask(egress, f"http://127.0.0.1:{port}/")
            for body in reply.things:
                assert await read_all(body, 100) == b"ok"  # type: ignore[arg-type]  # a stream
            assert shared.sockets.open == 1
            egress.close()
            assert not shared.sessions
            while shared.sockets.open:
                await asyncio.sleep(0)


def test_sockets_are_counted_on_either_loop() -> None:
    """uvloop ends a socket in a way of its own; were it not noticed, the platform would run out of sockets it has."""

    async def many() -> None:
        async with server(OK) as port, network() as shared:
            egress = Egress(shared, LOOPBACK)
            await asyncio.gather(*(_read(egress, f"http://127.0.0.1:{port}/") for _ in range(20)))
            for _ in range(3):
                with pytest.raises(BindingError):
                    await ask(egress, "http://127.0.0.1:1/")
            async with asyncio.timeout(5):
                while shared.sockets.open > 8:
                    await asyncio.sleep(0)

    asyncio.run(many())
    uvloop.run(many())


async def _read(egress: Egress, url: str) -> None:
    for body in (await ask(egress, url)).things:
        await read_all(body, 100)  # type: ignore[arg-type]  # a stream


async def test_the_whole_of_a_short_answer_travels_inline() -> None:
    head = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with server(head) as port, network() as shared:
        reply = await ask(Egress(shared, LOOPBACK), f"http://127.0.0.1:{port}/")
        value = decode_untrusted(reply.payload)
        assert isinstance(value, ResponseValue)
        assert (value.status, value.body, reply.things) == (204, None, [])


async def test_the_answer_to_a_head_has_a_length_and_no_body() -> None:
    async with server(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n") as port, network() as shared:
        reply = await ask(Egress(shared, LOOPBACK), f"http://127.0.0.1:{port}/", method="HEAD")
        value = decode_untrusted(reply.payload)
        assert (value.body, value.headers) == (None, [("content-length", "1000")])


async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "certificate.pem"
    file.write_text(CERTIFICATE)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    async with server(OK, ssl=context) as port, network() as shared:
        with pytest.raises(BindingError, match="TLS"):
            await ask(Egress(shared, LOOPBACK), f"https://secure.example:{port}/")


@pytest.mark.parametrize("kind", [InvocationKind.RPC, InvocationKind.SCHEDULED])
async def test_fetch_has_no_methods(kind: InvocationKind) -> None:
    stream = BytesStream(b"x")
    async with network() as shared:
        with pytest.raises(ProtocolError):
            await Egress(shared, LOOPBACK).call(NOBODY, kind, "fetch", encode([]), [stream])
    assert await stream.read(1) == b""


# Names ---------------------------------------------------------------------------------------------------------------


async def test_a_lookup_that_hangs_holds_two_threads_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "RESOLVE_SECONDS_MAX", 0.02)
    release = threading.Event()
    running = 0

    def blocking(name: str) -> list[str]:
        nonlocal running
        running += 1
        release.wait(10)
        return ["127.0.0.1"]

    monkeypatch.setattr(resolver, "_getaddrinfo", blocking)
    system = SystemLookup()
    try:
        names = PolicyResolver(LOOPBACK, system)
        for number in range(6):
            with pytest.raises(NotPermitted):
                await names.resolve(f"host{number}.example")
        assert running == 2
        release.set()
        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await names.resolve("host.example"))[0]["host"] == "127.0.0.1"
                    break
                except NotPermitted:
                    await asyncio.sleep(0)
    finally:
        release.set()
        system.close()


async def test_a_name_has_so_many_addresses_and_no_more() -> None:
    async def many(name: str) -> list[str]:
        return [f"127.0.0.{number}" for number in range(1, 100)] + ["127.0.0.1"] * 10

    found = await PolicyResolver(LOOPBACK, many).resolve("host.example", 80)
    assert len(found) == 8
    assert len({result["host"] for result in found}) == 8


async def test_the_machines_own_resolver_knows_localhost() -> None:
    system = SystemLookup()
    try:
        assert set(await system("localhost")) <= {"127.0.0.1", "::1"}
    finally:
        system.close()
