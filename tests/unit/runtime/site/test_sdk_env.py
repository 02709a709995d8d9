"""`self.env`, `workers.env`, and what all wrappers of bindings share (reference 1.10, 1.11, 1.15, 8.4)."""

from __future__ import annotations

import asyncio
from typing import Any

import js
import pytest
import workers
from pyodide.ffi import JsException, to_js
from workers import Blob, File, FormData, Request, Response, patch_env
from workers._bindings.base import BindingStub, body_stream, options
from workers._env import make_env, set_env
from workers._fetch import Fetcher
from workers.rpc import JsDict

from tenantry.runtime.streams import ReadableStream
from tenantry.wire.events import InvocationKind


@pytest.fixture
def env(fake_stub: Any):
    made = make_env(
        [
            {"name": "GREETING", "type": "plain_text", "text": "hello"},
            {"name": "SECRET", "type": "secret_text", "text": "s3cret"},
            {"name": "SETTINGS", "type": "json", "json": {"a": [1, {"b": 2}]}},
            {"name": "NUMBER", "type": "json", "json": 5},
            {"name": "KV", "type": "kv_namespace", "stub": fake_stub()},
            {"name": "R2", "type": "r2_bucket", "stub": fake_stub()},
            {"name": "DB", "type": "d1", "stub": fake_stub()},
            {"name": "DISPATCHER", "type": "dispatch_namespace", "stub": fake_stub()},
            {"name": "OTHER", "type": "service", "stub": fake_stub()},
            {"name": "STRANGE", "type": "unheard_of"},
        ]
    )
    set_env(made)
    yield made
    set_env(make_env([]))


def test_bindings_are_attributes_and_items(env: Any):
    assert env.GREETING == "hello"
    assert env["GREETING"] == "hello"
    assert "GREETING" in env
    assert "NOPE" not in env
    assert set(env) >= {"KV", "R2", "DB"}


def test_variables(env: Any):
    assert env.SECRET == "s3cret"
    assert env.NUMBER == 5
    assert env.SETTINGS.a[1].b == 2
    assert env.SETTINGS.to_py() == {"a": [1, {"b": 2}]}
    assert type(env.SETTINGS.to_py()) is dict


def test_secrets_are_not_printed(env: Any):
    assert "s3cret" not in repr(env)


@pytest.mark.parametrize("name", ["NOPE", "STRANGE", "get", "keys", "__len__"])
def test_unknown_names(env: Any, name: str):
    with pytest.raises(AttributeError):
        getattr(env, name)
    with pytest.raises(KeyError):
        env[name]


def test_a_binding_is_made_once(env: Any):
    assert env.DISPATCHER is env.DISPATCHER
    assert env["DISPATCHER"] is env.DISPATCHER


def test_the_global_env_and_its_patches(env: Any):
    assert workers.env.GREETING == "hello"
    assert workers.env["GREETING"] == "hello"
    with patch_env({"GREETING": "hi"}, EXTRA=1):
        assert (workers.env.GREETING, workers.env.EXTRA) == ("hi", 1)
        with patch_env(GREETING="hey"):
            assert (workers.env.GREETING, workers.env.EXTRA) == ("hey", 1)
        assert workers.env.GREETING == "hi"
        assert "EXTRA" in workers.env
        assert env.GREETING == "hello"
    assert workers.env.GREETING == "hello"
    with pytest.raises(AttributeError):
        _ = workers.env.EXTRA


async def test_a_patch_is_seen_by_its_own_invocation_only(env: Any):
    entered, done = asyncio.Event(), asyncio.Event()

    async def patcher():
        with patch_env(GREETING="mine"):
            entered.set()
            await done.wait()
            return workers.env.GREETING

    task = asyncio.create_task(patcher())
    await entered.wait()
    assert workers.env.GREETING == "hello"
    done.set()
    assert await task == "mine"


async def test_wait_until(invocation: Any):
    async def later():
        return 5

    workers.wait_until(later())
    workers.waitUntil(later())
    assert await asyncio.gather(*invocation.waiting) == [5, 5]


def test_wait_until_outside_of_an_invocation():
    with pytest.raises(RuntimeError, match=r"^Disallowed operation called within global scope"):
        workers.wait_until(None)


# Dispatch namespaces and services ------------------------------------------------------------------------------------


async def test_get_of_a_namespace_is_lazy_and_its_calls_carry_the_name(env: Any):
    stub = env.DISPATCHER._stub
    stub.answer = lambda method, args: [method, args]
    fetcher = env.DISPATCHER.get("customer-1", {}, {"limits": {"cpuMs": 10}})
    assert stub.calls == []
    assert fetcher._stub.options == {"limits": {"cpuMs": 10}}

    assert await fetcher.set_data("k", {"a": 1}) == ["customer-1/set_data", ["k", {"a": 1}]]
    assert await fetcher["setData"]("k", limit=5) == ["customer-1/setData", ["k", {"limit": 5}]]
    assert [kind for kind, _, _ in stub.calls] == [InvocationKind.RPC] * 2


async def test_fetch_of_a_fetcher_speaks_both_styles(env: Any):
    env.DISPATCHER._stub.answer = lambda method, args: Response(f"{method} {args[0].method} {args[0].url}")
    fetcher = env.DISPATCHER.get("c")

    response = await fetcher.fetch("https://test.com/x", method="PUT")
    assert isinstance(response, Response)
    assert await response.text() == "c/fetch PUT https://test.com/x"
    assert (await fetcher.fetch(Request("https://test.com/"))).url == "https://test.com/"
    assert isinstance(await fetcher.fetch(js.Request.new("https://test.com/")), js.Response)
    kind, method, _ = env.DISPATCHER._stub.calls[0]
    assert (kind, method) == (InvocationKind.FETCH, "c/fetch")


