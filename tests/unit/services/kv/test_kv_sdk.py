"""`self.env.KV` as tenant code uses it."""

from __future__ import annotations

import array
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from workers._bindings.base import ReadableStream
from workers._bindings.kv import _float_text
from workers._errors import JsException
from workers._web.buffers import Uint8Array
from workers._web.raw import JSNULL
from workers.rpc import JsDict

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        ("", ""),
        ("é\U0001f600\x00", "é\U0001f600\x00"),
        (1, "1"),
        (-7, "-7"),
        (2**60, str(2**60)),
        (1.0, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (JSNULL, "null"),
        (Uint8Array(b"typed"), "typed"),
        (float("nan"), "NaN"),
        (b"bytes", "bytes"),
        (memoryview(b"a view")[2:], "view"),
        (array.array("B", b"array"), "array"),
        ("a\ud800b", "a\ufffdb"),
        ("\ud83d\ude00", "\U0001f600"),
        (b"a\xffb\xe2\x82", "a\ufffdb\ufffd"),
    ],
)
async def test_what_is_put_comes_back_as_text(kv: Any, value: Any, text: str) -> None:
    assert await kv.put("key", value) is None
    assert await kv.get("key") == text


@pytest.mark.parametrize("value", [(1, 2), bytearray(b"x")])
async def test_what_python_alone_has_never_gets_there(kv: Any, value: Any) -> None:
    with pytest.raises(TypeError, match=r"<class '(tuple|bytearray)'> cannot be sent over RPC\."):
        await kv.put("key", value)


class TestGet:
    async def test_json_has_javascripts_values(self, kv: Any) -> None:
        await kv.put("key", '{"a": {"b": [2.0, 1e2, 9007199254740991, 9007199254740993, -0.5, null, true]}}')
        value = await kv.get("key", "json")
        assert isinstance(value, JsDict)
        assert value.a.b == [2, 100, 9007199254740991, 9007199254740992.0, -0.5, None, True]
        assert [type(item) for item in value.a.b[:4]] == [int, int, int, float]

    @pytest.mark.parametrize("value", [None, 0, "", False, [], {}, "text", 1.5, {"n": {"e": ["s", {"t": "ed"}]}}])
    async def test_any_json_value_may_be_the_whole(self, kv: Any, value: Any) -> None:
        await kv.put("key", json.dumps(value))
        assert await kv.get("key", type="json") == value

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "Unexpected end of JSON input"),
            ("{", "Unexpected end of JSON input"),
            ("hello", "Unexpected token 'h', \"hello\" is not valid JSON"),
            ("[1, 2, x" + " " * 40, "Unexpected token 'x', \"[1, 2, x \"... is not valid JSON"),
            ("NaN", "Unexpected token 'N', \"NaN\" is not valid JSON"),
            ("[" * 100_000, "JSON is nested too deeply"),
        ],
    )
    async def test_what_is_no_json_is_a_syntax_error(self, kv: Any, text: str, message: str) -> None:
        await kv.put("key", text)
        with pytest.raises(JsException) as raised:
            await kv.get("key", "json")
        assert raised.value.name == "SyntaxError"
        if text != "[1, 2, x" + " " * 40:
            assert raised.value.message == message

    async def test_bytes_are_a_memoryview_and_a_stream_a_stream(self, kv: Any) -> None:
        for data in (b"", b"\x00\xff", b"x" * 70_000):
            await kv.put("key", data)
            view = await kv.get("key", "arrayBuffer")
            assert isinstance(view, memoryview)
            assert view == data
            stream = await kv.get("key", "stream")
            assert isinstance(stream, ReadableStream)
            assert stream.length == len(data)
            assert await stream.read_all() == data

    async def test_an_unknown_type_is_refused(self, kv: Any, stub: Any) -> None:
        for kind in ("xml", "", {"type": 1}, {"type": "arraybuffer"}):
            with pytest.raises(JsException) as raised:
                await kv.get("key", kind)
            assert str(raised.value) == (
                'TypeError: Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".'
            )
        assert stub.calls == []


