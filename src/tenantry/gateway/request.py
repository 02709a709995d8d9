"""From a request's head, as it stood on the wire, to what a Worker gets."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import msgspec

from tenantry.gateway.limits import REQUEST_HEADER_BYTES_MAX, URL_CHARACTERS_MAX
from tenantry.wire.values import RequestValue

__all__ = ["BadRequest", "RequestHead", "read_request"]

_HOST: Final = re.compile(rb"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_TARGET: Final = re.compile(rb"/[\x21\x22\x24-\x7e]*")
"""Visible ASCII. A fragment is the client's own (RFC 9112, section 3.2.1)."""
_ABSOLUTE: Final = re.compile(rb"https?://([^/?]*)([^\x00]*)", re.IGNORECASE)
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


class RequestHead(msgspec.Struct, eq=False):
    """What stands before a request's body. Names of headers are in lower case; `client` is an IP address."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    client: str

    @property
    def content_length(self) -> int | None:
        """The length of the body, 0 where there is none, None where it is not known before its end.

        The parser has refused lengths that are no numbers, and heads with more than one framing.
        """
        for name, value in self.headers:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return None
        return 0

    @property
    def expects_continue(self) -> bool:
        return any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers)


@lru_cache(maxsize=1024)
def _authority(host: bytes) -> str | None:
    """A Host header as it stands in a URL, None where it is not a host name. They are few, and come again and again."""
    return host.decode("ascii").lower() if _HOST.fullmatch(host) else None


def read_request(head: RequestHead, dropped: frozenset[bytes] = frozenset()) -> RequestValue:
    """The request without its body, and without headers in `dropped`. Raises BadRequest."""
    host = b""
    size = 0
    headers: list[tuple[str, str]] = []
    for name, value in head.headers:
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
    target = head.target
    if len(target) > URL_CHARACTERS_MAX:
        raise BadRequest(414, "The request's URL is too long.")
    if not target.startswith(b"/") and (absolute := _ABSOLUTE.fullmatch(target)):
        # What a proxy is sent. The host is the target's then, whatever the header says (RFC 9112, section 3.2.2).
        host, target = absolute.groups()
        if not target.startswith(b"/"):
            target = b"/" + target
    authority = _authority(host)
    if authority is None:
        raise BadRequest(400, "The request's Host header is missing or is not a host name.")
    if not _TARGET.fullmatch(target):
        raise BadRequest(400, "The request's path holds characters that must be percent-encoded.")
    headers.append(("cf-connecting-ip", head.client))
    return RequestValue(head.method, f"http://{authority}{target.decode('ascii')}", headers)