async def test_errors_of_a_fetcher_are_not_mapped(env: Any):
    def answer(method: str, args: list[Any]) -> Any:
        raise JsException("Error", "Worker not found.")

    env.DISPATCHER._stub.answer = answer
    with pytest.raises(JsException) as caught:
        await env.DISPATCHER.get("nope").fetch("https://test.com/")
    assert caught.value.message.startswith("Worker not found")
    assert "Worker not found" in str(caught.value)


def test_a_worker_is_named_by_text(env: Any):
    with pytest.raises(TypeError, match=r"must be a str, not NoneType$"):
        env.DISPATCHER.get(None)


def test_fetchers_can_be_sent(env: Any, cross: Any):
    fetcher = env.OTHER
    assert isinstance(fetcher, Fetcher)
    assert cross(fetcher)._stub is fetcher._stub
    assert not hasattr(fetcher, "then")


@pytest.mark.parametrize(
    ("status", "method", "seen"),
    [
        (302, "GET", ("GET", "")),
        (302, "POST", ("GET", "")),
        (303, "PUT", ("GET", "")),
        (307, "POST", ("POST", "body")),
        (308, "POST", ("POST", "body")),
        (301, "PUT", ("PUT", "body")),
    ],
)
async def test_the_caller_follows_redirects(env: Any, status: int, method: str, seen: tuple[str, str]):
    async def answer(_: str, args: list[Any]) -> Response:
        request = args[0]
        if request.url.endswith("/a"):
            return Response(status=status, headers={"location": "/b"})
        return Response.from_json([request.method, await request.text(), request.url])

    env.OTHER._stub.answer = answer
    body = None if method == "GET" else "body"
    response = await env.OTHER.fetch("https://test.com/a", method=method, body=body)
    assert await response.json() == [*seen, "https://test.com/b"]
    assert response.redirected
    assert response.url == "https://test.com/b"

    manual = await env.OTHER.fetch("https://test.com/a", method=method, body=body, redirect="manual")
    assert manual.status == status


async def test_redirects_have_an_end(env: Any):
    env.OTHER._stub.answer = lambda method, args: Response(status=302, headers={"location": "/"})
    with pytest.raises(TypeError, match=r"Too many redirects\."):
        await env.OTHER.fetch("https://test.com/")
    assert len(env.OTHER._stub.calls) == 21


# The base of wrappers --------------------------------------------------------------------------------------------


class Things(BindingStub):
    type_name = "Things"

    async def getMany(self, *names: str, **keywords: Any) -> Any:  # noqa: N802
        return await self._call("getMany", list(names), options(None, keywords))


async def test_wrappers_accept_both_spellings(fake_stub: Any):
    things = Things(fake_stub(lambda method, args: [method, args]))
    expected = ["getMany", [["a"], {"cacheTtl": 5}]]
    assert await things.getMany("a", cacheTtl=5) == expected
    assert await things.get_many("a", cache_ttl=5) == expected
    assert await things["get_many"]("a", cache_ttl=5) == expected


def test_wrappers_look_like_host_objects(fake_stub: Any):
    things = Things(fake_stub())
    assert things.to_py() is things
    assert bool(things)
    assert things.constructor.name == "Things"
    with pytest.raises(TypeError, match=r"^'Things' object is not iterable$"):
        iter(things)
    with pytest.raises(TypeError, match=r"^'Things' object has no len\(\)$"):
        len(things)
    for name in ("missing", "snake_missing", "then", "__fspath__"):
        with pytest.raises(AttributeError, match=f"'Things' object has no attribute '{name}'"):
            getattr(things, name)
    with pytest.raises(KeyError):
        things["missing"]


@pytest.mark.parametrize(
    ("positional", "keywords", "result"),
    [
        (None, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"expiration_ttl": 60, "metadata": None}, {}, {"expirationTtl": 60}),
        (JsDict(a=1), {"b_c": {"d_e": 1}}, {"a": 1, "bC": {"d_e": 1}}),
        (to_js({"a": 1}), {}, {"a": 1}),
        (js.Map.new([["a", 1]]), {}, {"a": 1}),
    ],
)
def test_options(positional: Any, keywords: dict[str, Any], result: dict[str, Any]):
    assert options(positional, keywords) == result


@pytest.mark.parametrize("positional", ["text", 5, [1]])
def test_options_of_another_type(positional: Any):
    with pytest.raises(TypeError, match=r"^Expected an object for the options, got "):
        options(positional, {})


@pytest.mark.parametrize(
    ("make", "length"),
    [
        (lambda: "äb", 3),
        (lambda: b"\xc3\xa4b", 3),
        (lambda: bytearray("äb".encode()), 3),
        (lambda: memoryview("äb".encode()), 3),
        (lambda: js.Uint8Array.new("äb".encode()), 3),
        (lambda: Blob("äb"), 3),
        (lambda: File("äb", "n").js_object, 3),
        (lambda: ReadableStream.of("äb".encode()), 3),
        (lambda: Response("äb"), 3),
        (lambda: Request("https://a.b/", method="PUT", body="äb"), 3),
        (lambda: Response("äb").body, 3),
    ],
)
async def test_body_stream(make: Any, length: int):
    stream = body_stream(make())
    assert stream.length == length
    assert await stream.read_all() == "äb".encode()


async def test_body_stream_of_nothing_and_of_a_form():
    assert (await body_stream(Response()).read_all()) == b""
    assert (await body_stream(FormData({"a": "1"})).read_all()).startswith(b"------tenantry")
    for value in (1, 1.5, {}, [], None, object()):
        assert body_stream(value) is None
