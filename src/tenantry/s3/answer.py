"""What a handler returns, and how it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from tenantry.errors import StreamError
from tenantry.s3.errors import S3Error
from tenantry.s3.limits import SEND_BYTES
from tenantry.s3.payload import Receive
from tenantry.s3.xml import Value, document
from tenantry.streams import ByteStream

__all__ = ["Answer", "Send", "error_answer", "http_date", "send_answer", "xml_answer"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Answer:
    """`length` says how long the body of a HEAD would be. A stream is closed by whoever sends it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | ByteStream = b""
    length: int | None = None


def xml_answer(name: str, content: Value, status: int = 200) -> Answer:
    return Answer(status, {"content-type": "application/xml"}, document(name, content))


def error_answer(failure: S3Error) -> Answer:
    """R2's form: no namespace, a code and a message."""
    body = document("Error", {"Code": failure.name, "Message": failure.message}, namespace=False)
    return Answer(failure.status, {"content-type": "application/xml"}, body)


def http_date(milliseconds: int) -> str:
    return formatdate(milliseconds // 1000, usegmt=True)


async def send_answer(answer: Answer, method: str, receive: Receive, send: Send) -> None:
    """Raises StreamError when the body breaks off: the server cuts the connection, so nobody takes it for whole."""
    body = answer.body
    length = answer.length
    if length is None:
        length = len(body) if isinstance(body, bytes) else body.length
    headers = [(name.encode("ascii"), _header_bytes(value)) for name, value in answer.headers.items()]
    bodiless = answer.status in (204, 304)
    if length is not None and not bodiless:
        headers.append((b"content-length", b"%d" % length))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    if isinstance(body, bytes) or method == "HEAD":
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" or bodiless else body})
        return
    await _send_stream(body, length, receive, send)


async def _send_stream(body: ByteStream, length: int | None, receive: Receive, send: Send) -> None:
    watcher: asyncio.Task[None] | None = None
    if length is None or length > SEND_BYTES:
        # Only `receive` tells that a client left, and for one that did nothing more is read from the disk.
        watcher = asyncio.create_task(_wait_gone(receive))
    try:
        sent = 0
        while chunk := await body.read(SEND_BYTES):
            if watcher is not None and watcher.done():
                return
            sent += len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        if length is not None and sent != length:
            raise StreamError("the object's bytes are not as many as they should be")
        await send({"type": "http.response.body", "body": b""})
    finally:
        if watcher is not None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _header_bytes(value: str) -> bytes:
    """Nothing that could end a header is let out, whatever is stored."""
    return "".join(c if c >= " " and c != "\x7f" else " " for c in value).encode("utf-8", "replace")
