"""The ASGI application on the tenants' port: every request goes to one Worker, which routes it as its author likes."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final
from uuid import uuid4

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
from tenantry.gateway.limits import DISCONNECT_WATCH_SECONDS, READ_AHEAD_BYTES
from tenantry.gateway.request import BadRequest, Receive, RequestBody, Scope, Send, content_length, read_request
from tenantry.gateway.response import BadResponse, send_answer, send_text
from tenantry.gateway.stats import RequestStats
from tenantry.host import Answer, Host
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX

if TYPE_CHECKING:
    # Not at run time: only an installation that asks for proof needs what verifies it.
    from tenantry.gateway.identity import Identity

__all__ = ["Gateway"]

_log = structlog.get_logger()

_REASON_CHARACTERS_MAX: Final = 100

_TOO_LARGE: Final = "The request's body is too large."

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
        self._body_bytes_max = body_bytes_max
        self._identity = identity
        self.requests = RequestStats()
        self._draining = False

    def drain(self) -> None:
        """Ask clients to come by other connections: each response is the last on its own."""
        self._draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            measured = self.requests.begin(send)
            try:
                # HTTP/2 has no such header: its connections end with a GOAWAY, when the server stops.
                last = self._draining and scope["http_version"] != "2"
                await self._serve(scope, receive, measured.send_last if last else measured.send)
            finally:
                self.requests.end(measured)
        elif scope["type"] == "websocket":
            # Accepting first is what ASGI asks for; this version has no sockets to offer.
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: Answer | None = None
        client: _Client | None = None
        try:
            if self._identity is None:
                request = read_request(scope)
            else:
                request = read_request(scope, self._identity.dropped)
                request.headers = self._identity.identify_untrusted(scope, request.headers)
            length = content_length(scope)
            if length is not None and self._body_bytes_max is not None and length > self._body_bytes_max:
                raise BadRequest(413, _TOO_LARGE)
            client = _Client(receive)
            body: RequestBody | None = None
            if length != 0:
                body = RequestBody(client.receive, length, self._body_bytes_max, client.refuse)
                if length is not None and length <= INLINE_BODY_BYTES_MAX:
                    request.body = await _whole(body)
                    body = None
            answer = await self._host.fetch(self._worker, request, body)
            await send_answer(answer, request.method, send)
        except asyncio.CancelledError:
            if client is None:
                raise
            if client.refused and not client.gone:
                if answer is not None and answer.begun:
                    raise StreamError("the request's body became larger than it may be") from None
                await send_text(send, 413, _TOO_LARGE + "\n")
            elif not client.gone:
                raise
        except BadRequest as error:
            challenge = [(b"www-authenticate", b"Bearer")] if error.status == 401 else None
            await send_text(send, error.status, error.reason + "\n", challenge)
        except StreamError:
            # The body broke off under way: raising has the server cut the connection, so nobody takes it for whole.
            raise
        except BadResponse as error:
            _log.warning("a Worker's response was refused", worker=self._worker, reason=str(error))
            if answer is None or answer.begun:
                raise
            await send_text(send, 502, "error code: 1101\n")
        except InvocationError as error:
            await self._fail(error, send)
        except Exception:
            reference = uuid4().hex
            _log.exception("a request could not be served", worker=self._worker, reference=reference)
            if answer is not None and answer.begun:
                raise  # the server cuts the connection
            await send_text(send, 500, "error code: 1101\n", [(b"x-error-reference", reference.encode())])
        finally:
            if client is not None:
                client.close()
            if answer is not None and answer.stream is not None:
                await answer.stream.aclose()

    async def _fail(self, error: InvocationError, send: Send) -> None:
        reference = uuid4().hex
        # What a Worker raised is in its own log: its text in ours would be a tenant's way to fill it.
        reason = error.name[:_REASON_CHARACTERS_MAX] if isinstance(error, WorkerThrew) else str(error)
        _log.info("a request failed", worker=self._worker, reference=reference, reason=reason)
        extra = [(b"x-error-reference", reference.encode())]
        if isinstance(error, Overloaded):
            extra.append((b"retry-after", b"1"))
        status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)
        await send_text(send, status, f"error code: {error.code}\n", extra)


class _Client:
    """The client of one request, who may leave: then the task that serves it is cancelled.

    Only `receive` tells that it did, after the body. So once a request takes a while what comes of its body is read
    ahead, a little, whether anybody asks for it or not. A quick one without a body pays for none of this.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: deque[Scope] | None = None
        self._ahead_bytes = 0
        self._taken: asyncio.Event | None = None
        self._turn: asyncio.Lock | None = None
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task(loop)
        self._watcher: asyncio.Task[None] | None = None
        self.gone = False
        self.refused = False
        self._timer = loop.call_later(DISCONNECT_WATCH_SECONDS, self._watch, loop)

    async def receive(self) -> Scope:
        if not self._ahead:  # else the watcher may have its turn until the client leaves
            if self._turn is None:
                self._turn = asyncio.Lock()
            async with self._turn:
                if not self._ahead:
                    return await self._receive()
        assert self._taken is not None
        message = self._ahead.popleft()
        self._ahead_bytes -= len(message.get("body", b""))
        self._taken.set()
        return message

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._watcher = loop.create_task(self._wait_gone())

    async def _wait_gone(self) -> None:
        ahead = self._ahead = deque()
        taken = self._taken = asyncio.Event()
        turn = self._turn = self._turn or asyncio.Lock()
        while not self.gone:
            while self._ahead_bytes >= READ_AHEAD_BYTES:
                taken.clear()
                await taken.wait()
            async with turn:
                message = await self._receive()
                self.gone = message["type"] == "http.disconnect"
                ahead.append(message)
                self._ahead_bytes += len(message.get("body", b""))
        assert self._task is not None
        self._task.cancel()

    def refuse(self) -> None:
        """It sends more than it may: nothing of its request goes on."""
        if not self.refused:
            self.refused = True
            assert self._task is not None
            self._task.cancel()

    def close(self) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()


async def _whole(body: RequestBody) -> bytes:
    """A body that is short enough to travel inline. Raises BadRequest when the client breaks it off."""
    chunks: list[bytes] = []
    try:
        while chunk := await body.read(INLINE_BODY_BYTES_MAX):
            chunks.append(chunk)
    except StreamError as error:
        raise BadRequest(400, "The request's body broke off.") from error
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
