"""`js` and `pyodide.ffi` (reference 1.17)."""

from __future__ import annotations

import asyncio
from typing import Any

import js
import pytest
from pyodide.ffi import (
    JsBuffer,
    JsException,
    JsProxy,
    create_once_callable,
    create_proxy,
    destroy_proxies,
    jsnull,
    run_sync,
    to_js,
)
from workers import Response
from workers._sync import in_thread


def test_every_global_exists():
    for name in dir(js):
        if name != "undefined":
            assert getattr(js, name) is not None
    assert js.undefined is None


@pytest.mark.parametrize("name", ["HTMLRewriter", "WebSocketPair", "WebSocket", "caches", "eval"])
def test_what_is_not_there_says_so(name: str):
    with pytest.raises(AttributeError, match=f"js.{name} is not available on this platform"):
        getattr(js, name)
    with pytest.raises(ImportError):
        exec(f"from js import {name}")


def test_to_js():
    made = to_js({"a": [1, {"b": b"x"}], "t": (1, 2)}, dict_converter=js.Object.fromEntries)
    assert made.a[1].b.to_bytes() == b"x"
    assert list(made.t) == [1, 2]
    assert made.to_py()["t"] == [1, 2]

    data = to_js(b"abc")
    assert (data.length, data.byteLength, data.buffer.byteLength) == (3, 3, 3)
    assert data.to_py().tobytes() == b"abc"
    assert data.constructor.name == "Uint8Array"
    assert isinstance(data, JsBuffer)

    assert to_js("x") == "x"
    assert to_js(None) is None
    response = Response("x")
    assert to_js(response) is response.js_object
    assert to_js(object, default_converter=lambda value, convert, cache: convert({"x": 1})).x == 1


def test_proxies_are_the_objects():
    proxy = create_proxy(len)
    assert proxy("abc") == 3
    assert proxy.copy()("ab") == 2
    assert create_once_callable(len)("a") == 1
    proxy.destroy()
    destroy_proxies([proxy])


def test_what_counts_as_a_proxy(fake_stub: Any):
    for value in (js.Response.new("x"), to_js({}), to_js([]), js.Date.new(0)):
        assert isinstance(value, JsProxy)
    for value in ({}, [], "x", None, Response("x")):
        assert not isinstance(value, JsProxy)


def test_jsnull_is_a_falsy_singleton():
    assert not jsnull
    assert repr(jsnull) == "jsnull"
    assert js.Response.new(jsnull).body is None
    assert js.JSON.stringify({"a": jsnull}) == '{"a":null}'


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: js.Response.new("x"), "Response"),
        (lambda: js.Request.new("https://a.b"), "Request"),
        (lambda: js.Headers.new(), "Headers"),
        (lambda: js.FormData.new(), "FormData"),
        (lambda: js.Blob.new(["x"]), "Blob"),
        (lambda: js.File.new(["x"], "n"), "File"),
        (lambda: js.URL.new("https://a.b"), "URL"),
        (lambda: js.URLSearchParams.new("a=b"), "URLSearchParams"),
        (lambda: js.Uint8Array.new(3), "Uint8Array"),
        (lambda: js.ArrayBuffer.new(3), "ArrayBuffer"),
        (lambda: js.Date.new(0), "Date"),
        (lambda: js.TransformStream.new(), "TransformStream"),
        (lambda: js.Response.new("x").body, "ReadableStream"),
    ],
)
async def test_constructor_names(make: Any, name: str):
    value = make()
    assert value.constructor.name == name
    assert value.to_py() is not None


async def test_classic_responses():
    headers = js.Headers.new({"content-type": "text/html"}.items())
    response = js.Response.new("<p>", status=201, statusText="Made", headers=headers)
    assert (response.status, response.statusText, response.headers.get("Content-Type")) == (201, "Made", "text/html")
    response.headers.set("X-A", "1")
    assert response.headers.get("x-a") == "1"
    assert await response.clone().text() == "<p>"

    init = to_js({"status": 404}, dict_converter=js.Object.fromEntries)
    assert js.Response.new("x", init).status == 404
    made = js.Response.json({"a": 1.0, "b": None}, status=202)
    assert made.status == 202
    assert made.headers.get("content-type") == "application/json"
    assert (await made.json()).b is None
    with pytest.raises(JsException, match=r"Body has already been used. It can only be used once"):
        await made.text()
    with pytest.raises(JsException) as caught:
        await js.Response.new("{").json()
    assert caught.value.name == "SyntaxError"


