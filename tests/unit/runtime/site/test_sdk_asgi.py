"""`asgi.fetch` (reference 1.13)."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import asgi
import js
import pytest
from litestar import Litestar, get, post
from litestar import Request as LitestarRequest
from workers import Request, Response

ENV = SimpleNamespace(NAME="env")
URL = "https://test.com/a%20b/c?x=1&y=2"


def no_lifespan(handler: Any) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await handler(scope, receive, send)

    return app


async def start(send: Any, status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})


async def body(send: Any, data: bytes = b"", more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


@pytest.fixture
def fetch(invocation: Any):
    async def call(handler: Any, request: Any = None, **options: Any) -> Any:
        request = request or Request(URL)
        return await asgi.fetch(no_lifespan(handler), request, ENV, **options)

    return call


async def test_the_scope(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await start(send)
        await body(send)

    scopes: list[Any] = []
    request = Request(URL, method="PUT", body="x", headers=[("X-A", "1"), ("x-a", "2")])
    await fetch(handler, request)
    assert scopes == [
        {
            "asgi": {"spec_version": "2.0", "version": "3.0"},
            "http_version": "1.1",
            "method": "PUT",
            "scheme": "https",
            "path": "/a b/c",
            "raw_path": b"/a%20b/c",
            "query_string": b"x=1&y=2",
            "headers": [(b"x-a", b"1"), (b"x-a", b"2"), (b"content-type", b"text/plain;charset=UTF-8")],
            "type": "http",
            "env": ENV,
            "state": {},
        }
    ]


@pytest.mark.parametrize("raw", [False, True])
async def test_a_whole_response(fetch: Any, raw: bool):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send, 201, [(b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"X-A", b"\xff")])
        await body(send, b"hello")

    request = js.Request.new(URL) if raw else Request(URL)
    response = await fetch(handler, request)
    assert isinstance(response, js.Response)
    assert response.status == 201
    assert response.headers.getSetCookie() == ["a=1", "b=2"]
    assert response.headers.get("x-a") == "ÿ"
    assert await response.text() == "hello"


async def test_a_streamed_response_comes_before_it_ends(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        for index in range(3):
            await body(send, str(index).encode(), more=True)
            await go.wait()
        await body(send, b"end")

    go = asyncio.Event()
    response = await fetch(handler)
    stream = response.body
    assert await stream.read(100) == b"0"
    go.set()
    assert await stream.read_all() == b"12end"


async def test_the_body_comes_in_chunks_and_then_the_disconnect(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        messages.append(await receive())
        messages.append(await receive())
        disconnected = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not disconnected.done()
        await start(send)
        await body(send)
        messages.append(await disconnected)

    messages: list[Any] = []
    await fetch(handler, Request(URL, method="POST", body="abc"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert messages == [
        {"type": "http.request", "body": b"abc", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": False},
        {"type": "http.disconnect"},
    ]


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_statuses_without_a_body(fetch: Any, status: int):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send, status)
        await body(send, b"ignored")

    response = await fetch(handler)
    assert (response.status, response.body) == (status, None)


async def test_no_response(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        pass

    with pytest.raises(RuntimeError, match=r"^The application did not generate a response$"):
        await fetch(handler)


async def test_an_exception_before_the_response(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        await fetch(handler)


async def test_an_exception_after_the_start_is_logged(fetch: Any, caplog: pytest.LogCaptureFixture):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await body(send, b"half", more=True)
        raise ValueError("mine")

    with caplog.at_level(logging.ERROR):
        response = await fetch(handler)
        assert await response.text() == "half"
    assert "Exception in ASGI application after response started" in caplog.text


async def test_a_reader_that_leaves_does_not_hang_the_application(fetch: Any, invocation: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        for _ in range(20):
            await body(send, b"x" * 100_000, more=True)
        await body(send)

    response = await fetch(handler)
    await response.body.read(10)
    await response.body.cancel()
    await asyncio.gather(*invocation.waiting)


async def test_the_task_is_registered_with_ctx_where_there_is_one(fetch: Any):
    async def handler(scope: Any, receive: Any, send: Any) -> None:
        await start(send)
        await body(send)

    registered: list[Any] = []
    await fetch(handler, ctx=SimpleNamespace(waitUntil=registered.append))
    await asyncio.gather(*registered)
    assert len(registered) == 1


# Lifespan ----------------------------------------------------------------------------------------------------------


def lifespan_app(events: list[str], answers: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                events.append(message["type"])
                if message["type"] == "lifespan.startup":
                    scope["state"]["made"] = ["at startup"]
                await send(answers.get(message["type"], {"type": f"{message['type']}.complete"}))
                if message["type"] == "lifespan.shutdown":
                    return
        events.append("http")
        assert scope["state"] == {"made": ["at startup"]}
        await start(send)
        await body(send, b"x")

    return app


async def test_a_lifespan_runs_around_each_request(invocation: Any):
    events: list[str] = []
    for _ in range(2):
        response = await asgi.fetch(lifespan_app(events, {}), Request(URL), ENV)
        assert await response.text() == "x"
    assert events == ["lifespan.startup", "http", "lifespan.shutdown"] * 2


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"type": "lifespan.startup.failed", "message": "no database"}, "no database"),
        ({"type": "lifespan.startup.failed"}, "ASGI lifespan startup failed"),
        ({"type": "lifespan.strange"}, "Unexpected lifespan event lifespan.strange"),
    ],
)
async def test_a_startup_that_fails(invocation: Any, answer: dict[str, str], message: str):
    with pytest.raises(RuntimeError) as caught:
        await asgi.fetch(lifespan_app([], {"lifespan.startup": answer}), Request(URL), ENV)
    assert str(caught.value) == message


async def test_an_application_that_returns_from_its_lifespan(invocation: Any):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await start(send)
        await body(send, b"x")

    assert await (await asgi.fetch(app, Request(URL), ENV)).text() == "x"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Litestar's, of how handlers name parameters
async def test_litestar(invocation: Any):
    @get("/hello/{name:str}")
    async def hello(request: LitestarRequest) -> dict[str, str]:
        return {"name": request.path_params["name"], "env": request.scope["env"].NAME}  # type: ignore[typeddict-item]

    @post("/sum")
    async def total(data: list[int]) -> int:
        return sum(data)

    app = Litestar([hello, total])
    response = Response(await asgi.fetch(app, Request("https://test.com/hello/you"), ENV))
    assert await response.json() == {"name": "you", "env": "env"}
    request = Request(
        "https://test.com/sum", method="POST", body="[1, 2]", headers={"content-type": "application/json"}
    )
    response = Response(await asgi.fetch(app, request, ENV))
    assert (response.status, await response.text()) == (201, "3")


def test_env_is_a_dependency_of_fastapi(monkeypatch: pytest.MonkeyPatch):
    fake = ModuleType("fastapi")
    fake.Request = type("Request", (), {})  # type: ignore[attr-defined]
    fake.Depends = lambda function: ("Depends", function)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fastapi", fake)
    monkeypatch.delitem(vars(asgi), "env", raising=False)

    kind, function = asgi.env
    assert kind == "Depends"
    assert function.__annotations__["request"] is fake.Request  # type: ignore[attr-defined]
    assert asyncio.run(function(SimpleNamespace(scope={"env": ENV}))) is ENV
    monkeypatch.delitem(vars(asgi), "env")


async def test_websockets_say_that_they_are_missing():
    with pytest.raises(NotImplementedError):
        await asgi.websocket(None, Request(URL))
