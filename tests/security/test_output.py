"""Row R15 of the threats: whatever a Worker answers with, nothing that is not HTTP reaches the wire."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.gateway import Gateway
from tenantry.gateway.limits import RESPONSE_HEADER_BYTES_MAX
from tenantry.host import Answer
from tenantry.wire.values import ResponseValue


class _HostileHost:
    """A host whose one Worker answers with this."""

    def __init__(self, response: ResponseValue) -> None:
        self._response = response

    async def fetch(self, *_: object) -> Answer:
        return Answer(self._response)


async def _sent(response: ResponseValue) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"example.com"), (b"content-length", b"0")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await Gateway(_HostileHost(response), "worker")(scope, receive, send)  # type: ignore[arg-type]  # a fake
    return messages


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
    start, body = await _sent(ResponseValue(200, headers, b"secret"))
    assert start["status"] == 502
    assert not {name for name, _ in start["headers"]} & {b"x-a", b"set-cookie"}
    assert b"secret" not in body["body"]


@pytest.mark.parametrize("status", [-1, 0, 99, 100, 101, 199, 600, 2**31])
async def test_a_status_that_is_none_is_a_502(status: int) -> None:
    start, _ = await _sent(ResponseValue(status, [], b""))
    assert start["status"] == 502


async def test_what_belongs_to_the_connection_is_the_platforms() -> None:
    names = ["transfer-encoding", "connection", "keep-alive", "upgrade", "trailer", "te", "content-length"]
    start, body = await _sent(ResponseValue(200, [(name, "7") for name in names], b"abc"))
    assert start["headers"] == [(b"content-length", b"3")]
    assert body["body"] == b"abc"


async def test_a_value_beyond_latin_1_goes_out_as_bytes_of_its_own() -> None:
    start, _ = await _sent(ResponseValue(200, [("x-a", "\u20ac\u0100")], b""))
    assert (b"x-a", "\u20ac\u0100".encode()) in start["headers"]
