"""What a hostile worker may write into a request, and what of it reaches the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import BindingError, ProtocolError
from tenantry.host.egress.request import decode_request_untrusted, read_request_untrusted
from tenantry.streams import BytesStream
from tenantry.wire.values import RequestValue, encode


def read(url: str = "http://a.example/", method: str = "GET", headers: list[tuple[str, str]] | None = None):  # type: ignore[no-untyped-def]
    return read_request_untrusted(RequestValue(method, url, headers or []), [])


@pytest.mark.parametrize(
    ("url", "sent", "port"),
    [
        ("http://a.example", "http://a.example/", 80),
        ("https://A.Example.:443/x", "https://a.example/x", 443),
        ("http://a.example:8080/%2e%2e/a%00?q=%0d%0a#frag", "http://a.example:8080/%2e%2e/a%00?q=%0d%0a", 8080),
        ("http://0x7f.1/", "http://127.0.0.1/", 80),
        ("http://[::1]:81/", "http://[::1]:81/", 81),
        ("http://[::ffff:1.2.3.4]/", "http://1.2.3.4/", 80),
        ("http://a.example:/", "http://a.example/", 80),
        ("http://a.example?q", "http://a.example/?q", 80),
    ],
)
def test_the_url_is_put_together_again(url: str, sent: str, port: int) -> None:
    request = read(url)
    assert (str(request.url), request.port) == (sent, port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "file:///etc/passwd",
        "gopher://a.example/",
        "unix:/run/x.sock",
        "HTTP://a.example/",
        "http:/a.example/",
        "http:///x",
        "http://a.example\\@b.example/",
        "http://a.example /",
        "http://a.example/ HTTP/1.1\r\nHost: b",
        "http://a.example/\n",
        "http://a.example\t/",
        "http://a.example/é",
        "http://é.example/",
        "http://a.example:99999/",
        "http://a.example:0/",
        "http://a.example:-1/",
        "http://a.example:80:80/",
        "http://a%2eexample/",
        "http://[fe80::1%25eth0]/",
        "http://a.example/" + "x" * 20_000,
    ],
)
def test_a_url_that_two_parsers_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(BindingError) as raised:
        read(url)
    assert raised.value.name == "TypeError"


def test_a_name_and_a_password_become_the_header() -> None:
    assert read("http://user:p%40ss@a.example/").headers == [("Authorization", "Basic dXNlcjpwQHNz")]
    given = [("authorization", "Bearer x")]
    assert read("http://user:pass@a.example/", headers=given).headers == given
    assert read("http://a@b@c.example/").host == "c.example"


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "Keep-Alive", "TE", "Trailer", "Upgrade"]
)
def test_headers_that_frame_the_message_are_the_platforms(name: str) -> None:
    assert read(headers=[(name, "x"), ("x-a", "1"), ("x-a", "2")]).headers == [("x-a", "1"), ("x-a", "2")]


def test_what_connection_names_is_dropped_too() -> None:
    assert read(headers=[("x-secret", "1"), ("Connection", "close, X-Secret"), ("y", "2")]).headers == [("y", "2")]


@pytest.mark.parametrize(
    "pair",
    [
        ("", "x"),
        ("a b", "x"),
        ("a:", "x"),
        ("a\r\nHost", "x"),
        ("é", "x"),
        ("transfer-encoding\x0b", "x"),
        ("a", "x\r\nHost: b"),
        ("a", "x\nb"),
        ("a", "x\rb"),
        ("a", "x\x00"),
        ("a", "\x7f"),
        ("a", "x" * 200_000),
    ],
)
def test_headers_that_break_out_are_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(BindingError):
        read(headers=[pair])


def test_a_thousand_headers_are_refused() -> None:
    with pytest.raises(BindingError):
        read(headers=[("a", "b")] * 1000)


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nET", "CONNECT", "connect", "TRACE", "TRACK", "é", "X" * 65])
def test_methods_that_are_none_are_refused(method: str) -> None:
    with pytest.raises(BindingError):
        read(method=method)


def test_a_get_has_no_body() -> None:
    with pytest.raises(BindingError):
        read_request_untrusted(RequestValue("GET", "http://a.example/", [], b"x"), [])
    with pytest.raises(BindingError):
        read_request_untrusted(RequestValue("HEAD", "http://a.example/", [], 0), [BytesStream(b"x")])


@pytest.mark.parametrize("payload", [b"", b"\xc1", encode([]), encode({}), encode([1]), encode(["a", "b"])])
def test_a_fetch_without_a_request_breaks_the_protocol(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request_untrusted(payload)


@pytest.mark.parametrize("body", [-1, 1, 2**40])
def test_a_body_that_was_not_sent_breaks_the_protocol(body: int) -> None:
    with pytest.raises(ProtocolError):
        read_request_untrusted(RequestValue("POST", "http://a.example/", [], body), [BytesStream(b"x")])


@given(st.text(), st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_whatever_is_let_through_fits_one_request(url: str, method: str, headers: list[tuple[str, str]]) -> None:
    try:
        request = read(f"http://a.example/{url}", method, headers)
    except BindingError:
        return
    head = "\n".join([request.method, str(request.url), *(f"{name}\n{value}" for name, value in request.headers)])
    assert not set("\r\x00") & set(head)
    assert head.count("\n") == 1 + 2 * len(request.headers)
    assert request.url.host == "a.example"