class TestMetadata:
    async def test_without_metadata_or_without_entry_it_is_none(self, kv: Any) -> None:
        await kv.put("key", "1", {"metadata": None})
        assert await kv.get_with_metadata("key", "json") == {"value": 1, "metadata": None, "cacheStatus": None}
        assert await kv.get_with_metadata("nothing") == {"value": None, "metadata": None, "cacheStatus": None}

    async def test_values_become_what_json_stringify_makes_of_them(self, kv: Any, stub: Any) -> None:
        moment = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        await kv.put("key", "value", metadata=[2.0, float("nan"), moment, "\ud800", {1: None}])
        assert stub.calls[-1][1][4] == '[2,null,"2030-01-02T03:04:05.678Z","\\ud800",{"1":null}]'
        assert (await kv.getWithMetadata("key")).metadata[3] == "\ud800"

    async def test_what_json_cannot_write_is_a_type_error(self, kv: Any) -> None:
        circle: list[Any] = []
        circle.append(circle)
        for value in (circle, 2**53, object(), {"a": b"x"}):
            with pytest.raises(JsException) as raised:
                await kv.put("key", "value", metadata=value)
            assert raised.value.name == "TypeError"


class TestList:
    async def test_a_large_page_arrives_whole(self, kv: Any) -> None:
        for index in range(300):
            await kv.put(f"{index:0300}", "value")
        assert len((await kv.list())["keys"]) == 300


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("", "TypeError: Key name cannot be empty."),
            (".", 'TypeError: "." is not allowed as a key name.'),
            ("..", 'TypeError: ".." is not allowed as a key name.'),
            ("x" * 513, "Error: KV {verb} failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."),
            ("\ud800", "Error: KV {verb} failed: 400 Could not URL-decode key name"),
            ({}, "TypeError: A key, prefix or cursor is a string, not dict."),
        ],
    )
    async def test_bad_keys_never_reach_the_host(self, kv: Any, stub: Any, key: Any, message: str) -> None:
        for verb, call in (("GET", kv.get(key)), ("PUT", kv.put(key, "value")), ("DELETE", kv.delete(key))):
            with pytest.raises(JsException) as raised:
                await call
            assert str(raised.value) == message.format(verb=verb)
        assert stub.calls == []

    async def test_primitives_are_their_text(self, kv: Any) -> None:
        for key in (1, 2.0, True, None):
            await kv.put(key, "value")
        assert [key.name for key in (await kv.list())["keys"]] == ["1", "2", "null", "true"]
        await kv.delete(1)
        assert await kv.get("1") is None


class TestStreams:
    @pytest.mark.parametrize("value", ["é" * 40_000, b"x" * 70_000, memoryview(b"x" * 70_000)])
    async def test_what_is_large_goes_as_a_stream(self, kv: Any, stub: Any, value: Any) -> None:
        await kv.put("key", value)
        assert isinstance(stub.calls[-1][1][1], ReadableStream)
        expected = value.encode() if isinstance(value, str) else value
        assert await kv.get("key", "arrayBuffer") == expected

    async def test_a_stream_is_passed_on_unread(self, kv: Any, stub: Any) -> None:
        stream = ReadableStream.from_iterable([b"a", "b", b"c" * 100_000])
        await kv.put("key", stream)
        assert stub.calls[-1][1][1] is stream
        assert await kv.get("key") == "ab" + "c" * 100_000

    async def test_a_value_of_26_mib_is_refused_unread(self, kv: Any) -> None:
        with pytest.raises(JsException, match="KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400"):
            await kv.put("key", b"x" * (25 * 1024 * 1024 + 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (-1.25, "-1.25"),
        (100.0, "100"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_numbers_are_written_as_javascript_writes_them(value: float, text: str) -> None:
    assert _float_text(value) == text


@given(st.floats(allow_nan=False))
@example(1e16)
@example(1e-5)
def test_every_number_survives_its_text(value: float) -> None:
    assert float(_float_text(value).replace("Infinity", "inf")) == value
