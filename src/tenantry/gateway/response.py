"""From a Worker's response to the head of one on the wire. Every byte of it is a tenant's, so it is checked first."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from tenantry.gateway.limits import RESPONSE_HEADER_BYTES_MAX
from tenantry.wire.values import ResponseValue

__all__ = ["BODILESS_STATUSES", "BadResponse", "encode_headers", "status_line"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_LENGTH: Final = re.compile(r"[0-9]{1,18}")
_CONNECTION_HEADERS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", "te", "content-length"}
)
"""The platform's to say, not the Worker's. A length is what the body has."""
BODILESS_STATUSES: Final = frozenset({204, 205, 304})


class BadResponse(Exception):
    """A response that no client may see."""


@lru_cache(maxsize=512)
def status_line(status: int) -> bytes:
    """Of a status from 100 to 599, with its line end."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


@lru_cache(maxsize=1024)
def _header_name(name: str) -> str | None:
    """A name in lower case, "" for what is the platform's to say, None for what cannot be sent."""
    if len(name) > RESPONSE_HEADER_BYTES_MAX or not _NAME.fullmatch(name):
        return None
    lower = name.lower()
    return "" if lower in _CONNECTION_HEADERS else lower


def encode_headers(response: ResponseValue) -> tuple[bytes, int | None, bool]:
    """The header block without its end, the length that the Worker claims for a body that it does not send, and whether
    there is a Date. Raises BadResponse.
    """
    if not 200 <= response.status <= 599:
        raise BadResponse(f"status {response.status}")
    size = 0
    claimed: int | None = None
    dated = False
    lines: list[str] = []
    for name, value in response.headers:
        size += len(name) + len(value) + 4
        if size > RESPONSE_HEADER_BYTES_MAX:
            raise BadResponse(f"more than {RESPONSE_HEADER_BYTES_MAX} bytes of headers")
        lower = _header_name(name)
        if lower is None or not _VALUE.fullmatch(value):
            raise BadResponse("a header that cannot be sent")
        if lower:
            lines.append(f"{lower}: {value}\r\n")
            dated = dated or lower == "date"
        elif name.lower() == "content-length" and _LENGTH.fullmatch(value):
            claimed = int(value)
    block = "".join(lines)
    try:
        return block.encode("latin-1"), claimed, dated
    except UnicodeEncodeError:
        return b"".join(map(_encode_line, lines)), claimed, dated


def _encode_line(line: str) -> bytes:
    """Where a value is not Latin-1 its bytes are those of UTF-8."""
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")
