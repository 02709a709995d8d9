"""The rules of KV as a tenant's code meets them: written once, run against every engine and inside a real Worker.

`RULES` is the KV section of the reference as a table. Each case names the rules that it shows and is a function of one
`Subject`: the namespace as `self.env` has it, and a clock. Nothing else is known here of where a case runs:

    on the host        the SDK's wrapper on the service, without a channel        tests/conformance/kv/test_kv_cases.py
    inside a Worker    `self.env` in a sandboxed process, over the real channel   tests/integration/host/test_host_kv.py

This file goes into the Worker as it is, so it imports the standard library and `workers` only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

from workers._bindings.base import ReadableStream

RULES: dict[str, str] = {
    "get": "get(key): the value, or None",
    "get types": 'type "text" (default), "json", "arrayBuffer", "stream", a string or an option; others a TypeError',
    "get json failure": "what is no JSON is a SyntaxError",
    "get stream": "a stream is read in any portions and holds nothing whole",
    "getWithMetadata": "value, metadata and cacheStatus; all None for a key that is not there",
    "get many": "a list of keys gives a dict in their order; duplicates collapse; absent ones are None",
    "get many with metadata": "each is {value, metadata} or None",
    "get many limits": "1 to 100 keys; text and json only; 25 MiB together; one value that is no JSON fails all",
    "put values": "text, buffers and streams; primitives as their text; other objects a TypeError",
    "put limits": "a value has at most 25 MiB, however it comes; one above leaves what was there",
    "put replaces": "a put without expiration or metadata clears those before it; the last write wins",
    "put metadata": "any JSON value, at most 1024 bytes of UTF-8",
    "put expiration": "expiration and expirationTtl, at least 60 s ahead; the relative one wins",
    "put numbers": "what is no number is 0; what does not fit 32 bits is a TypeError",
    "expiry": "readable while expiration > now, listed while expiration >= now",
    "delete": "idempotent",
    "key names": 'any text of 1 to 512 bytes of UTF-8 but "." and ".."',
    "cacheTtl": "accepted from 30 s on",
    "list": "keys, list_complete, and cursor only where there is more; absent options are absent",
    "list order": "UTF-8 byte order",
    "list prefix": "case-sensitive, byte by byte, may be empty, at most 512 bytes",
    "list limit": "1 to 1000, default 1000; what is not positive means the default",
    "list cursor": "goes on strictly after the last key; carries no snapshot; an empty one is the start",
    "list cursor ties": "good for its own namespace and prefix only; a forged one is refused",
    "isolation": "namespaces do not see each other",
    "wrapper": "snake_case names, item access, and what JavaScript objects can and cannot do",
}

# Rules of the section that no case here can show, and where they are shown.
ELSEWHERE: dict[str, str] = {
    "one write a second to a key; 60 s until others see it": "tests/unit/services/kv/test_kv_consistency.py",
    "operations per invocation": "tests/integration/host/test_host_limits.py",
    "bulk writes and deletes over REST": "tests/integration/control/test_api_kv.py",
    "administrative key errors": "tests/integration/control/test_api_kv.py",
    "what a Worker that does not use the SDK may send": "tests/conformance/kv/test_kv_rules.py",
}

KIB, MIB = 1024, 1024 * 1024
VALUE_BYTES_MAX = 25 * MIB


class Subject(Protocol):
    """What a case gets: two empty namespaces as a tenant has them, and the clock of the service."""

    kv: Any
    other: Any

    async def now(self) -> int: ...

    async def advance(self, seconds: int) -> None: ...


Case = Callable[[Subject], Awaitable[None]]
CASES: dict[str, tuple[Case, tuple[str, ...]]] = {}


def shows(*rules: str) -> Callable[[Case], Case]:
    def register(case: Case) -> Case:
        CASES[case.__name__] = (case, rules)
        return case

    return register


async def error_of(call: Awaitable[Any]) -> str:
    """How an error reads that must come: `Name: message`."""
    try:
        await call
    except Exception as error:
        return str(error)
    raise AssertionError("nothing was refused")


async def later(function: Callable[[], Any]) -> Any:
    return function()


def chunks_of(size: int, chunk: int = 256 * KIB) -> Iterator[bytes]:
    for at in range(0, size, chunk):
        yield pattern(at, min(chunk, size - at))


def pattern(at: int, size: int) -> bytes:
    """Bytes by their place, so that none is lost, doubled or moved unseen."""
    period = bytes(range(251))
    start = at % 251
    return (period * (size // 251 + 2))[start : start + size]


def stream_of(size: int, *, length: int | None = None) -> ReadableStream:
    return ReadableStream.from_iterable(chunks_of(size), length)


async def put_all(kv: Any, names: list[str]) -> None:
    await asyncio.gather(*(kv.put(name, "value") for name in names))


async def names_of(kv: Any, **options: Any) -> list[str]:
    names: list[str] = []
    while True:
        page = await kv.list(**options)
        names += [key["name"] for key in page["keys"]]
        assert page.list_complete == ("cursor" not in page)
        if page.list_complete:
            return names
        options["cursor"] = page.cursor


# get


@shows("get", "getWithMetadata", "delete")
async def a_key_that_is_not_there(t: Subject) -> None:
    for kind in (None, "text", "json", "arrayBuffer", "stream"):
        assert await t.kv.get("nothing", kind) is None
    assert await t.kv.getWithMetadata("nothing") == {"value": None, "metadata": None, "cacheStatus": None}
    assert await t.kv.delete("nothing") is None


@shows("get types")
async def the_type_is_a_string_a_dict_or_a_keyword(t: Subject) -> None:
    await t.kv.put("key", '{"a": [1, 2.0, 2.5, 9007199254740993]}')
    for value in (
        await t.kv.get("key", "json"),
        await t.kv.get("key", {"type": "json"}),
        await t.kv.get("key", {"type": "json", "cacheTtl": 60}),
        await t.kv.get("key", type="json"),
        (await t.kv.getWithMetadata("key", type="json")).value,
    ):
        assert value == {"a": [1, 2, 2.5, 9007199254740992.0]}
        assert value.a[1] == 2
        assert type(value.a[1]) is int
    assert await t.kv.get("key", "arrayBuffer") == b'{"a": [1, 2.0, 2.5, 9007199254740993]}'
    assert isinstance(await t.kv.get("key", "arrayBuffer"), memoryview)


@shows("get types")
async def an_unknown_type_is_a_type_error(t: Subject) -> None:
    text = 'TypeError: Unknown response type. Possible types are "text", "arrayBuffer", "json", and "stream".'
    for kind in ("xml", "", "arraybuffer", {"type": "blob"}):
        assert await error_of(t.kv.get("key", kind)) == text
        assert await error_of(t.kv.getWithMetadata("key", kind)) == text


@shows("get json failure")
async def what_is_no_json_is_a_syntax_error(t: Subject) -> None:
    for text, message in (
        ("", "Unexpected end of JSON input"),
        ("hello", "Unexpected token 'h', \"hello\" is not valid JSON"),
        ("NaN", "Unexpected token 'N', \"NaN\" is not valid JSON"),
    ):
        await t.kv.put("key", text)
        assert await error_of(t.kv.get("key", "json")) == f"SyntaxError: {message}"


@shows("get types", "put values")
async def text_that_is_no_utf8_is_mended_and_bytes_are_exact(t: Subject) -> None:
    await t.kv.put("key", b"a\xffb\xe2\x82")
    assert await t.kv.get("key") == "a\ufffdb\ufffd"
    assert await t.kv.get("key", "arrayBuffer") == b"a\xffb\xe2\x82"


@shows("get stream", "put values")
async def sizes_around_every_border_come_back_exactly(t: Subject) -> None:
    for size in (0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 256 * KIB, 256 * KIB + 1, 700_000):
        data = pattern(0, size)
        for value in (data, stream_of(size), stream_of(size, length=size)):
            await t.kv.put("key", value)
            assert await t.kv.get("key", "arrayBuffer") == data
            stream = await t.kv.get("key", "stream")
            assert stream.length == size
            got = b""
            while chunk := await stream.read(100_000):
                assert len(chunk) <= 100_000
                got += chunk
            assert got == data


@shows("get stream", "put limits")
async def the_largest_value_goes_through_in_pieces(t: Subject) -> None:
    await t.kv.put("key", stream_of(VALUE_BYTES_MAX))
    stream = await t.kv.get("key", "stream")
    assert stream.length == VALUE_BYTES_MAX
    at = 0
    while chunk := await stream.read(64 * KIB):
        assert len(chunk) <= 64 * KIB
        assert chunk == pattern(at, len(chunk))
        at += len(chunk)
    assert at == VALUE_BYTES_MAX


@shows("get stream")
async def a_reader_in_the_middle_is_not_disturbed(t: Subject) -> None:
    await t.kv.put("key", pattern(0, MIB))
    stream = await t.kv.get("key", "stream")
    got = await stream.read(1000)
    await t.kv.put("key", "new")
    await t.kv.delete("key")
    await put_all(t.kv, [str(index) for index in range(20)])
    while chunk := await stream.read(100_000):
        got += chunk
    assert got == pattern(0, MIB)


@shows("get stream")
async def a_stream_of_one_value_is_the_value_of_another(t: Subject) -> None:
    await t.kv.put("key", stream_of(700_000))
    await t.other.put("copy", await t.kv.get("key", "stream"))
    assert await t.other.get("copy", "arrayBuffer") == pattern(0, 700_000)


# Many keys


@shows("get many")
async def many_keys_come_in_their_order(t: Subject) -> None:
    await t.kv.put("a", "1")
    await t.kv.put("b", "x" * 70_000)
    found = await t.kv.get(["b", "nothing", "a", "b"])
    assert list(found.items()) == [("b", "x" * 70_000), ("nothing", None), ("a", "1")]
    assert await t.kv.get(["a", "nothing"], "json") == {"a": 1, "nothing": None}
    assert await t.kv.get(["a"], {"type": "text", "cacheTtl": 60}) == {"a": "1"}


@shows("get many with metadata")
async def many_keys_with_their_metadata(t: Subject) -> None:
    await t.kv.put("a", "1", metadata={"m": 1})
    await t.kv.put("b", "2")
    assert await t.kv.getWithMetadata(["a", "b", "nothing"], type="json") == {
        "a": {"value": 1, "metadata": {"m": 1}},
        "b": {"value": 2, "metadata": None},
        "nothing": None,
    }


@shows("get many limits")
async def a_bulk_get_has_1_to_100_keys(t: Subject) -> None:
    for count in (1, 99, 100):
        assert len(await t.kv.get([str(index) for index in range(count)])) == count
    assert await error_of(t.kv.get([])) == "Error: KV GET_BULK failed: 400 You must request a minimum of 1 key"
    text = "Error: KV GET_BULK failed: 400 You can request a maximum of 100 keys"
    assert await error_of(t.kv.get([str(index) for index in range(101)])) == text
    assert await error_of(t.kv.getWithMetadata(["same"] * 101)) == text


@shows("get many limits")
async def a_bulk_get_is_text_or_json(t: Subject) -> None:
    for kind in ("stream", "arrayBuffer", "xml"):
        text = f'Error: KV GET_BULK failed: 400 "{kind}" is not a valid type. Use "json" or "text"'
        assert await error_of(t.kv.get(["key"], kind)) == text
    await t.kv.put("json", json.dumps("x" * 70_000))
    await t.kv.put("text", "no json")
    text = "Error: KV GET_BULK failed: 400 At least one of the requested keys corresponds to a non-json value"
    assert await error_of(t.kv.get(["json", "text"], "json")) == text


@shows("get many limits")
async def a_bulk_get_has_25_mib_together(t: Subject) -> None:
    half = VALUE_BYTES_MAX // 2
    await t.kv.put("a", stream_of(half))
    for size in (half - 1, half):
        await t.kv.put("b", stream_of(size))
        found = await t.kv.get(["a", "b"])
        assert (len(found["a"]), len(found["b"])) == (half, size)
        del found
    await t.kv.put("b", stream_of(half + 1))
    text = "Error: KV GET_BULK failed: 413 Total size of request exceeds the limit of 25MB"
    assert await error_of(t.kv.get(["a", "b"])) == text


# put


@shows("put values")
async def primitives_are_put_as_their_text(t: Subject) -> None:
    for value, text in (
        ("text", "text"),
        ("", ""),
        ("é\U0001f600\x00", "é\U0001f600\x00"),
        ("a\ud800b", "a\ufffdb"),
        (1, "1"),
        (-7, "-7"),
        (1.0, "1"),
        (1.5, "1.5"),
        (1e21, "1e+21"),
        (True, "true"),
        (False, "false"),
        (None, "null"),
        (float("nan"), "NaN"),
        (b"bytes", "bytes"),
        (memoryview(b"a view")[2:], "view"),
    ):
        assert await t.kv.put("key", value) is None
        assert await t.kv.get("key") == text, value


@shows("put values")
async def other_objects_are_refused_as_values(t: Subject) -> None:
    await t.kv.put("key", "before")
    text = "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values."
    for value in ({"a": 1}, {}, [1], {1}, object(), 1j):
        assert await error_of(t.kv.put("key", value)) == f"TypeError: {text}"
    for value in ((1, 2), bytearray(b"x")):
        assert "cannot be sent over RPC." in await error_of(t.kv.put("key", value))
    assert await t.kv.get("key") == "before"


@shows("put limits")
async def a_value_has_at_most_25_mib(t: Subject) -> None:
    await t.kv.put("key", bytes(VALUE_BYTES_MAX - 1))
    await t.kv.put("key", bytes(VALUE_BYTES_MAX))
    text = "Error: KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400."
    assert await error_of(t.kv.put("key", bytes(VALUE_BYTES_MAX + 1))) == text
    assert (await t.kv.get("key", "stream")).length == VALUE_BYTES_MAX
    assert await names_of(t.kv) == ["key"]


@shows("put limits")
async def a_stream_without_a_length_is_stopped_above_25_mib(t: Subject) -> None:
    await t.kv.put("key", "before")
    text = "Error: KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400."
    assert await error_of(t.kv.put("key", stream_of(VALUE_BYTES_MAX + 1))) == text
    assert await t.kv.get("key") == "before"


@shows("put limits")
async def a_stream_that_fails_changes_nothing(t: Subject) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(300_000)
        raise ValueError("the tenant's own")

    await t.kv.put("key", "before")
    await error_of(t.kv.put("key", ReadableStream.from_iterable(broken())))
    assert await t.kv.get("key") == "before"


@shows("put replaces", "put metadata")
async def a_put_clears_what_it_does_not_name(t: Subject) -> None:
    await t.kv.put("key", "one", metadata={"a": 1}, expirationTtl=60)
    await t.kv.put("key", "two")
    assert await t.kv.getWithMetadata("key") == {"value": "two", "metadata": None, "cacheStatus": None}
    await t.advance(1000)
    assert await t.kv.get("key") == "two"
    assert (await t.kv.list())["keys"] == [{"name": "key"}]


@shows("put replaces")
async def writes_one_after_the_other_win_in_their_order(t: Subject) -> None:
    for value in ("small", "b" * 100_000, "c" * 600_000, "small again", "d" * 100_000):
        await t.kv.put("key", value)
        assert await t.kv.get("key") == value


@shows("put metadata")
async def metadata_is_any_json_value(t: Subject) -> None:
    for value in (0, "", False, [], {}, {"a": [1, 2.5, None, {"b": "é"}]}, "text", "\ud800"):
        await t.kv.put("key", "value", {"metadata": value})
        assert (await t.kv.getWithMetadata("key")).metadata == value
        assert (await t.kv.list())["keys"] == [{"name": "key", "metadata": value}]
    await t.kv.put("key", "value", metadata=None)
    assert (await t.kv.list())["keys"] == [{"name": "key"}]


@shows("put metadata")
async def metadata_has_at_most_1024_bytes_of_utf8(t: Subject) -> None:
    for text in ("m" * 1021, "m" * 1022, "é" * 511):
        await t.kv.put("key", "value", metadata=text)
    for text, size in (("m" * 1023, 1025), ("é" * 512, 1026), ("m" * 10_000_000, 10_000_002)):
        message = f"Error: KV PUT failed: 413 Metadata length of {size} exceeds limit of 1024."
        assert await error_of(t.kv.put("key", "lost", metadata=text)) == message
    assert await t.kv.get("key") == "value"


@shows("put expiration")
async def expirations_are_60_seconds_ahead_or_more(t: Subject) -> None:
    now = await t.now()
    past = "Please specify integer greater than the current number of seconds since the UNIX epoch."
    for given, expiration in (
        ({"expirationTtl": 60}, now + 60),
        ({"expirationTtl": 61}, now + 61),
        ({"expiration_ttl": "120"}, now + 120),
        ({"expirationTtl": 90.9}, now + 90),
        ({"expiration": now + 60}, now + 60),
        ({"expiration": now + 61}, now + 61),
        ({"expiration": 2**31 - 1}, 2**31 - 1),
        ({"expiration": now + 9000, "expirationTtl": 60}, now + 60),
        ({"expiration": 1, "expirationTtl": 60}, now + 60),
    ):
        await t.kv.put("key", "value", given)
        assert (await t.kv.list())["keys"] == [{"name": "key", "expiration": expiration}], given
    for given, text in (
        ({"expirationTtl": 59}, "Invalid expiration_ttl of 59. Expiration TTL must be at least 60."),
        ({"expirationTtl": 0}, "Invalid expiration_ttl of 0. Please specify integer greater than 0."),
        ({"expirationTtl": -1}, "Invalid expiration_ttl of -1. Please specify integer greater than 0."),
        (
            {"expiration": now + 59},
            f"Invalid expiration of {now + 59}. Expiration times must be at least 60 seconds in the future.",
        ),
        ({"expiration": now}, f"Invalid expiration of {now}. {past}"),
    ):
        assert await error_of(t.kv.put("key", "value", given)) == f"Error: KV PUT failed: 400 {text}"


@shows("put numbers")
async def what_is_no_number_is_zero_and_what_is_too_large_a_type_error(t: Subject) -> None:
    for ttl in ("soon", float("nan"), 0.9, False, ""):
        text = "Error: KV PUT failed: 400 Invalid expiration_ttl of 0. Please specify integer greater than 0."
        assert await error_of(t.kv.put("key", "value", expirationTtl=ttl)) == text
    for value in (253402300799, 2**31, -(2**31) - 1, float("inf")):
        text = "TypeError: Value out of range. Must be between -2147483648 and 2147483647 (inclusive)."
        assert await error_of(t.kv.put("key", "value", expiration=value)) == text


@shows("expiry")
async def an_entry_ends_at_its_second(t: Subject) -> None:
    await t.kv.put("key", "value", expiration=await t.now() + 100)
    await t.advance(99)
    assert await t.kv.get("key") == "value"
    await t.advance(1)
    assert await t.kv.get("key") is None
    assert await t.kv.get(["key"]) == {"key": None}
    assert (await t.kv.getWithMetadata("key")).value is None
    assert await names_of(t.kv) == ["key"]
    await t.advance(1)
    assert await names_of(t.kv) == []
    await t.kv.put("key", "again")
    assert await t.kv.get("key") == "again"


@shows("expiry", "list limit")
async def expired_keys_hide_nothing_and_count_for_nothing(t: Subject) -> None:
    await asyncio.gather(*(t.kv.put(f"a{index:03}", "value", expirationTtl=60) for index in range(120)))
    await put_all(t.kv, ["b", "c"])
    await t.advance(100)
    page = await t.kv.list(limit=1)
    assert ([key["name"] for key in page["keys"]], page.list_complete) == (["b"], False)
    page = await t.kv.list(limit=2)
    assert (len(page["keys"]), page.list_complete) == (2, True)


@shows("delete")
async def deleting_twice_is_deleting_once(t: Subject) -> None:
    await t.kv.put("key", "value")
    await t.kv.delete("key")
    await t.kv.delete("key")
    assert await t.kv.get("key") is None
    assert await names_of(t.kv) == []


# Keys

STRANGE_KEYS = [
    " ",
    "\x00",
    "\x00\x00",
    "\n",
    "%2e%2e",
    "../x",
    "...",
    "/",
    "//",
    "/etc/passwd",
    "a",
    "a\x00",
    "a/b",
    "é",
    "e\u0301",
    "\u202eabc",
    "\uff5e",
    "\uffff",
    "\U0001f600",
    "\U0010ffff",
    "\U0010ffff" * 128,
    "'; DROP TABLE entries; --",
    "__proto__",
]


@shows("key names", "list order", "list prefix")
async def every_legal_key_is_stored_exactly_and_listed_in_byte_order(t: Subject) -> None:
    keys = [*STRANGE_KEYS, "k" * 511, "k" * 512, "é" * 256]
    await put_all(t.kv, keys)
    assert await names_of(t.kv) == sorted(keys, key=str.encode)
    assert await names_of(t.kv, limit=1) == sorted(keys, key=str.encode)
    for key in keys:
        assert await t.kv.get(key) == "value"
        assert (await names_of(t.kv, prefix=key))[0] == key
        await t.kv.delete(key)
    assert await names_of(t.kv) == []


@shows("key names")
async def what_is_no_key_is_refused(t: Subject) -> None:
    for verb, call in (
        ("GET", t.kv.get),
        ("GET", t.kv.getWithMetadata),
        ("PUT", lambda key: t.kv.put(key, "value")),
        ("DELETE", t.kv.delete),
        ("GET_BULK", lambda key: t.kv.get(["ok", key])),
    ):
        assert await error_of(call("")) == "TypeError: Key name cannot be empty."
        assert await error_of(call(".")) == 'TypeError: "." is not allowed as a key name.'
        assert await error_of(call("..")) == 'TypeError: ".." is not allowed as a key name.'
        for key in ("x" * 513, "é" * 256 + "x"):
            text = "414 UTF-8 encoded length of 513 exceeds key length limit of 512."
            assert await error_of(call(key)) == f"Error: KV {verb} failed: {text}"
        assert await error_of(call("\ud800")) == f"Error: KV {verb} failed: 400 Could not URL-decode key name"
    assert await names_of(t.kv) == []


@shows("cacheTtl")
async def a_cache_ttl_is_30_seconds_or_more(t: Subject) -> None:
    await t.kv.put("key", "one")
    for ttl in (30, 31, 60, 86400):
        assert await t.kv.get("key", cacheTtl=ttl) == "one"
        assert await t.kv.get(["key"], cacheTtl=ttl) == {"key": "one"}
    await t.kv.put("key", "two")
    assert await t.kv.get("key", cacheTtl=86400) == "two", "every read is current"
    for ttl in (29, 0, -1):
        text = f"400 Invalid cache_ttl of {ttl}. Cache TTL must be at least 30."
        assert await error_of(t.kv.get("key", {"cacheTtl": ttl})) == f"Error: KV GET failed: {text}"
        assert await error_of(t.kv.getWithMetadata("key", cache_ttl=ttl)) == f"Error: KV GET failed: {text}"
        assert await error_of(t.kv.get(["key"], cacheTtl=ttl)) == f"Error: KV GET_BULK failed: {text}"


# list


@shows("list")
async def the_result_of_a_listing(t: Subject) -> None:
    page = await t.kv.list()
    assert page == {"keys": [], "list_complete": True, "cacheStatus": None}
    expiration = await t.now() + 100
    await t.kv.put("a", "1")
    await t.kv.put("b", "2", metadata={"n": [1, None, "x"]}, expiration=expiration)
    page = await t.kv.list()
    assert page["keys"] == [
        {"name": "a"},
        {"name": "b", "expiration": expiration, "metadata": {"n": [1, None, "x"]}},
    ]
    assert page["keys"][1].metadata.n == [1, None, "x"]
    assert "cursor" not in page
    page = await t.kv.list(limit=1)
    assert (page.list_complete, type(page.cursor)) == (False, str)


@shows("list prefix")
async def a_prefix_is_compared_byte_by_byte(t: Subject) -> None:
    await put_all(t.kv, ["a", "a/1", "a/2", "a0", "b", "é", "ê"])
    for prefix, names in (
        (None, ["a", "a/1", "a/2", "a0", "b", "é", "ê"]),
        ("", ["a", "a/1", "a/2", "a0", "b", "é", "ê"]),
        ("a", ["a", "a/1", "a/2", "a0"]),
        ("a/", ["a/1", "a/2"]),
        ("A", []),
        ("é", ["é"]),
        ("c", []),
        ("x" * 512, []),
    ):
        assert await names_of(t.kv, prefix=prefix) == names
    text = "Error: KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."
    assert await error_of(t.kv.list(prefix="x" * 513)) == text


@shows("list limit", "list")
async def a_page_has_at_most_1000_keys(t: Subject) -> None:
    names = [f"{index:04}" for index in range(1001)]
    await put_all(t.kv, names)
    for limit, count in ((1, 1), (999, 999), (1000, 1000), (None, 1000), (0, 1000), (-1, 1000), ("x", 1000), ("7", 7)):
        page = await t.kv.list(limit=limit)
        assert (len(page["keys"]), page.list_complete) == (count, False)
    text = "Error: KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than 1000."
    assert await error_of(t.kv.list(limit=1001)) == text
    assert await names_of(t.kv) == names
    assert await names_of(t.kv, limit=400) == names
    await t.kv.delete("0000")
    page = await t.kv.list()
    assert (len(page["keys"]), page.list_complete) == (1000, True)


@shows("list cursor")
async def a_cursor_is_a_place_and_no_snapshot(t: Subject) -> None:
    await put_all(t.kv, ["a", "c", "e"])
    cursor = (await t.kv.list(limit=1)).cursor
    await put_all(t.kv, ["0", "b", "d"])
    await t.kv.delete("a")
    await t.kv.delete("c")
    assert await names_of(t.kv, cursor=cursor) == ["b", "d", "e"]
    assert await names_of(t.kv, cursor="") == ["0", "b", "d", "e"]


@shows("list cursor")
async def pages_amid_concurrent_writes_have_every_key_that_stays_once(t: Subject) -> None:
    stays = [f"stays{index:03}" for index in range(100)]
    await put_all(t.kv, stays)

    async def disturb() -> None:
        for index in range(60):
            await t.kv.put(f"stays{index:03}x", "value")
            await t.kv.delete(f"stays{index:03}x")
            await t.kv.put(f"stays{index % 100:03}", "again")

    async def read() -> list[str]:
        return await names_of(t.kv, limit=7)

    _, *seen = await asyncio.gather(disturb(), *(read() for _ in range(4)))
    for names in seen:
        assert [name for name in names if not name.endswith("x")] == stays
        assert names == sorted(set(names))


@shows("list cursor ties")
async def a_cursor_is_good_for_its_own_listing_only(t: Subject) -> None:
    for kv in (t.kv, t.other):
        await put_all(kv, ["a1", "a2", "b1"])
    cursor = (await t.kv.list(prefix="a", limit=1)).cursor
    assert await names_of(t.kv, prefix="a", cursor=cursor) == ["a2"]
    refused = "Error: KV GET failed: 400 Invalid cursor."
    assert (await error_of(t.other.list(prefix="a", cursor=cursor))).startswith(refused)
    for prefix in (None, "", "a1", "b"):
        assert (await error_of(t.kv.list(prefix=prefix, cursor=cursor))).startswith(refused)
    for forged in ("x", "YTE", cursor[:-1], cursor[1:], cursor + "A", "é", "\x00", "A" * 1_000_000):
        assert (await error_of(t.kv.list(prefix="a", cursor=forged))).startswith(refused)


@shows("isolation")
async def namespaces_do_not_see_each_other(t: Subject) -> None:
    await t.kv.put("key", "mine")
    assert await t.other.get("key") is None
    assert await names_of(t.other) == []
    await t.other.put("key", "theirs")
    await t.other.delete("key")
    assert await t.kv.get("key") == "mine"


@shows("wrapper")
async def the_binding_is_an_object_as_in_javascript(t: Subject) -> None:
    await t.kv.put("key", "value", metadata=1, expiration_ttl=60)
    assert (await t.kv.get_with_metadata("key")).metadata == 1
    assert await t.kv["get"]("key") == "value"
    assert t.kv
    for refused, text in (
        (lambda: iter(t.kv), "'KvNamespace' object is not iterable"),
        (lambda: len(t.kv), "'KvNamespace' object has no len()"),
    ):
        assert await error_of(later(refused)) == text
    for name in ("put_many", "deleteMany", "namespace"):
        assert not hasattr(t.kv, name)
