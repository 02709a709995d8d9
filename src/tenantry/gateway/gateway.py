"""What a request on the tenants' port meets: the one Worker that answers it, which routes it as its author likes."""

from __future__ import annotations

import asyncio
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import structlog

from tenantry.errors import (
    InvocationError,
    LimitExceeded,
    Overloaded,
    StartLimitExceeded,
    StreamError,
    TimeLimitExceeded,
    WorkerCrashed,
    WorkerNotFound,
    WorkerThrew,
)
from tenantry.gateway.limits import SEND_BYTES, SENDFILE_BYTES_MIN
from tenantry.gateway.request import BadRequest, read_request
from tenantry.gateway.response import BadResponse, encode_headers
from tenantry.gateway.stats import RequestStats
from tenantry.host import Answer, Host
from tenantry.streams import FileStream

if TYPE_CHECKING:
    from tenantry.gateway.exchange import Exchange

    # Not at run time: only an installation that asks for proof needs what verifies it.
    from tenantry.gateway.identity import Identity

__all__ = ["Gateway"]


_REASON_CHARACTERS_MAX: Final = 100

_STATUSES: Final[dict[type[InvocationError], int]] = {
    WorkerNotFound: 404,
    WorkerThrew: 500,
    WorkerCrashed: 500,
    TimeLimitExceeded: 524,
    StartLimitExceeded: 503,
    LimitExceeded: 503,
    Overloaded: 429,
}


class Gateway:
    """`worker` is the name of the Worker that gets the requests. `body_bytes_max`: None is no limit.

    `identity` finds out who a request is from; None: the Workers have to see for themselves.
    """

    def __init__(
        self, host: Host, worker: str, body_bytes_max: int | None = None, identity: Identity | None = None
    ) -> None:
        self._host = host
        self._worker = worker
        # Made ready once: that takes as long as to write a line, and a Worker that fails may fail all the time.
        self._log = structlog.get_logger().bind(worker=worker)
        self._body_bytes_max = body_bytes_max
        self._identity = identity
        self._loop = asyncio.get_running_loop()
        self.requests = RequestStats()
        self.is_draining = False

    def drain(self) -> None:
        """Ask clients to come by other connections: each response is the last on its own."""
        self.is_draining = True

    # Called by the connection, in this order -----------------------------------------------------------------------

    def read(self, exchange: Exchange) -> None:
        """Look at the head of a request. Raises BadRequest for one that no Worker gets."""
        head = exchange.head
        if self._identity is None:
            request = read_request(head)
        else:
            request = read_request(head, self._identity.dropped)
            request.headers = self._identity.identify_untrusted(head, request.headers)
        if self._body_bytes_max is not None:
            if max(exchange.length or 0, exchange.body_bytes) > self._body_bytes_max:
                raise _too_large()
            if exchange.body is not None:
                exchange.body.limit(self._body_bytes_max, partial(self._refuse_body, exchange))
        exchange.request = request

    def serve(self, exchange: Exchange) -> None:
        """Ask the Worker. The whole of a short body is there, and any of a long one."""
        request = exchange.request
        assert request is not None, "what was not read is not served"
        if exchange.body is None:
            if exchange.body_bytes:
                request.body = exchange.inline_body
            # Most requests find a process that has a place for them, and then nobody need wait for the answer.
            exchange.serving = self._host.try_fetch(self._worker, request, partial(self._answered, exchange))
        if exchange.serving is None:
            exchange.serving = self._loop.create_task(self._serve(exchange))

    def refuse(self, exchange: Exchange, error: BadRequest) -> None:
        block = b"www-authenticate: Bearer\r\n" if error.status == 401 else b""
        _send_text(exchange, error.status, error.reason + "\n", block)

    # Answers -------------------------------------------------------------------------------------------------------

    async def _serve(self, exchange: Exchange) -> None:
        assert exchange.request is not None
        try:
            answer = await self._host.fetch(self._worker, exchange.request, exchange.body)
        except Exception as error:  # noqa: BLE001 - all of them are somebody's answer
            self._fail(exchange, error)
        else:
            await self._send(exchange, answer)

    def _answered(self, exchange: Exchange, answer: Answer | Exception) -> None:
        if isinstance(answer, Exception):
            exchange.serving = None
            self._fail(exchange, answer)
        elif answer.stream is not None:
            exchange.serving = self._loop.create_task(self._send(exchange, answer))
        else:
            exchange.serving = None
            try:
                block, claimed, dated = encode_headers(answer.response)
                body = answer.response.body
                assert not isinstance(body, int), "a body that is not here is a stream"
                exchange.respond(answer.response.status, block, body or b"", claimed, dated=dated)
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(exchange, error)

    async def _send(self, exchange: Exchange, answer: Answer) -> None:
        """Send a Worker's answer, and close its stream."""
        stream = answer.stream
        if stream is None:
            self._answered(exchange, answer)
            return
        try:
            block, claimed, dated = encode_headers(answer.response)
            length = stream.length
            with_body = exchange.begin(answer.response.status, block, length, claimed, dated=dated)
            if with_body and isinstance(stream, FileStream) and (length or 0) >= SENDFILE_BYTES_MIN:
                await exchange.write_file(stream)
            else:
                while with_body and not exchange.over and (chunk := await stream.read(SEND_BYTES)):
                    await exchange.write(chunk)
            exchange.finish(with_body=with_body)
        except (StreamError, ConnectionError, TimeoutError):
            exchange.cut()
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(exchange, error)
        finally:
            await stream.aclose()

    def _refuse_body(self, exchange: Exchange) -> None:
        """The client sends more than it may: nothing of its request goes on."""
        serving, exchange.serving = exchange.serving, None
        if serving is not None:
            serving.cancel()
        if exchange.begun:
            exchange.cut()
        else:
            self.refuse(exchange, _too_large())

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Answer with why there is no answer, or end the connection where one has begun."""
        reference = token_hex(16)
        status, code, extra = 500, 1101, b""
        if isinstance(error, InvocationError):
            # What a Worker raised is in its own log: its text in ours would be a tenant's way to fill it.
            reason = error.name[:_REASON_CHARACTERS_MAX] if isinstance(error, WorkerThrew) else str(error)
            self._log.info("a request failed", reference=reference, reason=reason)
            status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
            code = error.code
            if isinstance(error, Overloaded):
                extra = b"retry-after: 1\r\n"
        elif isinstance(error, BadResponse):
            self._log.warning("a Worker's response was refused", reason=str(error))
            status = 502
        else:
            self._log.error("a request could not be served", reference=reference, exc_info=error)
        if exchange.begun:
            exchange.cut()
            return
        extra += b"x-error-reference: %b\r\n" % reference.encode("ascii")
        _send_text(exchange, status, f"error code: {code}\n", extra)


def _too_large() -> BadRequest:
    return BadRequest(413, "The request's body is too large.")


def _send_text(exchange: Exchange, status: int, text: str, block: bytes = b"") -> None:
    exchange.respond(status, _TEXT_HEADERS + block, text.encode())


_TEXT_HEADERS: Final = b"content-type: text/plain; charset=utf-8\r\ncache-control: no-store\r\n"