async def test_classic_requests():
    request = js.Request.new("https://a.b/c?d", method="POST", body=js.JSON.stringify({"x": [1]}))
    body = await request.json()
    assert body.x[0] == 1
    assert body.to_py() == {"x": [1]}
    assert js.Request.new(request.url).method == "GET"


def test_headers():
    headers = js.Headers.new([["B", "2"], ["a", "1"], ["b", "3"]])
    headers.append("set-cookie", "x=1")
    headers.append("Set-Cookie", "y=2")
    assert list(headers) == [("a", "1"), ("b", "2, 3"), ("set-cookie", "x=1"), ("set-cookie", "y=2")]
    assert headers.getSetCookie() == ["x=1", "y=2"]
    assert (headers.has("A"), headers.get("nope")) == (True, None)
    assert "B" in headers
    headers.delete("B")
    assert list(headers.keys()) == ["a", "set-cookie", "set-cookie"]
    with pytest.raises(JsException, match=r"Invalid header name\."):
        headers.set("a b", "x")


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (
            "https://user:pw@Test.com:8443/a/../b?x=1&y=ä#frag",
            {
                "protocol": "https:",
                "username": "user",
                "password": "pw",
                "host": "test.com:8443",
                "hostname": "test.com",
                "port": "8443",
                "origin": "https://test.com:8443",
                "pathname": "/b",
                "search": "?x=1&y=%C3%A4",
                "hash": "#frag",
            },
        ),
        ("https://a.b?", {"href": "https://a.b/?", "search": "", "pathname": "/"}),
        ("mailto:x@y.z", {"protocol": "mailto:", "pathname": "x@y.z", "origin": "null", "href": "mailto:x@y.z"}),
    ],
)
def test_urls(url: str, parts: dict[str, str]):
    parsed = js.URL.new(url)
    assert {name: getattr(parsed, name) for name in parts} == parts


def test_urls_with_a_base_and_live_parameters():
    url = js.URL.new("../x?q=1", "https://a.b/c/d/e")
    assert url.href == "https://a.b/c/x?q=1"
    url.searchParams.set("q", "ä b")
    url.searchParams.append("r", 2)
    assert url.toString() == "https://a.b/c/x?q=%C3%A4+b&r=2"
    url.search = "?z=1"
    assert url.searchParams.get("z") == "1"
    url.pathname = "/new"
    assert str(url) == "https://a.b/new?z=1"
    assert not js.URL.canParse("nope")


def test_search_params():
    params = js.URLSearchParams.new("?a=1&b=2&a=3&c")
    assert (params.get("a"), params.getAll("a"), params.get("x"), params.has("c")) == ("1", ["1", "3"], None, True)
    params.set("a", "9")
    params.delete("b")
    assert (str(params), params.size) == ("a=9&c=", 2)


def test_json():
    assert js.JSON.stringify({"a": [1, 2.0, None, True, "ä"]}) == '{"a":[1,2,null,true,"ä"]}'
    assert js.JSON.stringify([1], None, 2) == "[\n  1\n]"
    parsed = js.JSON.parse('{"a": {"b": [1, {"c": 2}]}}')
    assert parsed.a.b[1].c == 2
    assert js.JSON.parse("[1]").to_py() == [1]
    with pytest.raises(JsException) as caught:
        js.JSON.parse("{")
    assert caught.value.name == "SyntaxError"


def test_collections():
    assert js.Object.fromEntries([["a", 1]]).a == 1
    assert list(js.Object.keys({"a": 1})) == ["a"]
    assert js.Array.new(1, 2).to_py() == [1, 2]
    assert js.Map.new([["a", 1]]).get("a") == 1
    assert js.Set.new([1, 1]).size == 1
    assert (js.Number("1.50"), js.Number("2.0"), js.String(True), js.Boolean([])) == (1.5, 2, "true", True)


