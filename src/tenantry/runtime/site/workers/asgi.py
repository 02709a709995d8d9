"""ASGI applications as Workers: `return await asgi.fetch(app, request, self.env)`.

A lifespan is run around each request: startup before it, shutdown once there is a response, though its body may still
be streaming. The body of the request is read when the application asks for it, the body of the response is sent while
the application writes it, and neither is held whole.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, NoReturn
from urllib.parse import unquote, urlsplit

from tenantry.runtime.invocation import current
from tenantry.runtime.streams import ReadableStream
from workers._web.request import Request
from workers._web.response import Response
from workers._web.transforms import Pipe

__all__ = ["env", "fetch", "websocket"]  # noqa: F822 - `env` is made by __getattr__

Message = MutableMapping[str, Any]
App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

ASGI: Final = {"spec_version": "2.0", "version": "3.0"}
BODILESS_STATUSES: Final = frozenset({101, 103, 204, 205, 304})
_CHUNK_BYTES: Final = 64 * 1024

_log = logging.getLogger("asgi")


class _Lifespan:
    """The application's lifespan, as a task beside the request."""

    def __init__(self, app: App, env: Any) -> None:
        self.state: dict[str, Any] = {}
        scope = {"type": "lifespan", "asgi": ASGI, "env": env, "state": self.state}
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[None] | None = None
        self._task = asyncio.ensure_future(self._run(app, scope))

    async def _run(self, app: App, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self._events.get, self._send)
        except Exception:  # noqa: BLE001 - how an application says that it has no lifespan
            return

    async def _send(self, message: Message) -> None:
        answer = self._answer
        kind = message["type"]
        if answer is None or answer.done():
            return
        if kind in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            answer.set_result(None)
        elif kind in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
            phase = kind.split(".")[1]
            answer.set_exception(RuntimeError(message.get("message") or f"ASGI lifespan {phase} failed"))
        else:
            answer.set_exception(RuntimeError(f"Unexpected lifespan event {kind}"))

    async def _tell(self, kind: str) -> None:
        """Send an event and wait for its answer; an application that has ended needs give none."""
        if self._task.done():
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._events.put_nowait({"type": kind})
        await asyncio.wait({self._task, self._answer}, return_when=asyncio.FIRST_COMPLETED)
        if self._answer.done():
            self._answer.result()

    async def startup(self) -> None:
        await self._tell("lifespan.startup")

    async def shutdown(self) -> None:
        try:
            await self._tell("lifespan.shutdown")
        finally:
            self._task.cancel()


def _scope(request: Request, env: Any, state: dict[str, Any], kind: str) -> dict[str, Any]:
    url = urlsplit(request.url)
    return {
        "asgi": ASGI,
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": unquote(url.path),
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "headers": [(name.lower().encode(), value.encode("utf-8")) for name, value in request.pairs],
        "type": kind,
        "env": env,
        "state": dict(state),
    }


class _Exchange:
    """One request and its response, between the application and the Worker."""

    def __init__(self, request: Request) -> None:
        body = request.take()
        self._body = ReadableStream.of(body) if isinstance(body, bytes) else body
        self._request_read = False
        self._status = 0
        self._pairs: list[tuple[str, str]] = []
        self._pipe: Pipe | None = None
        self._finished = asyncio.Event()
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    async def receive(self) -> Message:
        if self._request_read:
            await self._finished.wait()
            return {"type": "http.disconnect"}
        chunk = await self._body.read(_CHUNK_BYTES) if self._body is not None else b""
        self._request_read = not chunk
        return {"type": "http.request", "body": chunk, "more_body": bool(chunk)}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
            self._pairs = [
                (bytes(name).decode("latin-1").lower(), _text(value)) for name, value in message.get("headers", ())
            ]
        elif kind == "http.response.body":
            await self._send_body(bytes(message.get("body", b"")), bool(message.get("more_body", False)))

    async def _send_body(self, body: bytes, more: bool) -> None:
        if not self._status:
            raise RuntimeError("http.response.body was sent before http.response.start")
        if self._pipe is None:
            if not more:
                self._respond(body)
                self._finished.set()
                return
            self._pipe = Pipe()
            self._respond(ReadableStream.from_iterable(self._chunks(self._pipe)))
        if not self._pipe.ended:  # a client that left: the rest goes nowhere
            await self._pipe.write(body)
            if not more:
                self._pipe.end()
        if not more:
            self._finished.set()

    async def _chunks(self, pipe: Pipe) -> Any:
        chunks = pipe.chunks()
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()
            self._finished.set()

    def _respond(self, body: bytes | ReadableStream) -> None:
        if self.response.done():
            return
        has_body = self._status not in BODILESS_STATUSES
        self.response.set_result(Response(body if has_body else None, {"status": self._status, "headers": self._pairs}))

    async def run(self, app: App, scope: dict[str, Any]) -> None:
        try:
            await app(scope, self.receive, self.send)
            if not self.response.done():
                raise RuntimeError("The application did not generate a response")
        except Exception as error:  # noqa: BLE001 - it goes to the Worker, or to its log
            if self.response.done():
                _log.exception("Exception in ASGI application after response started")
            else:
                self.response.set_exception(error)
        finally:
            self._finished.set()
            if self._pipe is not None:
                self._pipe.end()
            if not self.response.done():
                self.response.cancel()


def _text(value: Any) -> str:
    data = bytes(value)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


async def fetch(app: App, req: Any, env: Any, ctx: Any = None) -> Response:
    """The application's raw response to a request, the SDK's or a raw one."""
    request: Request = getattr(req, "js_object", req)
    lifespan = _Lifespan(app, env)
    await lifespan.startup()
    try:
        exchange = _Exchange(request)
        task = asyncio.ensure_future(exchange.run(app, _scope(request, env, lifespan.state, "http")))
        (ctx.waitUntil if ctx is not None else current().wait_until)(task)
        try:
            return await exchange.response
        except asyncio.CancelledError:
            task.cancel()
            raise
    finally:
        await lifespan.shutdown()


async def websocket(app: App, req: Any, env: Any = None) -> NoReturn:
    raise NotImplementedError("asgi.websocket() is not available on this platform yet")


def __getattr__(name: str) -> Any:
    """`asgi.env`, a FastAPI dependency: made when asked for, since FastAPI is the program's own package."""
    if name != "env":
        raise AttributeError(f"module 'asgi' has no attribute {name!r}")
    fastapi = importlib.import_module("fastapi")

    async def env(request: Any) -> Any:
        return request.scope["env"]

    env.__annotations__["request"] = fastapi.Request
    dependency = globals()["env"] = fastapi.Depends(env)
    return dependency
