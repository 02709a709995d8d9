"""The listener of tails: a WebSocket that is opened by its URL, by strict clients and by wrangler's."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.typing import Subprotocol

from tenantry.control import Tails, TailServer
from tenantry.control.records import ScriptRef
from tenantry.control.tails import Tail
from tenantry.host.traces import Trace, TraceHub, TraceLog

REF = ScriptRef("a" * 32, None, "w")
PROTOCOL = [Subprotocol("trace-v1")]


class Site:
    def __init__(self) -> None:
        self.hub = TraceHub()
        self.tails = Tails(self.hub)
        self.server = TailServer(self.tails)
        self.port = 0

    def url(self, tail: Tail) -> str:
        return f"ws://127.0.0.1:{self.port}/tail/{tail.secret}"

    def say(self, text: str) -> None:
        self.hub.publish(Trace("w", None, "v", "ok", [TraceLog("log", text, 1)]))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    made.port = await made.server.open("127.0.0.1", 0)
    yield made
    await made.server.aclose()


async def test_a_reader_gets_what_happens_until_the_session_is_ended(site: Site) -> None:
    tail = site.tails.create(REF, ())
    async with connect(site.url(tail), subprotocols=PROTOCOL, proxy=None) as socket:
        assert socket.subprotocol == "trace-v1"
        await (await socket.ping())
        for text in ("one", "x" * 70_000):
            site.say(text)
            assert json.loads(await socket.recv())["logs"][0]["message"] == [text]
        site.tails.delete(REF, tail.id)
        with pytest.raises(ConnectionClosedOK):
            await socket.recv()


async def test_a_frame_without_a_mask_is_what_wrangler_sends(site: Site) -> None:
    tail = site.tails.create(REF, ())
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    key = base64.b64encode(b"0" * 16).decode()
    writer.write(
        f"GET /tail/{tail.secret} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: trace-v1\r\n\r\n".encode()
        + b'\x81\x10{"debug": false}\x89\x01p'
    )

    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(3) == b"\x8a\x01p", "the pong comes, so the frame before it was taken"
    site.say("hello")
    assert (await reader.readexactly(2))[0] == 0x81
    writer.close()


@pytest.mark.parametrize("path", ["/tail/nope", "/tail/", "/", "/tail/../x"])
async def test_a_url_that_is_none_opens_nothing(site: Site, path: str) -> None:
    with pytest.raises(InvalidStatus):
        await connect(f"ws://127.0.0.1:{site.port}{path}", subprotocols=PROTOCOL, proxy=None)


async def test_a_url_opens_once_and_with_the_protocol_only(site: Site) -> None:
    tail = site.tails.create(REF, ())
    with pytest.raises(InvalidStatus):
        await connect(site.url(tail), proxy=None)
    async with connect(site.url(tail), subprotocols=PROTOCOL, proxy=None):
        with pytest.raises(InvalidStatus):
            await connect(site.url(tail), subprotocols=PROTOCOL, proxy=None)


@pytest.mark.parametrize("data", [b"\x00" * 100, b"GET / HTTP/1.1\r\n" + b"a" * 200_000, b"POST / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_handshake_ends_the_connection(site: Site, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(data)
    try:
        answer = await reader.read()
    except ConnectionError:
        answer = b""
    finally:
        writer.close()

    assert b"101" not in answer
    tail = site.tails.create(REF, ())
    async with connect(site.url(tail), subprotocols=PROTOCOL, proxy=None):
        pass


async def test_what_is_no_frame_ends_the_session(site: Site) -> None:
    tail = site.tails.create(REF, ())
    async with connect(site.url(tail), subprotocols=PROTOCOL, proxy=None) as socket:
        socket.transport.write(b"\xff\xff")
        await socket.wait_closed()

    assert socket.close_code == 1002
    assert site.tails.of(REF) == []
