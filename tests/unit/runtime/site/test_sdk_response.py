"""`workers.Response` (reference 1.5)."""

from __future__ import annotations

from array import array
from http import HTTPStatus
from typing import Any

import js
import pytest
from pyodide.ffi import JsException, to_js
from pyodide.http import HttpStatusError
from workers import FetchResponse, File, FormData, Response


async def _chunks():
    yield "a"
    yield b"b"
    yield memoryview(b"c")


def _generated():
    yield b"abc"


@pytest.mark.parametrize(
    ("make", "content_type"),
    [
        (lambda: "abc", "text/plain;charset=UTF-8"),
        (lambda: b"abc", None),
        (lambda: js.Uint8Array.new(b"abc"), None),
        (lambda: to_js(b"abc").buffer, None),
        (lambda: js.DataView.new(b"abc"), None),
        (lambda: js.Blob.new(["abc"]), None),
        (lambda: js.Blob.new(["abc"], type="a/b"), "a/b"),
        (lambda: js.Response.new("abc").body, None),
        (lambda: js.ReadableStream.of(b"abc"), None),
        (lambda: _chunks(), None),
        (lambda: _generated(), None),
        (lambda: File("abc", "name", content_type="c/d"), "c/d"),
    ],
)
async def test_accepted_bodies(make: Any, content_type: str | None):
    response = Response(make())
    assert response.headers["content-type"] == content_type
    assert await response.text() == "abc"


async def test_no_body():
    response = Response()
    assert response.body is None
    assert await response.text() == ""
    assert not response.body_used


async def test_form_data_and_search_params_bodies():
    assert Response(FormData({"a": "1"})).headers["content-type"].startswith("multipart/form-data; boundary=")
    response = Response(js.URLSearchParams.new({"a": "ä b"}))
    assert response.headers["content-type"] == "application/x-www-form-urlencoded;charset=UTF-8"
    assert await response.text() == "a=%C3%A4+b"


@pytest.mark.parametrize(
    "body",
    [{}, [], 1, 1.5, True, bytearray(b"x"), memoryview(b"x"), (), array("b"), object(), Response(), js.Headers.new()],
)
def test_other_bodies_are_refused_by_name(body: Any):
    with pytest.raises(TypeError, match=f"^Unsupported type in Response: {type(body).__name__}$"):
        Response(body)


@pytest.mark.parametrize(
    ("options", "kind", "name", "message"),
    [
        (
            {"status": 199},
            ValueError,
            "RangeError",
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive.",
        ),
        (
            {"status": 600},
            ValueError,
            "RangeError",
            "Responses may only be constructed with status codes in the range 200 to 599, inclusive.",
        ),
        ({"web_socket": object()}, ValueError, "RangeError", "Responses with a WebSocket must have status code 101."),
        (
            {"body": "x", "status": 204},
            TypeError,
            "TypeError",
            "Response with null body status (101, 204, 205, or 304) cannot have a body.",
        ),
        ({"status_text": "a\nb"}, TypeError, "TypeError", "Invalid statusText"),
    ],
)
def test_bad_options(options: dict[str, Any], kind: type[Exception], name: str, message: str):
    with pytest.raises(JsException) as caught:
        Response(**options)
    assert (caught.value.name, caught.value.message) == (name, message)
    assert str(caught.value) == f"{name}: {message}"
    assert isinstance(caught.value, kind)


def test_status_is_an_int_or_an_enum():
    assert Response().status == 200
    assert Response(status=HTTPStatus.NOT_FOUND).status == 404
    assert Response(status=404).status_text == "Not Found"
    assert Response(status=404, status_text="Gone fishing").status_text == "Gone fishing"
    assert (Response().ok, Response(status=300).ok) == (True, False)


def test_headers():
    response = Response("x", headers={"X-A": True, "x-b": 123})
    assert (response.headers["x-a"], response.headers["X-B"]) == ("true", "123")
    response = Response(headers=[("set-cookie", "a=1"), ("set-cookie", "b=2")])
    assert response.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert Response(headers=js.Headers.new({"a": "b"})).headers["a"] == "b"
    with pytest.raises(TypeError, match=r"^Received unexpected type for headers argument$"):
        Response(headers=(("a", "b"),))


def test_raw_response_with_options_is_a_value_error():
    raw = js.Response.new("x")
    assert Response(raw).js_object is raw
    assert Response(raw).js_response is raw
    with pytest.raises(ValueError, match=r"^Expected no options when constructing Response from a js\.Response$"):
        Response(raw, status=200)


