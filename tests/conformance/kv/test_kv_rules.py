"""Rules and texts: what a Worker reads when it asks for what cannot be. Whatever the engine."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry.errors import BindingError
from tenantry.streams import BytesStream

NOW = 1_800_000_000

LONG = "é" * 256 + "x"

# method, arguments, class, text
REFUSED: list[tuple[str, list[Any], str, str]] = [
    ("get", [""], "TypeError", "Key name cannot be empty."),
    ("get", ["."], "TypeError", '"." is not allowed as a key name.'),
    ("put", ["..", b""], "TypeError", '".." is not allowed as a key name.'),
    ("delete", [""], "TypeError", "Key name cannot be empty."),
    ("get", [LONG], "Error", "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."),
    (
        "getWithMetadata",
        ["x" * 513],
        "Error",
        "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512.",
    ),
    ("put", [LONG, b""], "Error", "KV PUT failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."),
    ("delete", [LONG], "Error", "KV DELETE failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."),
    ("list", [LONG], "Error", "KV GET failed: 414 UTF-8 encoded length of 513 exceeds key length limit of 512."),
    ("get", ["\ud800"], "Error", "KV GET failed: 400 Could not URL-decode key name"),
    ("put", ["a\udfff", b""], "Error", "KV PUT failed: 400 Could not URL-decode key name"),
    ("list", ["\ud800"], "Error", "KV GET failed: 400 Could not URL-decode key name"),
    ("get", ["k", 29], "Error", "KV GET failed: 400 Invalid cache_ttl of 29. Cache TTL must be at least 30."),
    ("get", ["k", -1], "Error", "KV GET failed: 400 Invalid cache_ttl of -1. Cache TTL must be at least 30."),
    (
        "put",
        ["k", b"", None, 0],
        "Error",
        "KV PUT failed: 400 Invalid expiration_ttl of 0. Please specify integer greater than 0.",
    ),
    (
        "put",
        ["k", b"", None, -5],
        "Error",
        "KV PUT failed: 400 Invalid expiration_ttl of -5. Please specify integer greater than 0.",
    ),
    (
        "put",
        ["k", b"", None, 59],
        "Error",
        "KV PUT failed: 400 Invalid expiration_ttl of 59. Expiration TTL must be at least 60.",
    ),
    (
        "put",
        ["k", b"", NOW],
        "Error",
        (
            f"KV PUT failed: 400 Invalid expiration of {NOW}. Please specify integer greater than the current number "
            "of seconds since the UNIX epoch."
        ),
    ),
    (
        "put",
        ["k", b"", NOW + 59],
        "Error",
        (
            f"KV PUT failed: 400 Invalid expiration of {NOW + 59}. Expiration times must be at least 60 seconds in the "
            "future."
        ),
    ),
    (
        "put",
        ["k", b"", 253402300799],
        "TypeError",
        "Value out of range. Must be between -2147483648 and 2147483647 (inclusive).",
    ),
    (
        "put",
        ["k", b"", None, 10**6000],
        "TypeError",
        "Value out of range. Must be between -2147483648 and 2147483647 (inclusive).",
    ),
    (
        "put",
        ["k", b"", None, None, '"' + "m" * 1023 + '"'],
        "Error",
        "KV PUT failed: 413 Metadata length of 1025 exceeds limit of 1024.",
    ),
    (
        "put",
        ["k", b"", None, None, '"' + "m" * 10_000_000 + '"'],
        "Error",
        "KV PUT failed: 413 Metadata length of 10000002 exceeds limit of 1024.",
    ),
    ("put", ["k", b"", None, None, "{"], "Error", "KV PUT failed: 400 Metadata must be valid JSON."),
    ("put", ["k", b"", None, None, "NaN"], "Error", "KV PUT failed: 400 Metadata must be valid JSON."),
    ("put", ["k", b"", None, None, "[" * 1024], "Error", "KV PUT failed: 400 Metadata must be valid JSON."),
    ("put", ["k", b"", None, None, '"\ud800"'], "Error", "KV PUT failed: 400 Metadata must be valid JSON."),
    (
        "put",
        ["k", "text"],
        "TypeError",
        "KV put() accepts only strings, ArrayBuffers, ArrayBufferViews, and ReadableStreams as values.",
    ),
    (
        "put",
        ["k", b"x" * (25 * 1024 * 1024 + 1)],
        "Error",
        "KV PUT failed: 413 Value length of 26214401 exceeds limit of 26214400.",
    ),
    (
        "list",
        [None, 1001],
        "Error",
        "KV GET failed: 400 Invalid key_count_limit of 1001. Please specify an integer less than 1000.",
    ),
    (
        "list",
        [None, -1],
        "Error",
        "KV GET failed: 400 Invalid key_count_limit of -1. Please specify an integer greater than 0.",
    ),
    (
        "list",
        [None, 10**6000],
        "Error",
        (
            "KV GET failed: 400 Invalid key_count_limit of a number out of range. Please specify an integer less than "
            "1000."
        ),
    ),
    ("getMany", [[]], "Error", "KV GET_BULK failed: 400 You must request a minimum of 1 key"),
    ("getMany", [["k"] * 101], "Error", "KV GET_BULK failed: 400 You can request a maximum of 100 keys"),
    (
        "getMany",
        [["k"], "stream"],
        "Error",
        'KV GET_BULK failed: 400 "stream" is not a valid type. Use "json" or "text"',
    ),
    ("getMany", [["k", ""]], "TypeError", "Key name cannot be empty."),
    ("getMany", ["k"], "TypeError", "Failed to execute 'get' on 'KvNamespace': parameter 1 is not of type 'Array'."),
    ("get", [1], "TypeError", "Failed to execute 'get' on 'KvNamespace': parameter 1 is not of type 'string'."),
    ("nothing", [], "TypeError", "The KV namespace has no such method."),
    ("__init__", [], "TypeError", "The KV namespace has no such method."),
]


@pytest.mark.parametrize(("method", "args", "name", "message"), REFUSED)
async def test_refused(kv: Any, method: str, args: list[Any], name: str, message: str) -> None:
    await kv.put("k", "before")
    with pytest.raises(BindingError) as raised:
        await kv.call(method, *args)
    assert (raised.value.name, raised.value.message) == (name, message)
    assert await kv.get_with_metadata("k") == (b"before", None)


async def test_the_edges_of_what_is_allowed(kv: Any) -> None:
    await kv.put("x" * 512, "value", expirationTtl=60, metadata='"' + "m" * 1022 + '"')
    await kv.put("k", "value", expiration=NOW + 60)
    await kv.put("k", "value", expiration=2**31 - 1)
    assert await kv.call("get", "k", 30) == b"value"
    assert len((await kv.list(None, 1000))["keys"]) == 2
    await kv.put("k", "value", metadata='"\\ud800"')
    assert (await kv.get_with_metadata("k")) == (b"value", '"\\ud800"')


wire_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.datetimes(timezones=st.just(UTC))
    | st.builds(BytesStream, st.binary(max_size=20)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
methods = st.sampled_from(["get", "getWithMetadata", "getMany", "put", "delete", "list", "", "call", "_put"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=methods, args=st.lists(wire_values, max_size=7))
async def test_whatever_a_worker_sends_gives_a_result_or_a_binding_error(kv: Any, method: str, args: list[Any]) -> None:
    with suppress(BindingError):
        await kv.call(method, *args)


async def test_a_date_is_no_number(kv: Any) -> None:
    with pytest.raises(BindingError, match="parameter 3 is not of type 'integer'"):
        await kv.call("put", "k", b"", datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(BindingError, match="parameter 4 is not of type 'integer'"):
        await kv.call("put", "k", b"", None, True)
