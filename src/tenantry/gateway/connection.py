"""A client's connection: HTTP/1.1 (RFC 9112) between the bytes on a socket and exchanges.

llhttp, by way of httptools, takes the requests apart, as strictly as it can; what could be read in two ways ends the
connection. Here is the rest: one exchange after the other, bodies that are read as fast as somebody wants them, the
bounds of what a client may make us hold, and the end.

    bytes ──► parser ──► queue of exchanges ──► the gateway, one at a time ──► response
       └─ read no further while a request is being answered, or its body is not asked for

The parser cannot be halted, so all requests that one read brought are in the queue; what comes later waits unread.
"""

from __future__ import annotations

import asyncio
import re
import select
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from tenantry.gateway.exchange import Exchange
from tenantry.gateway.limits import (
    FRAMING_BYTES_MAX,
    FRAMING_FACTOR_MAX,
    HEAD_SECONDS_MAX,
    IDLE_SECONDS_MAX,
    LINGER_BYTES_MAX,
    LINGER_SECONDS_MAX,
    PIPELINED_BYTES_MAX,
    PIPELINED_MAX,
    REQUEST_HEADER_BYTES_MAX,
    SEND_BYTES,
    STALLED_SECONDS_MAX,
    URL_CHARACTERS_MAX,
)
from tenantry.gateway.request import BadRequest, RequestHead
from tenantry.gateway.sendfile import send_file

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tenantry.gateway.server import GatewayServer
    from tenantry.streams import FileStream

__all__ = ["Connection"]

_VERSIONS: Final = ("1.1", "1.0")
_USUAL_METHODS: Final = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"DELETE ")
_KNOWN_METHODS: Final = frozenset(
    [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"CONNECT", b"TRACE"]
)
_METHOD: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}(?= )")
_HEAD_BYTES_MAX: Final = REQUEST_HEADER_BYTES_MAX + URL_CHARACTERS_MAX