def test_errors():
    error = js.Error.new("it broke")
    assert isinstance(error, js.Error)
    assert isinstance(error, JsException)
    assert (error.name, error.message, str(error)) == ("Error", "it broke", "Error: it broke")
    assert isinstance(js.TypeError.new("x"), TypeError)
    with pytest.raises(JsException):
        raise error


def test_bytes():
    array = js.Uint8Array.new([1, 2, 255])
    assert (array.length, array[2], array.to_bytes()) == (3, 255, b"\1\2\xff")
    assert js.Uint8Array.new(array.buffer).to_py().tobytes() == b"\1\2\xff"
    assert bytes(array.subarray(1)) == b"\2\xff"
    array.set(b"\7", 1)
    assert array[1] == 7
    assert len(js.Uint8Array.new(4)) == 4
    with pytest.raises(JsException, match=r"out of bounds"):
        array.set(b"12345")
    with pytest.raises(JsException, match=r"Invalid typed array length: -1"):
        js.Uint8Array.new(-1)
    assert js.TextDecoder.new().decode(js.TextEncoder.new().encode("ä")) == "ä"
    assert js.atob(js.btoa("abc")) == "abc"


def test_dates():
    assert js.Date.new(0).toISOString() == "1970-01-01T00:00:00.000Z"
    assert js.Date.new("2026-01-02T03:04:05.678Z").getTime() == 1767323045678
    assert js.Date.new(2026, 0, 31).toISOString() == "2026-01-31T00:00:00.000Z"
    assert js.Date.new("2026-01-02").getUTCDay() == 5
    assert js.Date.now() > 1_600_000_000_000
    assert js.performance.now() > 0
    with pytest.raises(JsException, match=r"Invalid time value"):
        js.Date.new("yesterday")


async def test_crypto():
    assert len(js.crypto.randomUUID()) == 36
    array = js.Uint8Array.new(32)
    assert js.crypto.getRandomValues(array) is array
    assert bytes(array) != bytes(32)
    digest = await js.crypto.subtle.digest("SHA-256", b"abc")
    assert digest.to_bytes().hex().startswith("ba7816bf")
    with pytest.raises(JsException, match=r"Unrecognized or unimplemented digest algorithm"):
        await js.crypto.subtle.digest("SHA-0", b"")


def test_console(invocation: Any, capsys: pytest.CaptureFixture[str]):
    js.console.log("a", 1, {"b": 2})
    js.console.warn("w")
    js.console.error("e")
    assert invocation.logs == [("log", 'a 1 {"b": 2}'), ("warn", "w"), ("error", "e")]


def test_console_in_global_scope(capsys: pytest.CaptureFixture[str]):
    js.console.log("early")
    assert capsys.readouterr().out == "early\n"


async def test_timers(invocation: Any):
    seen: list[Any] = []
    fired = asyncio.Event()

    async def later(value: str) -> None:
        seen.append(value)
        fired.set()

    js.clearTimeout(js.setTimeout(seen.append, 0, "cleared"))
    js.queueMicrotask(lambda: seen.append("micro"))
    js.setTimeout(later, 0, "timer")
    await fired.wait()
    assert seen == ["micro", "timer"]

    ticks = asyncio.Event()
    number = js.setInterval(ticks.set, 1)
    await ticks.wait()
    js.clearInterval(number)


# Streams -----------------------------------------------------------------------------------------------------------


async def test_a_source_is_pulled():
    def pull(controller: Any) -> None:
        pulled.append(controller.desiredSize)
        controller.enqueue(f"{len(pulled)}")
        if len(pulled) == 3:
            controller.close()

    pulled: list[int] = []
    stream = js.ReadableStream.new({"pull": pull})
    assert pulled == []
    assert await Response(stream).text() == "123"


async def test_a_source_is_started():
    async def start(controller: Any) -> None:
        controller.enqueue(b"ab")
        controller.enqueue(js.Uint8Array.new(b"c"))
        controller.close()

    assert await js.Response.new(js.ReadableStream.new(start=start)).text() == "abc"


