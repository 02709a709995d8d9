"""`fetch()` of one Worker: a request out under its policy, the response back, both as streams.

An exchange lasts from the moment a request gets its turn until its response was read, closed or broken off and its own
body is no longer being sent; that long it holds its place among the Worker's requests. Bytes move when the other end
takes them: what a Worker does not read stays with the server it asked, and what that does not read stays with the
Worker. Whatever ends an exchange early (a cancelled call, an invocation that is over, a client that left) closes its
connection. Redirects are answers like any other: the Worker's side follows them with new requests, judged anew.

What a Worker may read of a failure names what it asked for and never what was found on the way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from tenantry.errors import BindingError, ProtocolError, StreamError
from tenantry.host.egress.connector import PolicyConnector, SocketCount
from tenantry.host.egress.limits import (
    CONNECT_ADDRESS_SECONDS_MAX,
    CONNECT_SECONDS_MAX,
    CONNECTIONS_PER_WORKER_MAX,
    IDLE_SECONDS_MAX,
    KEEPALIVE_SECONDS,
    QUEUE_PER_WORKER_MAX,
    QUEUE_SECONDS_MAX,
    READ_BYTES,
    RESPONSE_HEADER_BYTES_MAX,
    RESPONSE_HEADER_FIELD_BYTES_MAX,
    RESPONSE_HEADERS_MAX,
)
from tenantry.host.egress.policy import permits_address, permits_name, permits_port
from tenantry.host.egress.request import (
    CONNECTION_HEADERS,
    OutgoingRequest,
    decode_request_untrusted,
    read_request_untrusted,
)
from tenantry.host.egress.resolver import Lookup, NotPermitted, SystemLookup
from tenantry.host.targets import Permanent, Reply, Thing, close_streams
from tenantry.wire.events import InvocationKind
from tenantry.wire.limits import INLINE_BODY_BYTES_MAX
from tenantry.wire.values import ResponseValue, encode

if TYPE_CHECKING:
    from tenantry.config.egress import EgressPolicy
    from tenantry.host.invocation import Invocation
    from tenantry.streams import ByteStream

__all__ = ["Egress", "EgressNetwork"]

_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
"""What aiohttp would add. A Worker's request is what the Worker says."""
_BODILESS: Final = frozenset({204, 205, 304})
_TIMEOUT: Final = aiohttp.ClientTimeout(
    total=None, connect=CONNECT_SECONDS_MAX, sock_connect=CONNECT_ADDRESS_SECONDS_MAX, sock_read=IDLE_SECONDS_MAX
)


class EgressNetwork:
    """What all Workers' requests share: the resolver, and the descriptors. Made and closed on one event loop."""

    def __init__(self, lookup: Lookup | None = None) -> None:
        self._system = SystemLookup() if lookup is None else None
        self.lookup: Lookup = lookup or self._system  # type: ignore[assignment]  # one of the two is there
        self.sockets = SocketCount()
        self.sessions: set[aiohttp.ClientSession] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    def close_soon(self, session: aiohttp.ClientSession) -> None:
        self.sessions.discard(session)
        task = self._loop.create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self) -> None:
        for session in list(self.sessions):
            self.close_soon(session)
        while self._closing:
            await asyncio.wait(self._closing)
        if self._system is not None:
            self._system.close()


