"""Listings: order, prefixes, pages and cursors, whatever the engine."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest

from tenantry.errors import BindingError

STRANGE_KEYS = [
    " ",
    "\x00",
    "\x00\x00",
    "\n",
    "%2e%2e",
    "../x",
    "...",
    "/etc/passwd",
    "a",
    "a\x00",
    "a/b",
    "\u00e9",
    "e\u0301",
    "\u202eabc",
    "\uffff",
    "\U0001f600",
    "\U0010ffff",
    "\U0010ffff" * 128,
    "k" * 512,
    "'; DROP TABLE entries; --",
]


async def put_all(kv: Any, names: list[str]) -> None:
    await asyncio.gather(*(kv.put(name, b"value") for name in names))


async def test_an_empty_namespace_lists_nothing(kv: Any) -> None:
    assert await kv.list() == {"keys": [], "list_complete": True}


@pytest.mark.parametrize("limit", [1, 7, 127, 128, 129, 299, 300, 301, 1000])
async def test_pages_together_are_the_whole_without_repeats(kv: Any, limit: int) -> None:
    names = [f"key{index:03}" for index in range(300)]
    await put_all(kv, [*names, "before", "zafter"])
    seen: list[str] = []
    cursor = None
    while True:
        page = await kv.list("key", limit, cursor)
        seen += [key["name"] for key in page["keys"]]
        assert len(page["keys"]) <= limit
        assert page["list_complete"] == ("cursor" not in page)
        if page["list_complete"]:
            break
        assert len(page["keys"]) == limit
        cursor = page["cursor"]
    assert seen == names


async def test_a_large_page_leaves_as_a_stream(kv: Any) -> None:
    await asyncio.gather(*(kv.put(f"{index:0200}", b"", metadata=f'"{"m" * 900}"') for index in range(100)))
    body = await kv.call("list")
    assert not isinstance(body, bytes)
    await body.aclose()
    assert len((await kv.list())["keys"]) == 100


async def test_a_cursor_of_another_namespace_is_refused(kv: Any) -> None:
    other = kv.other("other")
    for namespace in (kv, other):
        await put_all(namespace, ["a", "b"])
    cursor = (await other.list(None, 1))["cursor"]
    with pytest.raises(BindingError, match="KV GET failed: 400 Invalid cursor"):
        await kv.list(None, 1, cursor)
    # Nor does a namespace without entries take one.
    with pytest.raises(BindingError, match="KV GET failed: 400 Invalid cursor"):
        await kv.other("third").list(None, 1, cursor)


async def test_a_forged_or_huge_cursor_is_refused(kv: Any) -> None:
    await put_all(kv, ["a", "b", "c"])
    cursor = (await kv.list(None, 1))["cursor"]
    raw = urlsafe_b64decode(cursor + "==")
    forged = [
        "x",
        "a===",
        "é",
        "\x00",
        cursor[:-1],
        cursor + "A",
        "A" * 704,
        "A" * 1_000_000,
        urlsafe_b64encode(b"b").decode(),
        urlsafe_b64encode(raw[:16] + b"b").decode(),
        urlsafe_b64encode(bytes([raw[0] ^ 1]) + raw[1:]).decode(),
        urlsafe_b64encode(raw[:16]).decode(),
    ]
    for bad in forged:
        with pytest.raises(BindingError) as raised:
            await kv.list(None, 1, bad)
        assert raised.value.message.startswith("KV GET failed: 400 Invalid cursor")
