"""The proxy of a worker process: where `requests`, `httpx` and their like go out, under the policy of `fetch()`.

    worker ── 127.0.0.1:3128, in a network namespace with nothing else ──► listener (held here) ──► dialer ──► the world

Two ways of asking (RFC 9110, section 9.3.6; RFC 9112, section 3.2.2):

    CONNECT host:port                a tunnel. What is said in it (TLS, mostly) is between the two ends
    GET http://host:port/path …      one request, which `forward` passes on

Each connection carries one of these and is closed. Its bytes are hostile: they are parsed by h11, bounded, and what
cannot be understood is answered 400. Refusals are plain text that a person finds in the exception of the client:

    400  not a request to a proxy              403  the egress policy does not permit it
    431  a head longer than its limit          502  nothing answers there
    503  too many connections                  504  nothing answers there in time

Back-pressure is the kernel's: whoever does not read lets the other wait, and who waits for a connection waits in the
listener's queue, which costs the host nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from typing import TYPE_CHECKING, Final

import h11
import structlog

from tenantry.host.egress.addresses import BadHost
from tenantry.host.egress.dialer import Connection, Crowded, Dialer
from tenantry.host.egress.forward import BadRequest, ServerFailed, forward, still_alive
from tenantry.host.egress.limits import (
    IDLE_SECONDS_MAX,
    PROXY_ACCEPT_PAUSE_SECONDS,
    PROXY_CONNECTIONS_BURST,
    PROXY_CONNECTIONS_MAX,
    PROXY_CONNECTIONS_PER_SECOND,
    PROXY_HEAD_SECONDS_MAX,
    PROXY_LINGER_BYTES_MAX,
    PROXY_LINGER_SECONDS_MAX,
    PROXY_REFUSALS_TOLD_MAX,
    READ_BYTES,
    REQUEST_HEADER_BYTES_MAX,
)
from tenantry.host.egress.resolver import NotPermitted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

__all__ = ["Proxy"]

_log = structlog.get_logger()

_AUTHORITY: Final = re.compile(rb"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,254}):(?P<port>[0-9]{1,5})", re.ASCII)
_ABSOLUTE: Final = re.compile(
    rb"http://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,254})(?::(?P<port>[0-9]{0,5}))?(?P<path>(?:[/?][!-\"$-~]*)?)",
    re.ASCII | re.IGNORECASE,
)
_REASONS: Final = {
    400: "Bad Request",
    403: "Forbidden",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Refused(Exception):
    """The answer to a request that goes nowhere."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Proxy:
    """Serves one process, from when it is made until `close`; `wait_closed` says when nothing of it is left."""

    def __init__(
        self, listener: socket.socket, dialer: Dialer, on_refused: Callable[[str], None] = lambda _message: None
    ) -> None:
        """`on_refused` is told what the policy refused, for the tenant's log."""
        self._listener = listener
        self._dialer = dialer
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(PROXY_CONNECTIONS_MAX)
        self._fresh: set[socket.socket] = set()
        """Accepted, and not served yet."""
        self._transports: set[asyncio.WriteTransport] = set()
        self._closed_because = ""
        self._refusals_told = 0
        self._task = self._loop.create_task(self._serve())

    def refuse(self, reason: str) -> None:
        """From now on nothing passes, and nothing that was open stays open."""
        self._closed_because = reason
        for transport in list(self._transports):
            transport.abort()

    def close(self) -> None:
        """Break off everything. Idempotent."""
        self.refuse("closed")
        self._task.cancel()

    def on_closed(self, callback: Callable[[Proxy], None]) -> None:
        self._task.add_done_callback(lambda _task: callback(self))

    async def wait_closed(self) -> None:
        await asyncio.wait({self._task})

    async def _serve(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._accept(group)
        finally:
            for accepted in self._fresh:
                accepted.close()
            self._listener.close()

    async def _accept(self, group: asyncio.TaskGroup) -> None:
        """Take connections at a bounded rate, and no more than a number at once; the others wait in the kernel."""
        credit, credited_at = float(PROXY_CONNECTIONS_BURST), self._loop.time()
        while True:
            await self._room.acquire()
            accepted = await self._accept_one()
            self._fresh.add(accepted)
            group.create_task(self._serve_connection(accepted))
            now = self._loop.time()
            credit += (now - credited_at) * PROXY_CONNECTIONS_PER_SECOND - 1
            credit, credited_at = min(float(PROXY_CONNECTIONS_BURST), credit), now
            if credit < 0:
                await asyncio.sleep(-credit / PROXY_CONNECTIONS_PER_SECOND)

    async def _accept_one(self) -> socket.socket:
        while True:
            # Not sock_accept: cancelled in the wrong moment, it loses the connection that it has.
            readable: asyncio.Future[None] = self._loop.create_future()
            self._loop.add_reader(self._listener, _resolve, readable)
            try:
                await readable
            finally:
                self._loop.remove_reader(self._listener)
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:  # out of descriptors or memory, which passes
                _log.warning("a worker's proxy cannot accept", reason=error.strerror)
                await asyncio.sleep(PROXY_ACCEPT_PAUSE_SECONDS)
                continue
            accepted.setblocking(False)
            return accepted

    async def _serve_connection(self, accepted: socket.socket) -> None:
        try:
            reader, writer = await asyncio.open_connection(sock=accepted, limit=READ_BYTES)
            self._fresh.discard(accepted)
            self._transports.add(writer.transport)
            try:
                with contextlib.suppress(OSError):  # the worker's end is gone: nobody is left to be told
                    await self._serve_client(reader, writer)
            finally:
                self._transports.discard(writer.transport)
                if not writer.transport.is_closing():
                    writer.transport.abort()
        except Exception:  # noqa: BLE001 - a bug of ours: it ends one connection, and not the process's proxy
            _log.exception("a connection of a worker's proxy failed")
        finally:
            self._room.release()

    async def _serve_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = h11.Connection(h11.SERVER, max_incomplete_event_size=REQUEST_HEADER_BYTES_MAX)
        try:
            async with asyncio.timeout(PROXY_HEAD_SECONDS_MAX):
                request = await _read_head(client, reader)
            if request is None:
                return
            if self._closed_because:
                raise _Refused(403, self._closed_because)
            if request.method == b"CONNECT":
                await self._tunnel(client, request, (reader, writer))
            else:
                await self._forward(client, request, (reader, writer))
        except TimeoutError:
            return  # it said nothing, or not enough
        except _Refused as refusal:
            if refusal.status == 403 and self._refusals_told < PROXY_REFUSALS_TOLD_MAX:
                self._refusals_told += 1
                self._on_refused(refusal.message)
            await _refuse(reader, writer, refusal)
        else:
            await _finish(writer)

    async def _tunnel(self, client: h11.Connection, request: h11.Request, ends: Connection) -> None:
        found = _AUTHORITY.fullmatch(request.target)
        if found is None:
            raise _Refused(400, "CONNECT needs a host and a port.")
        host, port = found["host"].decode(), int(found["port"])
        async with _dialed(self._dialer, host, port) as upstream:
            if ends[1].transport.is_closing():
                return  # it was refused, or left, meanwhile
            ends[1].write(_ESTABLISHED)
            early, _ = client.trailing_data
            upstream[1].write(early)
            await _join(ends, upstream)

    async def _forward(self, client: h11.Connection, request: h11.Request, ends: Connection) -> None:
        found = _ABSOLUTE.fullmatch(request.target)
        if found is None:
            raise _Refused(400, "This is a proxy: it takes CONNECT, and requests with a whole http:// URL.")
        host, port = found["host"].decode(), int(found["port"] or 80)
        path = found["path"] if found["path"].startswith(b"/") else b"/" + found["path"]
        authority = found["host"] + (b":%d" % port if port != 80 else b"")
        async with _dialed(self._dialer, host, port) as upstream:
            if ends[1].transport.is_closing():
                return
            try:
                await forward(client, request, authority, path, ends, upstream)
            except (BadRequest, ServerFailed, TimeoutError) as error:
                if client.our_state not in (h11.SEND_RESPONSE, h11.IDLE):
                    raise ConnectionAbortedError from error  # it has begun to answer, and broke off: so do we
                if isinstance(error, BadRequest):
                    raise _Refused(400, "The request's body cannot be understood.") from error
                if isinstance(error, TimeoutError):
                    raise _Refused(504, f"{host}:{port} did not answer in time.") from error
                raise _Refused(502, f"{host}:{port} gave no answer that can be understood.") from error


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


@contextlib.asynccontextmanager
async def _dialed(dialer: Dialer, host: str, port: int) -> AsyncIterator[Connection]:
    """`Dialer.connection`, its failures as answers. What happens inside of the block is not among them."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(dialer.connection(host, port))
        except BadHost as error:
            raise _Refused(400, "The host is neither a name nor an address.") from error
        except NotPermitted as error:
            raise _Refused(403, f"The egress policy of this platform does not permit {host}:{port}.") from error
        except Crowded as error:
            raise _Refused(503, "Too many connections are open.") from error
        except TimeoutError as error:
            raise _Refused(504, f"{host}:{port} did not answer in time.") from error
        except OSError as error:
            raise _Refused(502, f"{host}:{port} cannot be reached.") from error
        yield connection


async def _read_head(client: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of the request; None when the connection ends instead. Raises _Refused."""
    while True:
        try:
            event = client.next_event()
        except h11.RemoteProtocolError as error:
            status = error.error_status_hint if error.error_status_hint in _REASONS else 400
            raise _Refused(status, "The request cannot be understood.") from error
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        client.receive_data(await reader.read(READ_BYTES))


async def _join(one: Connection, other: Connection) -> None:
    """Pass bytes both ways until both sides have ended. Raises TimeoutError when neither moves for a while."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(READ_BYTES):
                writer.write(data)
                still_alive(idle)
                await writer.drain()
                still_alive(idle)
            writer.write_eof()
        except OSError:
            # Broken, not ended: so is the other direction.
            one[1].transport.abort()
            other[1].transport.abort()

    loop = asyncio.get_running_loop()
    async with asyncio.timeout(IDLE_SECONDS_MAX) as idle:
        pumps = {loop.create_task(pump(one[0], other[1])), loop.create_task(pump(other[0], one[1]))}
        try:
            await asyncio.wait(pumps)
        finally:
            for task in pumps:
                task.cancel()
            await asyncio.wait(pumps)


async def _finish(writer: asyncio.StreamWriter) -> None:
    """See that what was written leaves, before the connection is dropped."""
    if not writer.transport.is_closing():
        async with asyncio.timeout(PROXY_LINGER_SECONDS_MAX):
            writer.close()
            await writer.wait_closed()


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, refusal: _Refused) -> None:
    body = f"{refusal.message}\n".encode()
    head = (
        f"HTTP/1.1 {refusal.status} {_REASONS[refusal.status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + body)
    # A socket that is closed with something unread resets the connection, and the answer is lost with it.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PROXY_LINGER_SECONDS_MAX):
            await writer.drain()
            writer.write_eof()
            left = PROXY_LINGER_BYTES_MAX
            while left > 0 and (data := await reader.read(READ_BYTES)):
                left -= len(data)