async def test_a_source_hears_of_its_cancellation():
    cancelled: list[Any] = []

    def pull(controller: Any) -> None:
        controller.enqueue(b"x")

    stream = js.ReadableStream.new(pull=pull, cancel=cancelled.append)
    assert await stream.read(10) == b"x"
    await stream.cancel()
    assert cancelled == [None]


async def test_readers():
    reader = Response("abc").body.getReader()
    first = await reader.read()
    assert (first.done, first.value.to_bytes()) == (False, b"abc")
    last = await reader.read()
    assert (last.done, last.value) == (True, None)

    locked = Response("abc").body
    locked.getReader()
    assert locked.locked
    with pytest.raises(JsException, match=r"locked to a reader"):
        locked.getReader()


async def test_transform_streams_are_pipes():
    pipe = js.TransformStream.new()
    writer = pipe.writable.getWriter()

    async def write() -> None:
        for _ in range(10):
            await writer.write(b"x" * 100_000)
        await writer.close()

    task = asyncio.create_task(write())
    await asyncio.sleep(0)
    assert not task.done()  # the writer waits for its reader
    assert len(await Response(pipe.readable).bytes()) == 1_000_000
    await task


async def test_transformers():
    def transform(chunk: bytes, controller: Any) -> None:
        controller.enqueue(chunk.upper())

    pipe = js.TransformStream.new({"transform": transform, "flush": lambda controller: controller.enqueue("!")})
    copying = asyncio.create_task(Response("abc").body.pipeTo(pipe.writable))
    assert await Response(pipe.readable).text() == "ABC!"
    await copying


async def test_pipe_through(invocation: Any):
    out = Response("abc").body.pipeThrough(js.TransformStream.new())
    assert await Response(out).text() == "abc"
    await asyncio.gather(*invocation.waiting)


async def test_a_broken_writer_breaks_the_reader():
    pipe = js.TransformStream.new()
    await pipe.writable.getWriter().abort("no more")
    with pytest.raises(OSError, match=r"no more"):
        await Response(pipe.readable).text()


async def test_a_reader_that_leaves_frees_the_writer():
    pipe = js.TransformStream.new()
    writer = pipe.writable.getWriter()
    await writer.write(b"x")
    assert await pipe.readable.read(1) == b"x"
    await pipe.readable.cancel()
    for _ in range(10):
        await writer.write(b"x" * 100_000)


async def test_fixed_length_streams_know_their_length():
    assert js.FixedLengthStream.new(5).readable.length == 5


async def test_tee():
    left, right = Response("abc").body.tee()
    assert (await left.read_all(), await right.read_all()) == (b"abc", b"abc")


@pytest.mark.parametrize("chunk", [1, None, {"a": 1}])
async def test_streams_carry_bytes(chunk: Any):
    async def chunks():
        yield chunk

    with pytest.raises(TypeError, match=r"received an object of non-byte type"):
        await Response(chunks()).text()


# run_sync ----------------------------------------------------------------------------------------------------------


async def test_run_sync_blocks_a_thread():
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert await in_thread(lambda: run_sync(answer())) == 42


async def test_run_sync_does_not_block_the_loop():
    async def answer() -> int:
        return 42

    with pytest.raises(RuntimeError, match=r"^run_sync\(\) cannot block here"):
        run_sync(answer())


async def test_leaving_a_body_ends_the_generator_behind_it():
    async def chunks():
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    ended: list[bool] = []
    stream = Response(chunks()).body
    await stream.read(1)
    await stream.cancel()
    assert ended == [True]


async def test_a_tee_ends_its_source_when_both_branches_have_left():
    async def chunks():
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    ended: list[bool] = []
    left, right = Response(chunks()).body.tee()
    assert (await left.read(1), await right.read(1)) == (b"x", b"x")
    await left.cancel()
    assert await right.read(1) == b"x"
    assert not ended
    await right.cancel()
    assert ended == [True]


async def test_both_branches_of_a_tee_read_at_once():
    async def chunks():
        for index in range(50):
            await asyncio.sleep(0)
            yield str(index)

    whole = "".join(map(str, range(50))).encode()
    left, right = Response(chunks()).body.tee()
    assert await asyncio.gather(left.read_all(), right.read_all()) == [whole, whole]
