"""WSGI applications as Workers: `return await wsgi.fetch(app, request, self.env)`.

The application is synchronous, so it runs in a thread, where `pyodide.ffi.run_sync` may block on what bindings return.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from tenantry.runtime.streams import ReadableStream
from workers._sync import in_thread, run_sync
from workers._web.request import Request
from workers._web.response import Response

__all__ = ["fetch"]

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

BODILESS_STATUSES: Final = frozenset({204, 205, 304})


class _Input(io.RawIOBase):
    """`wsgi.input` over a stream: each read blocks the application's thread until bytes are there."""

    def __init__(self, stream: ReadableStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = run_sync(self._stream.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def _environ(request: Request, env: Any) -> dict[str, Any]:
    url = urlsplit(request.url)
    if not url.scheme or not url.hostname:
        raise ValueError(f"Request URL is not absolute: {request.url}")
    body = request.take()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(url.path).decode("latin-1"),
        "QUERY_STRING": url.query,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port or (443 if url.scheme == "https" else 80)),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": io.BufferedReader(_Input(body)) if isinstance(body, ReadableStream) else io.BytesIO(body or b""),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "workers.env": env,
    }
    if not isinstance(body, ReadableStream):
        environ["CONTENT_LENGTH"] = str(len(body or b""))
    for name, value in request.pairs:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        if key in environ and key != "CONTENT_LENGTH":
            value = f"{environ[key]},{value}"
        environ[key] = value
    return environ


class _Run:
    """The application's answer. All of its methods run in threads, one after the other."""

    def __init__(self, app: App, environ: dict[str, Any]) -> None:
        self._app = app
        self._environ = environ
        self._written: list[bytes] = []
        self._chunks: Iterator[bytes] = iter(())
        self._iterable: Iterable[bytes] = ()
        self._closed = False
        self.status = 0
        self.status_text = ""
        self.headers: list[tuple[str, str]] = []

    def _start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if self.status and exc_info is None:
            raise AssertionError("start_response() was called twice")
        code, _, reason = status.partition(" ")
        self.status, self.status_text, self.headers = int(code), reason, list(headers)
        return self._written.append

    def start(self) -> tuple[bytes, bool]:
        """(first bytes, whether that was all)."""
        self._iterable = self._app(self._environ, self._start_response)
        is_whole = isinstance(self._iterable, (list, tuple))
        self._chunks = iter(self._iterable)
        first = b"".join(self._chunks) if is_whole else next(self._chunks, None)
        if not self.status:
            self.close()
            raise RuntimeError("The WSGI application did not call start_response()")
        head = b"".join(self._written) + (first or b"")
        if is_whole or first is None:
            self.close()
            return head, True
        return head, False

    def next(self) -> bytes | None:
        return next(self._chunks, None)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            close = getattr(self._iterable, "close", None)
            if close is not None:
                close()


async def _stream(run: _Run, head: bytes) -> AsyncIterator[bytes]:
    try:
        if head:
            yield head
        while (chunk := await in_thread(run.next)) is not None:
            if chunk:
                yield chunk
    finally:
        await asyncio.shield(in_thread(run.close))


async def fetch(app: App, request: Any, env: Any, ctx: Any = None) -> Response:
    """The application's raw response to a request, the SDK's or a raw one."""
    raw: Request = getattr(request, "js_object", request)
    run = _Run(app, _environ(raw, env))
    head, is_whole = await in_thread(run.start)
    init = {"status": run.status, "statusText": run.status_text, "headers": run.headers}
    if run.status in BODILESS_STATUSES or raw.method == "HEAD":
        await in_thread(run.close)
        return Response(None, init)
    return Response(head if is_whole else ReadableStream.from_iterable(_stream(run, head)), init)