async def test_body_can_be_read_once():
    response = Response("[1]")
    assert await response.json() == [1]
    assert response.body_used
    for read in (response.text, response.string, response.bytes, response.json, response.memoryview, response.blob):
        with pytest.raises(OSError, match=r"^Body already used$"):
            await read()
    with pytest.raises(OSError, match=r"^Body already used$"):
        response.clone()


async def test_every_way_to_read():
    assert await Response("ä").text() == "ä"
    assert await Response("ä").string() == "ä"
    assert await Response("ä").bytes() == "ä".encode()
    assert await Response(b"\xff").text() == "\ufffd"
    assert await Response("\ufeffa").text() == "a"
    assert (await Response("a").memoryview()).tobytes() == b"a"
    assert (await Response("a").buffer()).to_bytes() == b"a"
    assert (await Response("a").blob()).content_type == "text/plain;charset=utf-8"
    form = FormData({"a": "1"})
    assert (await Response(form).form_data())["a"] == "1"
    assert (await Response(form).formData())["a"] == "1"


async def test_from_json():
    response = Response.from_json({"a": 1, "b": [1, 2]})
    assert response.headers["content-type"] == "application/json"
    assert await response.text() == '{"a": 1, "b": [1, 2]}'

    response = Response.json([1], status=201, status_text="Made", headers={"Content-Type": "x/json"})
    assert (response.status, response.status_text) == (201, "Made")
    assert response.headers.get_all("content-type") == ["x/json"]

    assert await Response.from_json(to_js({"a": [1, 2]})).text() == '{"a":[1,2]}'
    with pytest.raises(TypeError, match=r"^Object of type set is not JSON serializable$"):
        Response.from_json({1})


def test_redirect():
    raw = Response.redirect("https://test.com/a b")
    assert isinstance(raw, js.Response)
    assert (raw.status, raw.headers.get("Location")) == (302, "https://test.com/a%20b")
    assert Response.redirect("https://test.com", 307).status == 307
    with pytest.raises(
        ValueError, match=r"^200 is not a redirect status code\. It must be one of: 301, 302, 303, 307, or 308\.$"
    ):
        Response.redirect("https://test.com", 200)
    with pytest.raises(TypeError, match=r"^Unable to parse URL: /x$"):
        Response.redirect("/x")


async def test_clone_and_replace_body():
    response = Response(_chunks(), status=201, headers={"a": "b"})
    twin = response.clone()
    assert isinstance(twin, Response)
    assert (await twin.text(), await response.text()) == ("abc", "abc")

    replaced = response.replace_body("new")
    assert (replaced.status, replaced.headers["a"]) == (201, "b")
    assert await replaced.text() == "new"
    with pytest.raises(TypeError, match=r"^Unsupported type in Response: dict$"):
        response.replace_body({})


def test_raise_for_status():
    Response().raise_for_status()
    with pytest.raises(HttpStatusError, match=r"^404 Client Error: Not Found for url: "):
        Response(status=404).raise_for_status()
    with pytest.raises(OSError, match=r"^500 Server Error"):
        Response(status=500).raise_for_status()


def test_repr():
    assert repr(Response.from_json({})) == "Response(status=200, status_text='OK', content_type='application/json')"
    assert repr(Response()) == "Response(status=200, status_text='OK')"


def test_javascript_names_work_on_the_response_too():
    response = Response("x")
    assert response.statusText == "OK"
    assert not response.bodyUsed
    assert isinstance(response, FetchResponse)


@pytest.mark.parametrize("size", [0, 64 * 1024, 64 * 1024 + 1])
async def test_response_crosses(cross: Any, size: int):
    sent = Response(bytes(size), status=418, status_text="Tea", headers=[("set-cookie", "a"), ("set-cookie", "b")])
    got = cross(sent)
    assert isinstance(got, Response)
    assert (got.status, got.status_text) == (418, "Tea")
    assert got.headers.get_all("set-cookie") == ["a", "b"]
    assert await got.bytes() == bytes(size)
    assert sent.body_used


async def test_streams_cross_unread(cross: Any):
    async def chunks():
        read.append(True)
        yield b"abc"

    read: list[bool] = []
    got = cross(Response(chunks()))
    assert not read
    assert await got.text() == "abc"


async def test_a_used_response_cannot_be_sent(cross: Any):
    response = Response("x")
    await response.text()
    with pytest.raises(TypeError, match=r"Body has already been used. It can only be used once."):
        cross(response)
