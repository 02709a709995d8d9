"""From an ASGI request to what a Worker gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Final

from tenantry.errors import StreamError
from tenantry.gateway.limits import REQUEST_HEADER_BYTES_MAX, URL_CHARACTERS_MAX
from tenantry.wire.values import RequestValue

__all__ = ["BadRequest", "Receive", "RequestBody", "Scope", "Send", "content_length", "read_request"]

# ASGI's messages and scopes are dicts of whatever the type of message says.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HOST: Final = re.compile(rb"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_TARGET: Final = re.compile(rb"/[\x21-\x7e]*")
_CONNECTION_HEADERS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)
"""They speak of this connection, not of the request (RFC 9110, section 7.6.1)."""
_EDGE_HEADERS: Final = frozenset({b"cf-connecting-ip", b"x-real-ip", b"cf-worker"})
"""What only the platform may say of a request: a client's own is dropped."""
_DROPPED_HEADERS: Final = _CONNECTION_HEADERS | _EDGE_HEADERS


class BadRequest(Exception):
    """A request that reaches no Worker. `status` and `reason` are the whole answer."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@lru_cache(maxsize=1024)
def _authority(host: bytes) -> str | None:
    """A Host header as it stands in a URL, None where it is not a host name. They are few, and come again and again."""
    return host.decode("ascii").lower() if _HOST.fullmatch(host) else None


def read_request(scope: Scope, dropped: frozenset[bytes] = frozenset()) -> RequestValue:
    """The request without its body, and without headers in `dropped`. Raises BadRequest."""
    host = b""
    size = 0
    headers: list[tuple[str, str]] = []
    for name, value in scope["headers"]:
        size += len(name) + len(value) + 4
        if name == b"host":
            # Two of them, and what stands before this server may have gone by the other (RFC 9112, section 3.2).
            if host:
                raise BadRequest(400, "The request has more than one Host header.")
            host = value
        if name in _DROPPED_HEADERS or name in dropped:
            continue
        headers.append((name.decode("latin-1"), value.decode("latin-1")))
    if size > REQUEST_HEADER_BYTES_MAX:
        raise BadRequest(431, "The request's headers are too large.")
    authority = _authority(host)
    if authority is None:
        raise BadRequest(400, "The request's Host header is missing or is not a host name.")
    target = scope["raw_path"] or b"/"
    if not _TARGET.fullmatch(target):
        raise BadRequest(400, "The request's path holds characters that must be percent-encoded.")
    if query := scope["query_string"]:
        target += b"?" + query
    if len(target) > URL_CHARACTERS_MAX:
        raise BadRequest(414, "The request's URL is too long.")
    client = scope.get("client")
    if client:
        headers.append(("cf-connecting-ip", client[0]))
    url = f"{scope['scheme']}://{authority}{target.decode('latin-1')}"
    return RequestValue(scope["method"], url, headers)


def content_length(scope: Scope) -> int | None:
    """The length of the body, 0 where there is none, None where it is not known before its end."""
    length: int | None = 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit() or len(value) > 18:
                raise BadRequest(400, "The request's Content-Length is not a number.")
            return int(value)
        if name == b"transfer-encoding":
            length = None
    return None if length == 0 and scope["http_version"] != "1.1" and scope["method"] not in _BODILESS else length


_BODILESS: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"})
"""Methods whose HTTP/2 requests are taken to have no body when no length is given."""


class RequestBody:
    """The body of a request as a stream: what is not read stays with the client, by the server's back-pressure.

    One that becomes longer than `bytes_max` breaks off, and `refuse` is told.
    """

    def __init__(
        self,
        receive: Receive,
        length: int | None,
        bytes_max: int | None = None,
        refuse: Callable[[], None] = lambda: None,
    ) -> None:
        self.length = length
        self._bytes_max = bytes_max
        self._refuse = refuse
        self._bytes = 0
        self.ended = False
        self._receive = receive
        self._rest = b""
        self._failed = False

    async def read(self, size_max: int) -> bytes:
        while not self._rest:
            if self._failed:
                raise StreamError("the client left before the end of its request")
            if self.ended:
                return b""
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._failed = True
                continue
            self._rest = message.get("body", b"")
            self._bytes += len(self._rest)
            if self._bytes_max is not None and self._bytes > self._bytes_max:
                self._rest = b""
                self._failed = True
                self._refuse()
                raise StreamError("the request's body is longer than it may be")
            self.ended = not message.get("more_body", False)
        chunk, self._rest = self._rest[:size_max], self._rest[size_max:]
        return chunk

    async def aclose(self) -> None:
        """The server drops what was not read, with the connection if need be."""
        self._rest = b""
