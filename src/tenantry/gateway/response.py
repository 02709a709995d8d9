"""From a Worker's response to ASGI messages. Every byte of it is a tenant's, so it is checked before it is sent."""

from __future__ import annotations

import re
from typing import Final

from tenantry.gateway.limits import RESPONSE_HEADER_BYTES_MAX, SEND_BYTES
from tenantry.gateway.request import Send
from tenantry.host import Answer
from tenantry.wire.values import ResponseValue

__all__ = ["BadResponse", "send_answer", "send_text"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_CONNECTION_HEADERS: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "trailer", "te", "content-length"}
)
"""The platform's to say, not the Worker's. A length is what the body has."""
_BODILESS_STATUSES: Final = frozenset({101, 204, 205, 304})


class BadResponse(Exception):
    """A response that no client may see."""


def encode_headers(response: ResponseValue) -> tuple[list[tuple[bytes, bytes]], int | None]:
    """The header block, and the length that the Worker claims for a body that it does not send. Raises BadResponse."""
    if not 200 <= response.status <= 599:
        raise BadResponse(f"status {response.status}")
    size = 0
    claimed: int | None = None
    headers: list[tuple[bytes, bytes]] = []
    for name, value in response.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadResponse("a header that cannot be sent")
        lower = name.lower()
        size += len(name) + len(value) + 4
        if size > RESPONSE_HEADER_BYTES_MAX:
            raise BadResponse(f"more than {RESPONSE_HEADER_BYTES_MAX} bytes of headers")
        if lower in _CONNECTION_HEADERS:
            if lower == "content-length" and value.isdigit() and len(value) <= 18:
                claimed = int(value)
            continue
        try:
            headers.append((lower.encode("ascii"), value.encode("latin-1")))
        except UnicodeEncodeError:
            headers.append((lower.encode("ascii"), value.encode("utf-8", "replace")))
    return headers, claimed


async def send_answer(answer: Answer, method: str, send: Send) -> None:
    """Send a Worker's answer; `answer.begun` says whether any of it is sent. Raises BadResponse for one that no client
    may see, and StreamError when its body breaks off.

    The stream stays the caller's to close.
    """
    response = answer.response
    headers, claimed = encode_headers(response)
    body = response.body if isinstance(response.body, bytes) else b""
    length = len(body) if answer.stream is None else answer.stream.length
    if method == "HEAD" or response.status in _BODILESS_STATUSES:
        known = claimed if claimed is not None else length
        if method == "HEAD" and known is not None:
            headers.append((b"content-length", b"%d" % known))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        answer.begun = True
        await send({"type": "http.response.body", "body": b""})
        return
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    answer.begun = True
    if answer.stream is None:
        await send({"type": "http.response.body", "body": body})
        return
    sent = 0
    while chunk := await answer.stream.read(SEND_BYTES):
        sent += len(chunk)
        if length is not None and sent > length:
            raise BadResponse("a body that is longer than it said")
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    if length is not None and sent < length:
        raise BadResponse("a body that is shorter than it said")
    await send({"type": "http.response.body", "body": b""})


async def send_text(send: Send, status: int, text: str, extra: list[tuple[bytes, bytes]] | None = None) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
