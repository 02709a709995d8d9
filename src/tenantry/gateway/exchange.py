"""One request on a connection, and its response: what whoever answers it has to do with."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

from tenantry.gateway.body import RequestBody
from tenantry.gateway.response import BODILESS_STATUSES, status_line
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX

if TYPE_CHECKING:
    from tenantry.gateway.connection import Connection
    from tenantry.gateway.request import BadRequest, RequestHead
    from tenantry.streams import FileStream
    from tenantry.wire.values import RequestValue

__all__ = ["Exchange"]


class Serving(Protocol):
    """Whoever sees to an answer: a task, or what a task would only wait for."""

    def cancel(self) -> object: ...


class Exchange:
    """`keep_alive` is what the client asked for. `chunked` says whether it can be sent a body of unknown length."""

    __slots__ = (
        "_began",
        "_connection",
        "_continued",
        "_parts",
        "_seconds",
        "_status",
        "_written",
        "begun",
        "body",
        "body_bytes",
        "chunked",
        "head",
        "is_complete",
        "keep_alive",
        "length",
        "over",
        "refusal",
        "request",
        "serving",
        "wire_bytes",
    )

    def __init__(self, connection: Connection, head: RequestHead, *, keep_alive: bool, chunked: bool) -> None:
        self._connection = connection
        self.head = head
        self.keep_alive = keep_alive
        self.chunked = chunked
        self.request: RequestValue | None = None
        """What a Worker gets, without the body."""
        self.length = head.content_length
        self.body: RequestBody | None = None
        """Where the body is too long to travel inside the request, or of unknown length."""
        if self.length is None or self.length > INLINE_BODY_BYTES_MAX:
            self.body = RequestBody(self, self.length, connection.loop)
        self._parts: list[bytes] = []
        self.body_bytes = self.wire_bytes = 0
        """What has come of the body, and of all that frames it."""
        self.is_complete = False
        """Whether all of the request has come."""
        self.refusal: BadRequest | None = None
        """What its answer will be, whatever it asks for."""
        self.serving: Serving | None = None
        self.begun = False
        """Whether the client has been sent any of the response."""
        self.over = False
        """It has its response, or its client has left: nothing more can be written, and nothing needs to be."""
        self._continued = False
        self._written: int | None = None
        """Bytes of the body that are still to be written, where their number was said."""
        self._status = 0
        self._seconds = 0.0
        self._began = monotonic()

    # The request ---------------------------------------------------------------------------------------------------

    @property
    def can_begin(self) -> bool:
        """Whether so much of it is here that a Worker can be asked."""
        return self.is_complete or self.body is not None

    @property
    def inline_body(self) -> bytes:
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body is not None:
            self.body.feed(data)
        elif not self.over:
            self._parts.append(data)

    def complete(self) -> None:
        self.is_complete = True
        if self.body is not None:
            self.body.end()

    def break_off(self, reason: str) -> None:
        """The rest of the request will not come."""
        self.keep_alive = False
        if self.body is not None:
            self.body.fail(reason)

    def body_wanted(self) -> None:
        """Somebody waits for more of the body: a client that asked whether to send it is told so."""
        if not self._continued and not self.begun and not self.over:
            self._continued = True
            if self.chunked and self.head.expects_continue:
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def body_taken(self) -> None:
        self._connection.body_taken()

    def leave(self) -> None:
        """The client is gone: whoever sees to the answer need not."""
        self.break_off("the client left before the end of its request")
        if self.serving is not None:
            self.serving.cancel()
        self._end()

    # The response --------------------------------------------------------------------------------------------------

    def respond(
        self, status: int, block: bytes, body: bytes, claimed: int | None = None, *, dated: bool = False
    ) -> None:
        """The whole of a response at once. `block` are encoded header lines. `claimed` is the length of the body that
        there would be for another method than HEAD, where it is not that of `body`."""
        if self.over:
            return
        if not self.is_complete:
            self.keep_alive = False  # the client goes on with a request that has its answer
        bodiless = status in BODILESS_STATUSES or self.head.method == "HEAD"
        head = self._encode_head(status, block, len(body), claimed, dated=dated)
        self._connection.write(head if bodiless else head + body)
        self._finish()

    def begin(
        self, status: int, block: bytes, length: int | None, claimed: int | None = None, *, dated: bool = False
    ) -> bool:
        """The head of a response, whose body has `length` bytes (None: nobody knows). False: it has no body, whatever
        there is to send of one."""
        if self.over:
            return False
        self._connection.write(self._encode_head(status, block, length, claimed, dated=dated))
        self._written = length
        return status not in BODILESS_STATUSES and self.head.method != "HEAD"

    async def write(self, data: bytes) -> None:
        """More of the body; returns when there is room for more. Raises ValueError where it is longer than was said."""
        if self.over:
            return
        if self._written is not None:
            self._written -= len(data)
            if self._written < 0:
                raise ValueError("a body that is longer than it said")
            self._connection.write(data)
        elif self.chunked:
            self._connection.write_all((b"%x\r\n" % len(data), data, b"\r\n"))
        else:
            self._connection.write(data)
        await self._connection.drain()

    async def write_file(self, stream: FileStream) -> None:
        """The whole of the body, from the file in which it lies. Raises ConnectionError, TimeoutError, StreamError."""
        if self.over:
            return
        assert self._written == stream.length, "the head says how long the file is"
        await self._connection.send_file(stream)
        self._written = 0

    def finish(self, *, with_body: bool) -> None:
        """The response is whole. Raises ValueError where its body is shorter than was said."""
        if self.over:
            return
        if with_body:
            if self._written:
                raise ValueError("a body that is shorter than it said")
            if self._written is None and self.chunked:
                self._connection.write(b"0\r\n\r\n")
        self._finish()

    def cut(self) -> None:
        """End the connection in the middle of the response, so that nobody takes it for whole."""
        if not self.over:
            self._connection.abort()

    def _encode_head(self, status: int, block: bytes, length: int | None, claimed: int | None, *, dated: bool) -> bytes:
        self.begun = True
        self._status, self._seconds = status, monotonic() - self._began
        lines = [status_line(status), block]
        if status not in BODILESS_STATUSES:
            if self.head.method == "HEAD" and claimed is not None:
                length = claimed
            if length is not None:
                lines.append(b"content-length: %d\r\n" % length)
            elif self.head.method == "HEAD":
                pass
            elif self.chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        elif status == 205:  # it has none, and its client has to be told (RFC 9110, section 15.3.6)
            lines.append(b"content-length: 0\r\n")
        if not dated:
            lines.append(self._connection.date())
        if self._connection.is_draining:
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif not self.chunked:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _finish(self) -> None:
        if not self.is_complete and not self._continued and self.head.expects_continue:
            self.keep_alive = False  # the client may send the body or its next request
        self._end()
        self._connection.exchange_over(self)

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.serving = None
            self._parts = []
            self._connection.count_end(self._status, self._seconds)
