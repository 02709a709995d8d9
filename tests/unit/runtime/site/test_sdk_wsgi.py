"""`workers.wsgi.fetch` (reference 1.13)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import js
import pytest
from pyodide.ffi import run_sync
from workers import Request, wsgi
from workers._web.request import Request as RawRequest

ENV = SimpleNamespace(NAME="env")
URL = "https://test.com/a%C3%A4/b?x=1"


async def fetch(app: Any, **options: Any) -> Any:
    return await wsgi.fetch(app, Request(URL, **options), ENV)


async def test_environ():
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    seen: dict[str, Any] = {}
    headers = [("X-A", "1"), ("x-a", "2"), ("Content-Type", "a/b")]
    response = await fetch(app, method="POST", body="body", headers=headers)

    assert await response.text() == "body"
    expected = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a\u00c3\u00a4/b",
        "QUERY_STRING": "x=1",
        "SERVER_NAME": "test.com",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_X_A": "1,2",
        "CONTENT_TYPE": "a/b",
        "CONTENT_LENGTH": "4",
        "wsgi.url_scheme": "https",
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "workers.env": ENV,
    }
    assert {name: seen[name] for name in expected} == expected


async def test_a_streamed_body_is_read_when_it_is_asked_for():
    async def chunks():
        yield b"line 1\n"
        yield b"line 2\n"

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        assert "CONTENT_LENGTH" not in environ
        start_response("200 OK", [])
        return [environ["wsgi.input"].readline(), environ["wsgi.input"].read()]

    assert await (await fetch(app, method="POST", body=chunks())).text() == "line 1\nline 2\n"


async def test_response():
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("404 Gone Fishing", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
        write(b"written ")
        return [b"returned", b" twice"]

    response = await fetch(app)
    assert isinstance(response, js.Response)
    assert (response.status, response.statusText) == (404, "Gone Fishing")
    assert response.headers.getSetCookie() == ["a=1", "b=2"]
    assert await response.text() == "written returned twice"


async def test_a_generator_is_streamed_and_closed():
    closed: list[bool] = []

    class Body:
        def __init__(self) -> None:
            self.left = iter([b"a", b"", b"b", b"c"])

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> bytes:
            return next(self.left)

        def close(self) -> None:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    response = await fetch(app)
    assert not closed
    assert await response.text() == "abc"
    assert closed == [True]

    left = await fetch(app)
    await left.body.read(1)
    await left.body.cancel()
    assert closed == [True, True]


async def test_a_generator_that_starts_late():
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("201 Created", [])
        yield b"x"

    assert (await fetch(app)).status == 201


async def test_start_response_must_be_called():
    with pytest.raises(RuntimeError, match=r"^The WSGI application did not call start_response\(\)$"):
        await fetch(lambda environ, start_response: [b"x"])


async def test_exceptions_reach_the_worker():
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        await fetch(app)


async def test_bodiless_answers():
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("204 No Content", [])
        return [b""]

    assert (await fetch(app)).body is None


async def test_the_url_must_be_absolute():
    raw = RawRequest.__new__(RawRequest)
    raw.url = "/relative"
    with pytest.raises(ValueError, match=r"^Request URL is not absolute: /relative$"):
        await wsgi.fetch(None, raw, ENV)


async def test_run_sync_works_inside_of_an_application():
    async def answer() -> bytes:
        return b"from the loop"

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [run_sync(answer())]

    assert await (await fetch(app)).text() == "from the loop"
