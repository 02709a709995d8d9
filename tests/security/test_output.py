"""Row R15 of the threats: whatever a Worker answers with, nothing that is not HTTP reaches the wire."""

from __future__ import annotations

import asyncio

import pytest

from tenantry.gateway import Gateway, listening
from tenantry.gateway.limits import RESPONSE_HEADER_BYTES_MAX
from tenantry.host import Answer
from tenantry.wire.values import ResponseValue


class _HostileHost:
    """A host whose one Worker answers with this."""

    def __init__(self, response: ResponseValue) -> None:
        self._response = response

    def try_fetch(self, *_: object) -> None:
        """Nobody is there to answer at once."""

    async def fetch(self, *_: object) -> Answer:
        return Answer(self._response)


async def _sent(response: ResponseValue) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body as they are on the wire."""
    gateway = Gateway(_HostileHost(response), "worker")  # type: ignore[arg-type]  # a fake
    async with listening(gateway, "127.0.0.1", 0, 10.0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    line, *lines = head.split(b"\r\n")
    assert not any(b"\r" in each or b"\n" in each or b"\0" in each for each in lines)
    headers = [(name, value.strip()) for name, _, value in (each.partition(b":") for each in lines)]
    return int(line.split()[1]), headers, body


_REFUSED = {
    "CR LF in a value": [("x-a", "b\r\nset-cookie: c=d")],
    "LF in a value": [("x-a", "b\nc: d")],
    "NUL in a value": [("x-a", "b\0c")],
    "DEL in a value": [("x-a", "b\x7f")],
    "CR LF in a name": [("x-a\r\nb", "c")],
    "a space in a name": [("x a", "b")],
    "a colon in a name": [("x:a", "b")],
    "an empty name": [("", "b")],
    "a name that is not ASCII": [("x-ä", "b")],
    "a header of 1 MB": [("x-a", "b" * 1_000_000)],
    "a header block just above the limit": [("x-a", "b" * RESPONSE_HEADER_BYTES_MAX)],
    "100,000 headers": [("x-a", "b")] * 100_000,
}


@pytest.mark.parametrize("headers", _REFUSED.values(), ids=_REFUSED.keys())
async def test_headers_that_cannot_be_sent_are_a_502(headers: list[tuple[str, str]]) -> None:
    status, sent, body = await _sent(ResponseValue(200, headers, b"secret"))
    assert status == 502
    assert not {name for name, _ in sent} & {b"x-a", b"set-cookie"}
    assert b"secret" not in body


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 199, 600, 2**31])
async def test_a_status_that_is_none_is_a_502(status: int) -> None:
    assert (await _sent(ResponseValue(status, [], b"")))[0] == 502


async def test_what_belongs_to_the_connection_is_the_platforms() -> None:
    names = ["transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "te", "content-length"]
    _, sent, body = await _sent(ResponseValue(200, [(name, "7") for name in names], b"abc"))
    assert [(name, value) for name, value in sent if name != b"date"] == [
        (b"content-length", b"3"),
        (b"connection", b"close"),
    ]
    assert body == b"abc"


async def test_a_value_beyond_latin_1_goes_out_as_bytes_of_its_own() -> None:
    _, sent, _ = await _sent(ResponseValue(200, [("x-a", "\u20ac\u0100")], b""))
    assert (b"x-a", "\u20ac\u0100".encode()) in sent
