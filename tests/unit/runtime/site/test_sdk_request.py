"""`workers.Request` (reference 1.4)."""

from __future__ import annotations

from http import HTTPMethod
from typing import Any

import js
import pytest
from pyodide.ffi import JsException
from workers import File, FormData, Request

from tenantry.runtime.streams import ReadableStream

URL = "https://test.com/"


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("https://test.com", "https://test.com/"),
        ("https://test.com/a/b?c=d#e", "https://test.com/a/b?c=d#e"),
        ("HTTPS://Test.COM/A", "https://test.com/A"),
        ("http://localhost:8787/x", "http://localhost:8787/x"),
        ("https://test.com:443/", "https://test.com/"),
        ("http://test.com:443/", "http://test.com:443/"),
        ("http://test.com:80/", "http://test.com/"),
        ("https://test.com/a/../b/./c", "https://test.com/b/c"),
        ("https://test.com/a/..", "https://test.com/"),
        ("https://test.com/ä b", "https://test.com/%C3%A4%20b"),
        ("https://test.com/?q=ä b", "https://test.com/?q=%C3%A4%20b"),
        ("https://test.com/%2F%61", "https://test.com/%2F%61"),
        ("https://münchen.de/", "https://xn--mnchen-3ya.de/"),
        ("https://user:pass@test.com/", "https://user:pass@test.com/"),
        ("https://[::1]:8080/", "https://[::1]:8080/"),
        ("  https://test.com/  ", "https://test.com/"),
    ],
)
def test_url_is_normalised(given: str, normal: str):
    assert Request(given).url == normal


@pytest.mark.parametrize(
    "url", ["", "x", "/path", "test.com", "https://", "https:///", "http://a b/", "http://a:99999/"]
)
def test_invalid_url_is_a_type_error(url: str):
    with pytest.raises(TypeError, match=r"^TypeError: Invalid URL: ") as caught:
        Request(url)
    assert isinstance(caught.value, JsException)
    assert caught.value.name == "TypeError"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "G T"}, "Invalid HTTP method string: G T"),
        ({"redirect": "error"}, 'Invalid redirect value, must be one of "follow" or "manual"'),
        ({"body": "x"}, "Request with a GET or HEAD method cannot have a body."),
        ({"method": "HEAD", "body": b"x"}, "Request with a GET or HEAD method cannot have a body."),
        ({"cache": "forever"}, "Unsupported cache mode: forever"),
        ({"headers": {"a b": "c"}}, "Invalid header name."),
        ({"headers": {"": "c"}}, "Invalid header name."),
        ({"headers": {"a": "c\nd"}}, "Invalid header value."),
        ({"headers": [("a", "\0")]}, "Invalid header value."),
    ],
)
def test_bad_options_are_type_errors_of_javascript(options: dict[str, Any], message: str):
    with pytest.raises(JsException) as caught:
        Request(URL, **options)
    assert isinstance(caught.value, TypeError)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("headers", [("a", "b"), (("a", "b"),), "a: b", 1, {1, 2}])
def test_headers_of_another_container_are_refused(headers: Any):
    with pytest.raises(TypeError, match=r"^Received unexpected type for headers argument$"):
        Request(URL, headers=headers)


def test_httpmessage_is_refused_as_headers():
    with pytest.raises(TypeError, match=r"^Received unexpected type for headers argument$"):
        Request(URL, headers=Request(URL).headers)


def test_raw_request_with_options_is_a_value_error():
    raw = js.Request.new(URL)
    with pytest.raises(ValueError, match=r"^Expected no options when constructing Request from a js\.Request$"):
        Request(raw, method="POST")
    assert Request(raw).js_object is raw


async def test_request_can_be_built_from_a_request_with_options():
    first = Request(URL, method="POST", body="body", headers={"a": "1"})
    second = Request(first, method="PUT", headers={"b": "2"})

    assert second.method == "PUT"
    assert second.headers.items() == [("b", "2")]
    assert await second.text() == "body"
    assert first.body_used
    with pytest.raises(JsException, match=r"Cannot reconstruct a Request with a used body."):
        Request(first)


def test_method_is_an_enum_that_equals_text():
    assert Request(URL).method is HTTPMethod.GET
    assert Request(URL, method="post").method == "POST"
    assert Request(URL, method=HTTPMethod.PATCH).method is HTTPMethod.PATCH


def test_a_verb_outside_the_enum_is_a_key_error():
    request = Request(URL, method="PURGE")
    with pytest.raises(KeyError):
        _ = request.method


