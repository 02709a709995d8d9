"""One request of a worker through its proxy to an HTTP server, and the answer back.

Both messages are parsed and written anew (h11), so that neither side sees framing that the other made up. Headers that
speak of one connection stay on it; `Host` is the URL's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import h11

from tenantry.host.egress.limits import IDLE_SECONDS_MAX, READ_BYTES, RESPONSE_HEADER_BYTES_MAX
from tenantry.host.egress.request import CONNECTION_HEADERS

if TYPE_CHECKING:
    from tenantry.host.egress.dialer import Connection

__all__ = ["BadRequest", "ServerFailed", "forward", "still_alive"]

_CLOSE: Final = (b"Connection", b"close")
_CONNECTION_HEADERS: Final = frozenset(name.encode() for name in CONNECTION_HEADERS)


class BadRequest(Exception):
    """The worker's end broke off, or its body cannot be understood."""


class ServerFailed(Exception):
    """The server broke off or does not speak HTTP. A silent one is a TimeoutError."""


def still_alive(idle: asyncio.Timeout) -> None:
    """Something has moved: begin to wait anew."""
    if not idle.expired():
        idle.reschedule(asyncio.get_running_loop().time() + IDLE_SECONDS_MAX)


async def forward(
    client: h11.Connection, request: h11.Request, authority: bytes, path: bytes, ends: Connection, upstream: Connection
) -> None:
    """Send to `upstream` the request that `client` has just given, and its response to `ends`.

    Raises BadRequest, ServerFailed, TimeoutError when neither side moves, and OSError when the worker's end breaks.
    Where the response had not begun, `client` can still send one.
    """
    server = h11.Connection(h11.CLIENT, max_incomplete_event_size=RESPONSE_HEADER_BYTES_MAX)
    headers = [(b"Host", authority), *_end_to_end(request.headers.raw_items(), but=(b"host", b"expect")), _CLOSE]
    try:
        head = server.send(h11.Request(method=request.method, target=path, headers=headers))
    except h11.LocalProtocolError as error:
        raise BadRequest from error
    upstream[1].write(head or b"")
    async with asyncio.timeout(IDLE_SECONDS_MAX) as idle:
        # At the same time: a server may answer before it has read the whole of the request.
        sending = asyncio.get_running_loop().create_task(_send_body(client, server, ends, upstream, idle))
        try:
            await _pass_response(client, server, ends, upstream, idle)
        except (ServerFailed, h11.RemoteProtocolError, h11.LocalProtocolError) as error:
            if sending.done() and isinstance(sending.exception(), BadRequest):
                raise BadRequest from error
            raise ServerFailed from error
        finally:
            sending.cancel()
            await asyncio.wait({sending})
            if not sending.cancelled():
                sending.exception()  # seen: the response, or its absence, says it all


async def _send_body(
    client: h11.Connection, server: h11.Connection, ends: Connection, upstream: Connection, idle: asyncio.Timeout
) -> None:
    reader, writer = ends
    try:
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                upstream[1].write(server.send(event) or b"")
                await upstream[1].drain()
            elif event is h11.NEED_DATA:
                if client.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    writer.write(client.send(go_on) or b"")
                client.receive_data(await reader.read(READ_BYTES))
            else:
                raise BadRequest
            still_alive(idle)
        upstream[1].write(server.send(h11.EndOfMessage()) or b"")  # without trailers, which few can make use of
        await upstream[1].drain()
        if not client.trailing_data[0] and not await reader.read(1):
            raise BadRequest  # it left, and does not wait for the response
    except (OSError, h11.RemoteProtocolError, h11.LocalProtocolError, BadRequest) as error:
        # Whoever waits for the response shall not wait for ever.
        upstream[1].transport.abort()
        raise BadRequest from error


async def _pass_response(
    client: h11.Connection, server: h11.Connection, ends: Connection, upstream: Connection, idle: asyncio.Timeout
) -> None:
    writer = ends[1]
    while True:
        event = await _next_event(server, upstream[0])
        still_alive(idle)
        if isinstance(event, h11.Response):
            headers = [*_end_to_end(event.headers.raw_items()), _CLOSE]
            passed = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
            writer.write(client.send(passed) or b"")
        elif isinstance(event, h11.Data):
            writer.write(client.send(event) or b"")
        elif isinstance(event, h11.EndOfMessage):
            writer.write(client.send(h11.EndOfMessage()) or b"")
            await writer.drain()
            return
        elif not isinstance(event, h11.InformationalResponse):
            raise ServerFailed
        await writer.drain()
        still_alive(idle)


async def _next_event(server: h11.Connection, reader: asyncio.StreamReader) -> object:
    while (event := server.next_event()) is h11.NEED_DATA:
        try:
            data = await reader.read(READ_BYTES)
        except OSError as error:
            raise ServerFailed from error
        server.receive_data(data)
    return event


def _end_to_end(headers: Iterable[tuple[bytes, bytes]], but: tuple[bytes, ...] = ()) -> list[tuple[bytes, bytes]]:
    """The headers that are the message's, and of its framing what says how long it is."""
    items = [(name, name.lower(), value) for name, value in headers]
    named = {
        token.strip().lower() for _, lower, value in items if lower == b"connection" for token in value.split(b",")
    }
    is_chunked = any(lower == b"transfer-encoding" for _, lower, _ in items)
    refused = _CONNECTION_HEADERS | named - {b"content-length"} | {*but, *([b"content-length"] if is_chunked else [])}
    kept = [(name, value) for name, lower, value in items if lower not in refused]
    return [*kept, (b"Transfer-Encoding", b"chunked")] if is_chunked else kept