class Egress(Permanent):
    """The way out of one Worker. A capability: whoever holds it may ask for anything that `policy` permits."""

    def __init__(self, network: EgressNetwork, policy: EgressPolicy, timeout: aiohttp.ClientTimeout = _TIMEOUT) -> None:
        self._network = network
        self._policy = policy
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._room = asyncio.Semaphore(CONNECTIONS_PER_WORKER_MAX)
        self._waiting = 0
        self._running = 0
        self._idle: asyncio.TimerHandle | None = None

    async def call(
        self, invocation: Invocation, kind: InvocationKind, method: str, payload: bytes, things: list[Thing]
    ) -> Reply:
        try:
            if kind != InvocationKind.FETCH:
                raise ProtocolError("fetch() has no methods")
            request = read_request_untrusted(decode_request_untrusted(payload), things)
            self._check(request)
            await self._wait_turn()
        except BaseException:
            await close_streams(things)
            raise
        exchange = _Exchange(self, request, things)
        try:
            return await exchange.run(self._open())
        except BaseException as error:
            await exchange.aclose()
            if isinstance(error, (aiohttp.ClientError, OSError, ValueError)):
                raise _explained(error, request, exchange.upload) from error
            raise

    def _check(self, request: OutgoingRequest) -> None:
        if self._policy.mode == "deny":
            raise BindingError("fetch() is not permitted by the egress policy of this Worker.")
        host = request.host
        permitted = (
            permits_name(self._policy, host) if isinstance(host, str) else permits_address(self._policy, host, None)
        )
        if not permitted or not permits_port(self._policy, request.port):
            raise _refused(request)

    async def _wait_turn(self) -> None:
        if self._waiting >= QUEUE_PER_WORKER_MAX:
            raise BindingError(f"More than {QUEUE_PER_WORKER_MAX} requests of fetch() are waiting.")
        self._waiting += 1
        try:
            async with asyncio.timeout(QUEUE_SECONDS_MAX):
                await self._room.acquire()
        except TimeoutError:
            raise BindingError(
                f"fetch() waited too long for its turn: {CONNECTIONS_PER_WORKER_MAX} requests of this Worker are under "
                "way. Read or cancel the bodies of their responses."
            ) from None
        finally:
            self._waiting -= 1

    # The session -----------------------------------------------------------------------------------------------------

    def _open(self) -> aiohttp.ClientSession:
        self._running += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=PolicyConnector(self._policy, self._network.lookup, self._network.sockets),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_AUTOMATIC,
                auto_decompress=False,
                trust_env=False,
                requote_redirect_url=False,
                timeout=self._timeout,
                read_bufsize=READ_BYTES,
                max_field_size=RESPONSE_HEADER_FIELD_BYTES_MAX,
                max_headers=RESPONSE_HEADERS_MAX,
            )
            self._network.sessions.add(self._session)
        return self._session

    def ended(self) -> None:
        """An exchange is over."""
        self._room.release()
        self._running -= 1
        if not self._running:
            self._idle = asyncio.get_running_loop().call_later(KEEPALIVE_SECONDS, self.close)

    def close(self) -> None:
        """Give back the idle connections. The next request begins anew."""
        if self._session is not None and not self._running:
            self._network.close_soon(self._session)
            self._session = None


class _Exchange:
    """One request and its response. It is over once, and then its place is free."""

    def __init__(self, egress: Egress, request: OutgoingRequest, things: list[Thing]) -> None:
        self.upload = _Upload(request.body) if request.body is not None else None
        self._egress = egress
        self._request = request
        self._things = things
        self._response: aiohttp.ClientResponse | None = None
        self._over = asyncio.Event()

    async def run(self, session: aiohttp.ClientSession) -> Reply:
        request = self._request
        response = self._response = await session.request(
            request.method, request.url, headers=request.headers, data=self.upload, allow_redirects=False
        )
        if response.status < 200:
            raise aiohttp.ClientPayloadError("a switch of protocols that nobody asked for")
        value = ResponseValue(response.status, _response_headers(response), None, _reason(response), str(request.url))
        bodiless = request.method == "HEAD" or response.status in _BODILESS
        whole = response.content.is_eof() and response.content.total_bytes <= INLINE_BODY_BYTES_MAX
        if bodiless or whole:
            value.body = None if bodiless else response.content.read_nowait()
            await self.aclose()
            return Reply(encode(value))
        value.body = 0
        stream = _ResponseBody(response, self)
        is_uploading = self.upload is not None and not self.upload.finished
        return Reply(encode(value), [stream], over=self._over if is_uploading else None)

    async def aclose(self) -> None:
        """End it, whatever is still under way. Idempotent."""
        if self._over.is_set():
            return
        self._over.set()
        response = self._response
        if response is not None:
            if response.content.is_eof() and (self.upload is None or self.upload.finished):
                response.release()
            else:
                response.close()
        self._egress.ended()
        await close_streams(self._things)


