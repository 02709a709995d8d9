"""The global `fetch()` (reference 1.8)."""

from __future__ import annotations

from typing import Any

import js
import pyodide.http
import pytest
from pyodide.ffi import JsException
from workers import Request, Response, fetch

from tenantry.wire.events import InvocationKind


@pytest.fixture
def answer(invocation: Any):
    def echo(method: str, args: list[Any]) -> Response:
        request = args[0]
        return Response(f"{request.method} {request.url}", headers={"x-a": request.headers["x-a"] or "none"})

    invocation.fetch_stub.answer = echo
    return invocation.fetch_stub


@pytest.mark.parametrize(
    "resource", ["https://test.com/", Request("https://test.com/"), js.Request.new("https://test.com/")]
)
async def test_resources(answer: Any, resource: Any):
    response = await fetch(resource)
    assert isinstance(response, Response)
    assert await response.text() == "GET https://test.com/"
    assert answer.calls[0][:2] == (InvocationKind.FETCH, "fetch")


async def test_options_are_keywords(answer: Any):
    response = await fetch("https://test.com/", method="POST", body="x", headers={"X-A": "1"})
    assert await response.text() == "POST https://test.com/"
    assert response.headers["x-a"] == "1"
    with pytest.raises(TypeError, match=r"^fetch\(\) takes 1 positional argument but 2 were given$"):
        await fetch("https://test.com/", {"method": "POST"})


@pytest.mark.parametrize(
    ("resource", "options", "message"),
    [
        ("nope", {}, "Invalid URL: nope"),
        ("ftp://test.com/", {}, "Fetch API cannot load: ftp://test.com/"),
        ("https://test.com/", {"method": "a b"}, "Invalid HTTP method string: a b"),
        ("https://test.com/", {"body": "x"}, "Request with a GET or HEAD method cannot have a body."),
    ],
)
async def test_type_errors(answer: Any, resource: str, options: dict[str, Any], message: str):
    with pytest.raises(TypeError) as caught:
        await fetch(resource, **options)
    assert caught.value.message == message
    assert not isinstance(caught.value, OSError)


async def test_refusals_are_os_errors(invocation: Any):
    def refuse(method: str, args: list[Any]) -> Any:
        raise JsException("Error", "egress is not allowed")

    invocation.fetch_stub.answer = refuse
    with pytest.raises(OSError, match=r"^egress is not allowed$"):
        await fetch("https://test.com/")
    with pytest.raises(JsException, match=r"egress is not allowed"):
        await js.fetch("https://test.com/")


async def test_a_fetcher_replaces_the_transport(invocation: Any):
    class Transport:
        async def fetch(self, request: Request) -> Response:
            return Response(f"through {request.url}")

    response = await fetch("https://test.com/", fetcher=Transport())
    assert await response.text() == "through https://test.com/"
    assert invocation.fetch_stub.calls == []


async def test_global_scope_has_no_network():
    with pytest.raises(RuntimeError, match=r"^Disallowed operation called within global scope"):
        await fetch("https://test.com/")


async def test_the_raw_fetch_and_pyfetch(answer: Any):
    raw = await js.fetch("https://test.com/", method="PUT")
    assert isinstance(raw, js.Response)
    assert (raw.statusText, raw.ok) == ("OK", True)
    assert await raw.text() == "PUT https://test.com/"
    assert (await (await js.fetch("https://test.com/", {"method": "PUT"})).arrayBuffer()).to_bytes()[:3] == b"PUT"

    response = await pyodide.http.pyfetch("https://test.com/", method="POST")
    assert isinstance(response, pyodide.http.FetchResponse)
    assert await response.string() == "POST https://test.com/"