class Connection(asyncio.Protocol):
    def __init__(self, server: GatewayServer) -> None:
        self._server = server
        self.loop = server.loop
        self._parser = HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._client = ""
        self._method = ""
        """Of the head that comes, where the parser does not know it."""
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._begun = False
        """Whether a head has begun and is not complete."""
        self._partial_bytes = 0
        """What has come of it, about."""
        self._heads = 0
        self._receiving: Exchange | None = None
        """The one whose request has begun and not ended."""
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._asked = False
        """Whether the current exchange is with the gateway."""
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self._deaf = False
        """Nothing more that comes is a request."""
        self._paused = False
        self._drained: asyncio.Future[None] | None = None
        self._waits_since: float | None = self.loop.time()
        """Since when the client has owed us something; None while we owe it an answer."""
        self._lingers_until: float | None = None
        self._lingered_bytes = 0
        self._stalled: tuple[int, float] | None = None
        """What is left to be written, and since when it is that much."""

    # asyncio.Protocol ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=SEND_BYTES)
        self._client = transport.get_extra_info("peername")[0]
        if not self._server.admit(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._lingers_until is not None:
            self._lingered_bytes += len(data)
            if self._lingered_bytes > LINGER_BYTES_MAX:
                self.abort()
        elif self._deaf:
            pass
        elif self._ahead or (self._current is not None and self._receiving is None):
            self._ahead.append(data)
            self._ahead_bytes += len(data)
            if self._ahead_bytes > PIPELINED_BYTES_MAX:
                self._pause()
        else:
            self._feed(data)
            self._advance()

    def eof_received(self) -> None:
        """Who cannot be told whether we heard has left: the transport closes."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget(self)
        self._deaf = True
        self._ahead.clear()
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._queue.clear()
        current, self._current = self._current, None
        if current is not None:
            current.leave()

    def pause_writing(self) -> None:
        self._drained = self.loop.create_future()

    def resume_writing(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # The parser ----------------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        heads, before = self._heads, self._receiving
        if before is None and not self._begun and not data.startswith(_USUAL_METHODS):
            data = self._with_known_method(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            # None is on offer: the request is answered as if it had not asked for one, and is the last.
            self._deaf = True
            last = self._queue[-1] if self._queue else self._current
            if last is not None:  # else it has its answer already
                last.keep_alive = False
        except HttpParserError:
            self._break_off(BadRequest(400, "The request is not HTTP/1.1."))
        receiving = self._receiving
        if receiving is not None:
            receiving.wire_bytes += len(data)
            if receiving.wire_bytes > FRAMING_BYTES_MAX + FRAMING_FACTOR_MAX * receiving.body_bytes:
                self._break_off(BadRequest(400, "The request's body is lost in what frames it."))
            elif receiving.body is not None and receiving.body.is_full and not receiving.over:
                self._pause()
        elif before is not None or self._heads != heads:
            self._partial_bytes = int(self._begun)  # of the next, if more came than what ended
        else:
            if not self._partial_bytes:
                self._waits_since = self.loop.time()
            self._partial_bytes += len(data)
            if self._partial_bytes > _HEAD_BYTES_MAX:
                self._break_off(BadRequest(431, "The request's headers are too large."))

    def _with_known_method(self, data: bytes) -> bytes:
        """llhttp has a list of methods, and any token is one (RFC 9110, section 9.1). So it is shown another, which
        frames a request as all of them but CONNECT do. Not where the token's end, or the request before, comes in
        another piece: nobody sends those but who wants to be refused."""
        match = _METHOD.match(data)
        if match is None or match[0] in _KNOWN_METHODS:
            return data
        self._method = match[0].decode("ascii")
        return b"PATCH" + data[match.end() :]

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._receiving is None:  # else it is a trailer, which no Worker sees
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._heads += 1
        self._begun = False
        if self._deaf:  # since this very read, in which the request before was refused
            return
        if len(self._queue) >= PIPELINED_MAX:
            raise ValueError("too many requests at once")
        method, self._method = self._method or parser.get_method().decode("ascii"), ""
        head = RequestHead(method, self._target, self._headers, self._client)
        self._target, self._headers = b"", []
        version = parser.get_http_version()
        exchange = Exchange(self, head, keep_alive=parser.should_keep_alive(), chunked=version == "1.1")
        if version not in _VERSIONS:
            exchange.refusal = BadRequest(505, "The request is not HTTP/1.1.")
        elif version == "1.0" and exchange.length is None:  # RFC 9112, section 6.1
            exchange.refusal = BadRequest(400, "HTTP/1.0 has no chunks.")
        self._receiving = exchange
        self._queue.append(exchange)

    def on_body(self, data: bytes) -> None:
        if self._receiving is not None:
            self._receiving.feed(data)

    def on_message_complete(self) -> None:
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.complete()
            if not receiving.keep_alive:
                self._deaf = True

    def _break_off(self, refusal: BadRequest) -> None:
        """The client has broken the protocol: what it asked for before is answered, and this is the last answer."""
        if self._deaf:  # what comes behind the last request is of no account
            return
        self._deaf = True
        broken, self._receiving = self._receiving, None
        if broken is not None and broken.over:
            self._linger()
            return
        if broken is None:
            head = RequestHead("GET", b"", [], self._client)
            broken = Exchange(self, head, keep_alive=False, chunked=True)
            broken.is_complete = True
            self._queue.append(broken)
        if broken is self._current and self._asked:
            broken.break_off("the request's body broke off")
        else:
            broken.keep_alive = False
            broken.refusal = refusal

    # One exchange after the other ----------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Ask for what can be asked for now."""
        while True:
            current = self._current
            if current is None:
                if not self._queue:
                    return
                current = self._current = self._queue.popleft()
                self._asked = False
                self._server.gateway.requests.begin()
                if current.refusal is None:
                    try:
                        self._server.gateway.read(current)
                    except BadRequest as error:
                        current.refusal = error
                    else:
                        if not current.can_begin:
                            current.body_wanted()
            if self._asked:
                return
            if current.refusal is not None:
                self._asked = True
                current.keep_alive = False
                self._server.gateway.refuse(current, current.refusal)
            elif current.can_begin:
                self._asked = True
                self._waits_since = None
                self._server.gateway.serve(current)
            else:
                self._waits_since = self.loop.time()
                return

    def exchange_over(self, exchange: Exchange) -> None:
        """The response is written. What follows it, if anything does?"""
        self._current = None
        self._waits_since = self.loop.time()
        if not exchange.keep_alive or (exchange.is_complete and self._deaf and not self._queue):
            if exchange.is_complete:
                self._deaf = True
                self._queue.clear()
                self._transport.close()
            else:
                self._linger()
            return
        if not exchange.is_complete:
            left = None if exchange.length is None else exchange.length - exchange.body_bytes
            if left is None or left > LINGER_BYTES_MAX:
                self._linger()
                return
        self._resume()
        if self._ahead or self._queue:
            self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """With what came while a request was answered."""
        if self._current is not None:
            return
        self._advance()
        if self._current is None and self._ahead and not self._deaf:
            data, self._ahead, self._ahead_bytes = b"".join(self._ahead), [], 0
            self._feed(data)
            self._advance()

    # Reading and writing -------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def body_taken(self) -> None:
        receiving = self._receiving
        if self._paused and receiving is not None and receiving.body is not None and not receiving.body.is_full:
            self._resume()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def write_all(self, parts: Iterable[bytes]) -> None:
        self._transport.writelines(parts)

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written."""
        if self._drained is not None:
            await asyncio.shield(self._drained)

    async def send_file(self, stream: FileStream) -> None:
        """Raises as `tenantry.gateway.sendfile` does."""
        self._transport.set_write_buffer_limits(high=0)
        try:
            await self.drain()  # what was written goes first
            await send_file(self._transport.get_extra_info("socket"), stream, self._server.threads)
        finally:
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits(high=SEND_BYTES)

    def date(self) -> bytes:
        return self._server.date()

    @property
    def is_draining(self) -> bool:
        return self._server.is_draining

    def count_end(self, status: int, seconds: float) -> None:
        self._server.gateway.requests.end(status, seconds)

    # The end -------------------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come that is not answered."""
        return self._current is None and not self._partial_bytes

    def abort(self) -> None:
        self._transport.abort()

    def close_idle(self) -> None:
        if self.is_idle:
            self._deaf = True
            self._transport.close()

    def _linger(self) -> None:
        """Close, but not on a client that still sends: the kernel would take back the answer that it has not read."""
        self._deaf = True
        self._receiving = None
        self._queue.clear()
        self._ahead.clear()
        if self._transport.is_closing():
            return
        self._lingers_until = self.loop.time() + LINGER_SECONDS_MAX
        try:
            self._transport.write_eof()
        except OSError:  # it is gone, and nobody has noticed yet
            self.abort()
        else:
            self._resume()

    def _has_left(self) -> bool:
        """Whether the client has closed its side of a connection that is not being read, where nobody would notice.

        Not if what it sent before is more than the kernel takes: then it cannot be known.
        """
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def look(self, now: float) -> None:
        """Once in a while: is the client still there, and has it kept us waiting for too long?"""
        if self._lingers_until is not None:
            if now >= self._lingers_until:
                self.abort()
            return
        if self._paused and not self._transport.is_closing() and self._has_left():
            self.abort()
            return
        unsent = self._transport.get_write_buffer_size()
        if not unsent:
            self._stalled = None
        elif self._stalled is None or self._stalled[0] != unsent:
            self._stalled = (unsent, now)
        elif now - self._stalled[1] >= STALLED_SECONDS_MAX:
            self.abort()
            return
        if self._waits_since is None:
            return
        waited = now - self._waits_since
        if self.is_idle:
            if waited >= IDLE_SECONDS_MAX:
                self.close_idle()
        elif waited >= HEAD_SECONDS_MAX:
            self._waits_since = None
            self._break_off(BadRequest(408, "The rest of the request did not come."))
            self._advance()
