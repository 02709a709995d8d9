"""What a Worker asks for, taken apart before a byte of it goes anywhere.

The URL is parsed here, strictly, and put together again from its parts, so that what was judged and what is sent cannot
differ. Of the headers, those that frame the message or name its host are the platform's to write (RFC 9110, section
7.6.1): a Worker that passes on a request that it received need not weed them out, and one that tries to smuggle cannot.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import unquote

from yarl import URL

from tenantry.errors import BindingError, ProtocolError
from tenantry.host.egress.addresses import Address, BadHost, parse_host_untrusted
from tenantry.host.egress.limits import (
    METHOD_CHARACTERS_MAX,
    REQUEST_HEADER_BYTES_MAX,
    REQUEST_HEADERS_MAX,
    URL_CHARACTERS_MAX,
)
from tenantry.host.targets import Thing
from tenantry.streams import BytesStream, ByteStream
from tenantry.wire.values import RequestValue, capability, decode_untrusted

__all__ = ["CONNECTION_HEADERS", "OutgoingRequest", "decode_request_untrusted", "read_request_untrusted"]

CONNECTION_HEADERS: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They speak of one connection, not of the message."""
_PLATFORM_HEADERS: Final = CONNECTION_HEADERS | {"host", "content-length", "expect"}

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?:(?P<user>[^/?#\\\x00-\x20\x7f-\U0010ffff]*)@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5})?)?"
    r"(?P<path>/[!-~]*)?(?:\?(?P<query>[!-~]*))?",
    re.ASCII,
)
_METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
_NAME: Final = _METHOD
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*")
_SCHEME: Final = re.compile(r"https?:", re.ASCII)
_UNSUPPORTED_METHODS: Final = frozenset({"CONNECT", "TRACE", "TRACK"})
"""The Fetch standard forbids them. CONNECT asks for a tunnel."""
_BODILESS_METHODS: Final = frozenset({"GET", "HEAD"})
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(slots=True)
class OutgoingRequest:
    """A request that can be sent. `host` is an address or a name, `authority` how its Worker may read of it."""

    method: str
    url: URL
    host: Address | str
    port: int
    headers: list[tuple[str, str]] = field(repr=False)
    body: ByteStream | None

    @property
    def authority(self) -> str:
        return f"{self.url.host_subcomponent}:{self.port}"


def decode_request_untrusted(payload: bytes) -> RequestValue:
    """The request that a `fetch()` carries. Raises ProtocolError: no honest runtime sends anything else."""
    args = decode_untrusted(payload)
    if type(args) is not list or len(args) != 1 or not isinstance(args[0], RequestValue):
        raise ProtocolError("a fetch without a request")
    return args[0]


def read_request_untrusted(value: RequestValue, things: list[Thing]) -> OutgoingRequest:
    """Raises BindingError for what the Worker may read, ProtocolError for what no honest one sends."""
    method = value.method.upper()
    if len(method) > METHOD_CHARACTERS_MAX or not _METHOD.fullmatch(method) or method in _UNSUPPORTED_METHODS:
        raise BindingError(f"Invalid HTTP method string: {value.method[:METHOD_CHARACTERS_MAX]}", "TypeError")
    url, host, port, authorization = _url(value.url)
    headers = _headers(value.headers)
    if authorization is not None and all(name.lower() != "authorization" for name, _ in headers):
        headers.append(("Authorization", authorization))
    body = _body(value, things)
    if body is not None and method in _BODILESS_METHODS:
        raise BindingError("Request with a GET or HEAD method cannot have a body.", "TypeError")
    return OutgoingRequest(method, url, host, port, headers, body)


def _url(text: str) -> tuple[URL, Address | str, int, str | None]:
    if len(text) > URL_CHARACTERS_MAX:
        raise BindingError("The URL is too long.", "TypeError")
    text = text.partition("#")[0]
    match = _URL.fullmatch(text)
    if match is None:
        if not _SCHEME.match(text):
            raise BindingError(f"Fetch API cannot load: {text[:200]}", "TypeError")
        raise BindingError(f"Invalid URL: {text[:200]}", "TypeError")
    scheme = match["scheme"]
    try:
        host = parse_host_untrusted(match["host"])
    except BadHost:
        raise BindingError(f"Invalid URL: {text[:200]}", "TypeError") from None
    port = int(match["port"] or _PORTS[scheme])
    if not 0 < port <= 65535:
        raise BindingError(f"Invalid URL: {text[:200]}", "TypeError")
    url = URL.build(
        scheme=scheme,
        host=f"[{host}]" if isinstance(host, IPv6Address) else str(host),
        port=None if port == _PORTS[scheme] else port,
        path=match["path"] or "/",
        query_string=match["query"] or "",
        encoded=True,
    )
    authorization = None
    if match["user"]:
        user, _, password = match["user"].partition(":")
        credentials = f"{unquote(user)}:{unquote(password)}".encode()
        authorization = "Basic " + base64.b64encode(credentials).decode()
    return url, host, port, authorization


def _headers(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    if len(pairs) > REQUEST_HEADERS_MAX:
        raise BindingError(f"A request with more than {REQUEST_HEADERS_MAX} headers.", "TypeError")
    dropped = _PLATFORM_HEADERS
    size = 0
    for name, text in pairs:
        if not _NAME.fullmatch(name):
            raise BindingError("Invalid header name.", "TypeError")
        if not _VALUE.fullmatch(text):
            raise BindingError("Invalid header value.", "TypeError")
        size += len(name) + len(text.encode()) + 4
        if name.lower() == "connection":
            dropped = dropped | {token.strip().lower() for token in text.split(",")}
    if size > REQUEST_HEADER_BYTES_MAX:
        raise BindingError(f"A request with more than {REQUEST_HEADER_BYTES_MAX} bytes of headers.", "TypeError")
    return [(name, text.strip(" \t")) for name, text in pairs if name.lower() not in dropped]


def _body(value: RequestValue, things: list[Thing]) -> ByteStream | None:
    if value.body is None:
        return None
    if isinstance(value.body, bytes):
        return BytesStream(value.body)
    stream = capability(value.body, things)
    if not isinstance(stream, ByteStream):
        raise ProtocolError("a body that is not a stream")
    return stream
