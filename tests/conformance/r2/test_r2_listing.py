"""list: order, pages, prefixes."""

from __future__ import annotations

import random

import pytest

KEYS = ["", "a", "a/b", "a/c/d", "a/c/e", "a0", "b/", "b/x", "ä", "ä/ö", "z", "\uffff", "😀", "😀/x"]


@pytest.fixture
async def filled(bucket):
    shuffled = list(KEYS)
    random.Random(0).shuffle(shuffled)
    for key in shuffled:
        await bucket.call("put", [key, b"x", {"customMetadata": {"k": key}, "httpMetadata": {"contentType": "t/t"}}])
    return bucket


async def pages(bucket, **options):
    """All pages of a listing."""
    found = []
    cursor = None
    while True:
        page = await bucket.call("list", [{**options, **({} if cursor is None else {"cursor": cursor})}])
        found.append(page)
        assert ("cursor" in page) == page["truncated"]
        if not page["truncated"]:
            return found
        cursor = page["cursor"]


def keys_of(page):
    return [entry["key"] for entry in page["objects"]]


def expected(prefix="", delimiter="", start_after=None):
    """What a listing has, in the plainest words."""
    objects, prefixes = [], []
    for key in sorted(KEYS, key=str.encode):
        if not key.startswith(prefix) or (start_after is not None and key.encode() <= start_after.encode()):
            continue
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            objects.append(key)
        elif key[: cut + len(delimiter)] not in prefixes:
            prefixes.append(key[: cut + len(delimiter)])
    return objects, prefixes


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
@pytest.mark.parametrize("delimiter", ["", "/", "c/", "ö"])
@pytest.mark.parametrize("prefix", ["", "a", "a/", "b/", "ä", "😀", "nothing", "\uffff"])
async def test_every_page_size_gives_the_same_listing(filled, prefix, delimiter, limit):
    found = await pages(filled, prefix=prefix, delimiter=delimiter, limit=limit)
    for page in found:
        assert len(page["objects"]) + len(page["delimitedPrefixes"]) <= limit
    for page in found[:-1]:
        assert len(page["objects"]) + len(page["delimitedPrefixes"]) == limit
    objects, prefixes = expected(prefix, delimiter)
    assert [key for page in found for key in keys_of(page)] == objects
    assert [name for page in found for name in page["delimitedPrefixes"]] == prefixes


@pytest.mark.parametrize("start_after", KEYS)
async def test_start_after_is_exclusive(filled, start_after):
    page = await filled.call("list", [{"startAfter": start_after, "delimiter": "/"}])
    assert (keys_of(page), page["delimitedPrefixes"]) == expected("", "/", start_after)


async def test_the_later_of_cursor_and_start_after_wins(filled):
    cursor = (await filled.call("list", [{"limit": 3}]))["cursor"]
    assert keys_of(await filled.call("list", [{"cursor": cursor, "startAfter": "", "limit": 1}])) == ["a/c/d"]
    assert keys_of(await filled.call("list", [{"cursor": cursor, "startAfter": "ä", "limit": 1}])) == ["ä/ö"]


@pytest.mark.parametrize("cursor", ["!", "a", "4pyT😀", "x" * 4000])
async def test_a_cursor_that_is_none_gives_an_empty_page(filled, cursor):
    page = await filled.call("list", [{"cursor": cursor}])
    assert page == {"objects": [], "truncated": False, "delimitedPrefixes": []}


async def test_include_brings_the_metadata(filled):
    bare = (await filled.call("list", [{"prefix": "z"}]))["objects"][0]
    assert "httpMetadata" not in bare
    assert "customMetadata" not in bare
    assert bare["storageClass"] == "Standard"
    http = (await filled.call("list", [{"prefix": "z", "include": ["httpMetadata"]}]))["objects"][0]
    assert http["httpMetadata"] == {"contentType": "t/t"}
    assert "customMetadata" not in http
    both = (await filled.call("list", [{"prefix": "z", "include": ["httpMetadata", "customMetadata"]}]))["objects"][0]
    assert both["customMetadata"] == {"k": "z"}


async def test_a_page_of_heavy_metadata_ends_early(bucket):
    for number in range(90):
        await bucket.call("put", [f"{number:03}", b"", {"customMetadata": {"k": "x" * 8000}}])
    found = await pages(bucket, include=["customMetadata"])
    assert len(found) > 1
    assert [key for page in found for key in keys_of(page)] == [f"{number:03}" for number in range(90)]
    assert len(await pages(bucket)) == 1


async def test_more_objects_than_one_turn_reads(bucket):
    for number in range(330):
        await bucket.call("put", [f"{number % 3}/{number:03}", b""])
    whole = await bucket.call("list", [])
    assert len(whole["objects"]) == 330
    assert not whole["truncated"]
    grouped = await bucket.call("list", [{"delimiter": "/"}])
    assert grouped["delimitedPrefixes"] == ["0/", "1/", "2/"]
    single = await bucket.call("list", [{"delimiter": "5"}])
    assert len(single["objects"]) + len(single["delimitedPrefixes"]) < 330


@pytest.mark.parametrize("limit", [0, -1, 1001, 10**30, "5", True, float("nan"), []])
async def test_a_limit_out_of_range(refused, limit):
    text = "list: MaxKeys params must be positive integer <= 1000. (10022)"
    assert await refused("list", {"limit": limit}) == ("Error", text)


async def test_an_include_that_is_unknown(refused):
    assert await refused("list", {"include": ["etag"]}) == ("RangeError", "Unsupported include value etag")