class _Upload(aiohttp.Payload):
    """A request's body on its way. It is sent once: what aiohttp would send again on another connection is gone."""

    _autoclose = True

    def __init__(self, stream: ByteStream) -> None:
        super().__init__(stream)
        self._stream = stream
        self._size = stream.length
        self._begun = False
        self.finished = False
        self.failure: str | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        raise TypeError("a body that is a stream")

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Raises StreamError, which closes the connection: a length that was promised is kept to the byte."""
        if self._begun:
            raise StreamError("the connection was lost")
        self._begun = True
        sent = 0
        try:
            while chunk := await self._stream.read(READ_BYTES):
                sent += len(chunk)
                if self._size is not None and sent > self._size:
                    raise StreamError("it is longer than it said")
                await writer.write(chunk)
            if self._size is not None and sent < self._size:
                raise StreamError("it is shorter than it said")
        except StreamError as error:
            self.failure = str(error)
            raise
        self.finished = True


class _ResponseBody:
    """A response's body: a `ByteStream` over the connection."""

    __slots__ = ("_ended", "_exchange", "_response", "length")

    def __init__(self, response: aiohttp.ClientResponse, exchange: _Exchange) -> None:
        self.length = response.content_length
        self._response = response
        self._exchange = exchange
        self._ended = False

    async def read(self, size_max: int) -> bytes:
        if self._ended:
            return b""
        try:
            data = await self._response.content.read(size_max)
        except TimeoutError as error:
            await self.aclose()
            raise StreamError("The server sent nothing for too long.") from error
        except (aiohttp.ClientError, OSError) as error:
            await self.aclose()
            raise StreamError("The server broke off its response.") from error
        if not data:
            self._ended = True
            await self._exchange.aclose()
        return data

    async def aclose(self) -> None:
        await self._exchange.aclose()


def _response_headers(response: aiohttp.ClientResponse) -> list[tuple[str, str]]:
    """All of them in order, repeated ones too. Bytes beyond ASCII are Latin-1, as everywhere on this platform."""
    size = 0
    dropped = CONNECTION_HEADERS
    headers: list[tuple[str, str]] = []
    for raw_name, raw_value in response.raw_headers:
        size += len(raw_name) + len(raw_value) + 4
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name.lower() == "connection":
            dropped = dropped | {token.strip().lower() for token in value.split(",")}
        headers.append((name, value))
    if size > RESPONSE_HEADER_BYTES_MAX:
        raise ValueError("a header block that is too large")
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _reason(response: aiohttp.ClientResponse) -> str:
    return "".join(character for character in response.reason or "" if " " <= character <= "~")[:256]


def _refused(request: OutgoingRequest) -> BindingError:
    return BindingError(f"fetch() of {request.authority} is not permitted by the egress policy of this Worker.")


def _explained(error: Exception, request: OutgoingRequest, upload: _Upload | None) -> BindingError:
    """What the Worker reads."""
    authority = request.authority
    if upload is not None and upload.failure is not None:
        return BindingError(f"The body of the request to {authority} broke off: {upload.failure}.")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        # One text for a name that does not exist and one that leads inside: which inner names exist is not told.
        return BindingError(
            f"fetch() of {authority} failed: its name does not resolve to an address that the egress policy of this "
            "Worker permits."
        )
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, NotPermitted):
        return _refused(request)
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return BindingError(f"The connection to {authority} timed out.")
    if isinstance(error, TimeoutError):
        return BindingError(f"{authority} timed out: it sent nothing for too long.")
    if isinstance(error, (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError)):
        return BindingError(f"The connection to {authority} failed: its TLS certificate or protocol is not acceptable.")
    if isinstance(error, aiohttp.ClientConnectorError):
        return BindingError(f"The connection to {authority} failed.")
    if isinstance(error, (aiohttp.ClientResponseError, aiohttp.ClientPayloadError, ValueError)):
        return BindingError(f"The response of {authority} is not valid HTTP, or its headers are too large.")
    return BindingError(f"Network connection lost: {authority} closed it before it answered.")