def test_headers_are_a_fresh_case_insensitive_message():
    request = Request(URL, headers=[("X-A", " 1 "), ("x-a", "2"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2")])

    headers = request.headers
    assert headers["x-A"] == "1, 2"
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"]
    assert headers["missing"] is None
    assert headers.get("missing", "x") == "x"

    headers["x-new"] = "1"
    assert request.headers["x-new"] is None


@pytest.mark.parametrize(("value", "text"), [(True, "true"), (123, "123"), (1.0, "1"), (1.5, "1.5"), (None, "null")])
def test_header_values_become_text_as_in_javascript(value: Any, text: str):
    assert Request(URL, headers={"x": value}).headers["x"] == text


async def test_body_can_be_read_once():
    request = Request(URL, method="POST", body='{"a": 1.5}')
    assert not request.body_used
    assert await request.json() == {"a": 1.5}
    assert request.body_used
    for read in (request.text, request.bytes, request.json, request.buffer, request.blob, request.form_data):
        with pytest.raises(OSError, match=r"^Body already used$"):
            await read()
    with pytest.raises(OSError, match=r"^Body already used$"):
        request.clone()


async def test_json_forwards_its_options():
    assert await Request(URL, method="POST", body="1.5").json(parse_float=str) == "1.5"


async def test_clone_has_a_body_of_its_own():
    async def chunks():
        yield b"ab"
        yield b"c"

    for body in ("abc", chunks()):
        request = Request(URL, method="POST", body=body)
        twin = request.clone()
        assert await twin.text() == "abc"
        assert await request.text() == "abc"


async def test_buffer_is_a_raw_buffer():
    buffer = await Request(URL, method="POST", body=b"abc").buffer()
    assert buffer.to_bytes() == b"abc"
    assert buffer.byteLength == 3


async def test_body_is_a_stream_or_none():
    assert Request(URL).body is None
    request = Request(URL, method="POST", body="abc")
    assert await request.body.read_all() == b"abc"
    assert request.body_used


def test_the_rest_of_the_attributes():
    request = Request(URL, method="POST", body="x", redirect="manual", cf={"cacheTtl": 5})
    assert request.js_object is request._js_request
    assert request.cf.cacheTtl == 5
    assert request.redirect == "manual"
    assert (request.keepalive, request.is_history_navigation) == (False, False)
    for name in ("cache", "credentials", "destination", "integrity", "mode", "referrer", "referrer_policy"):
        assert isinstance(getattr(request, name), str)
    assert Request(URL).cf is None
    with pytest.raises(AttributeError, match=r"'Request' object has no attribute 'nope'"):
        _ = request.nope


def test_repr():
    assert repr(Request("https://test.com", method="POST")) == "Request(method='POST', url='https://test.com/')"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("x", "text/plain;charset=UTF-8"),
        (b"x", None),
        (js.URLSearchParams.new("a=b"), "application/x-www-form-urlencoded;charset=UTF-8"),
        (js.Blob.new(["x"], type="text/html"), "text/html"),
    ],
)
def test_content_type_follows_the_body(body: Any, content_type: str | None):
    assert Request(URL, method="POST", body=body).headers["content-type"] == content_type
    assert Request(URL, method="POST", body=body, headers={"Content-Type": "a/b"}).headers["content-type"] == "a/b"


async def test_request_crosses_with_everything(cross: Any):
    sent = Request(URL + "x?y", method="PUT", body=b"\0\xff", headers=[("a", "1"), ("a", "2")], redirect="manual")
    got = cross(sent)

    assert isinstance(got, Request)
    assert (got.url, got.method, got.redirect) == (URL + "x?y", "PUT", "manual")
    assert got.headers["a"] == "1, 2"
    assert await got.bytes() == b"\0\xff"
    assert sent.body_used


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 300_000])
async def test_bodies_of_any_size_cross(cross: Any, size: int):
    data = bytes(size)
    assert await cross(Request(URL, method="POST", body=data)).bytes() == data


async def test_form_data_of_a_request_that_crossed(cross: Any):
    form = FormData({"key": "ä"})
    form.append("file", File(b"\0\1", 'a".bin', content_type="image/png"))
    request = cross(Request(URL, method="POST", body=form))
    assert request.headers["content-type"].startswith("multipart/form-data; boundary=")

    parsed = await request.form_data()
    assert parsed["key"] == "ä"
    assert parsed["file"].name == 'a".bin'
    assert parsed["file"].content_type == "image/png"
    assert await parsed["file"].bytes() == b"\0\1"


async def test_urlencoded_form_data():
    request = Request(URL, method="POST", body=js.URLSearchParams.new("a=1&b=%C3%A4+x&a=2&c="))
    form = await request.form_data()
    assert list(form.items()) == [("a", "1"), ("b", "ä x"), ("a", "2"), ("c", "")]


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (None, b"x", "Parsing a Body as FormData requires a Content-Type header."),
        ("text/plain", b"x", 'Unrecognized Content-Type header value "text/plain".'),
        ("multipart/form-data", b"x", "No boundary string in Content-Type header."),
        ("multipart/form-data; boundary=b", b"", "FormData parsing failed"),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Dis", "FormData parsing failed"),
        ("multipart/form-data; boundary=b", b"--b\r\nX: y\r\n\r\nz\r\n--b--\r\n", "FormData parsing failed"),
    ],
)
async def test_what_is_no_form_is_a_type_error(content_type: str | None, body: bytes, message: str):
    headers = {"content-type": content_type} if content_type else None
    request = Request(URL, method="POST", body=body, headers=headers)
    with pytest.raises(TypeError) as caught:
        await request.form_data()
    assert str(caught.value).startswith(message)


async def test_a_form_that_the_host_holds_is_parsed_by_the_host(fake_stub: Any):
    class Held:
        """A source whose bytes must not be asked for."""

        length = 10

        async def read(self, size_max: int) -> bytes:
            raise AssertionError("the bytes were asked for")

    body = ReadableStream(Held())
    body.attach(fake_stub(lambda method, args: FormData({"parsed": f"{method} {args}"})))
    request = Request(URL, method="POST", body=body, headers={"content-type": "multipart/form-data; boundary=b"})
    form = await request.form_data()

    assert form["parsed"] == "formData ['multipart/form-data; boundary=b']"
    assert request.body_used
