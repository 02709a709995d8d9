"""Conditions, ranges, keys and option errors: tables of request and outcome."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenantry.errors import BindingError
from tenantry.services.r2.limits import OBJECT_BYTES_MAX, PUT_BYTES_MAX
from tenantry.services.r2.model import PartRecord
from tenantry.services.r2.multipart import choose_parts

MD5_OF_X = "9dd4e461268c8034f5c8564e155c67a6"
UPLOADED = datetime(2023, 11, 14, 22, 13, 20, 500_000, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def stored(bucket, clock):
    clock.now_ms += 500
    await bucket.call("put", ["key", b"x"])
    return bucket


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"etagMatches": MD5_OF_X}, True),
        ({"etagMatches": [MD5_OF_X, "other"]}, True),
        ({"etagMatches": "*"}, True),
        ({"etagMatches": "other"}, False),
        ({"etagDoesNotMatch": MD5_OF_X}, False),
        ({"etagDoesNotMatch": ["other", MD5_OF_X]}, False),
        ({"etagDoesNotMatch": "*"}, False),
        ({"etagDoesNotMatch": "other"}, True),
        ({"uploadedBefore": UPLOADED}, False),
        ({"uploadedBefore": UPLOADED + SECOND}, True),
        ({"uploadedBefore": UPLOADED, "etagMatches": MD5_OF_X}, True),
        ({"uploadedAfter": UPLOADED}, False),
        ({"uploadedAfter": UPLOADED - SECOND}, True),
        ({"uploadedAfter": UPLOADED - timedelta(milliseconds=100)}, True),
        ({"uploadedAfter": UPLOADED - timedelta(milliseconds=100), "secondsGranularity": True}, False),
        ({"uploadedAfter": UPLOADED, "etagDoesNotMatch": "other"}, True),
        ({"etagMatches": MD5_OF_X, "etagDoesNotMatch": MD5_OF_X}, False),
        ({}, True),
        ({"headers": {"If-Match": f'"{MD5_OF_X}"'}}, True),
        ({"headers": {"If-Match": f'W/"{MD5_OF_X}"'}}, False),
        ({"headers": {"If-Match": f'"other" , "{MD5_OF_X}"'}}, True),
        ({"headers": {"If-None-Match": f'W/"{MD5_OF_X}"'}}, False),
        ({"headers": {"If-None-Match": "*"}}, False),
        ({"headers": {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}}, False),
        ({"headers": {"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}}, True),
        ({"headers": {"If-Modified-Since": "soon"}}, True),
        ({"headers": {"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:20 GMT"}}, False),
        ({"headers": {"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:21 GMT"}}, True),
    ],
)
async def test_conditions(stored, condition, holds):
    found = await stored.call("get", ["key", {"onlyIf": condition, "range": {"length": 1}}])
    assert found["body"] == (b"x" if holds else None)
    assert ("range" in found["object"]) == holds
    replaced = await stored.call("put", ["key", b"new", {"onlyIf": condition}])
    assert (replaced is not None) == holds
    assert (await stored.call("get", ["key"]))["body"] == (b"new" if holds else b"x")


@pytest.mark.parametrize("size", [3, 50_000])
@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"etagMatches": "*"}, False),
        ({"uploadedAfter": UPLOADED}, False),
        ({"etagDoesNotMatch": "*"}, True),
        ({"uploadedBefore": UPLOADED}, True),
        ({"headers": {"if-none-match": "*"}}, True),
    ],
)
async def test_conditions_on_what_is_not_there(bucket, condition, holds, size):
    outcome = await bucket.call("put", ["key", b"x" * size, {"onlyIf": condition}])
    assert (outcome is not None) == holds
    assert (await bucket.call("head", ["key"]) is not None) == holds


async def test_conditions_come_before_the_range_and_after_the_checksum(stored, refused):
    condition = {"etagMatches": "other"}
    assert (await stored.call("get", ["key", {"onlyIf": condition, "range": {"offset": 5}}]))["body"] is None
    assert (await refused("put", "key", b"x", {"onlyIf": condition, "md5": bytes(16)}))[1].endswith("(10037)")


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"etagMatches": f'"{MD5_OF_X}"'}, f'Conditional ETag should not be wrapped in quotes ("{MD5_OF_X}").'),
        ({"headers": {"if-match": '"a" "b"'}}, "Comma was expected to separate etags."),
        ({"headers": {"if-match": "w/a"}}, "Weak etags must start with W/ and their value must be quoted"),
        ({"headers": {"if-match": '"a'}}, "Unclosed double quote for Etag"),
        ({"headers": {"if-match": "a"}}, "Invalid ETag in if-match header"),
        ({"headers": {"if-none-match": ""}}, "Invalid ETag in if-none-match header"),
        ({"headers": {"if-none-match": "W/"}}, "Weak etags must start with W/ and their value must be quoted"),
        ({"uploadedBefore": "yesterday"}, "uploadedBefore must be a Date."),
    ],
)
async def test_conditions_that_cannot_be_read(refused, condition, message):
    for method, args in (("get", ["key"]), ("put", ["key", b""])):
        name, text = await refused(method, *args, {"onlyIf": condition})
        assert name == "TypeError"
        assert text.startswith(message)


DATA = bytes(range(200)) * 500  # 100,000 bytes: a file, in the engine that has files


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize(
    ("wanted", "window"),
    [
        ({"offset": 10}, lambda size: (10, size - 10)),
        ({"offset": 10.0, "length": 5}, lambda size: (10, 5)),
        ({"offset": 90, "length": 10**12}, lambda size: (90, size - 90)),
        ({"length": 7}, lambda size: (0, 7)),
        ({"suffix": 7}, lambda size: (size - 7, 7)),
        ({"suffix": 10**300}, lambda size: (0, size)),
        ({}, lambda size: (0, size)),
        ({"headers": {"Range": "bytes=5-9"}}, lambda size: (5, 5)),
        ({"headers": {"range": "bytes=5-"}}, lambda size: (5, size - 5)),
        ({"headers": {"range": "bytes=-5"}}, lambda size: (size - 5, 5)),
        ({"headers": {"range": "bytes=90-9999999"}}, lambda size: (90, size - 90)),
        ({"headers": {"range": "bytes=9-5"}}, lambda size: (0, size)),
        ({"headers": {"range": "bytes=0-1,3-4"}}, lambda size: (0, size)),
        ({"headers": {"range": "0-1"}}, lambda size: (0, size)),
        ({"headers": {"range": "bytes=999999999-"}}, lambda size: (0, size)),
        ({"headers": {}}, lambda size: (0, size)),
    ],
)
async def test_ranges(bucket, body_of, size, wanted, window):
    await bucket.call("put", ["key", DATA[:size]])
    offset, length = window(size)
    found = await bucket.call("get", ["key", {"range": wanted}])
    assert found["object"]["range"] == {"offset": offset, "length": length}
    assert await body_of(found) == DATA[:size][offset : offset + length]


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        ({"offset": -1}, "Invalid range. Starting offset (-1) must be greater than or equal to 0."),
        ({"offset": 1.5}, "Invalid range. Starting offset (1.5) must be an integer, not floating point."),
        ({"length": -2}, "Invalid range. Length (-2) must be greater than or equal to 0."),
        ({"length": 0.5}, "Invalid range. Length (0.5) must be an integer, not floating point."),
        ({"suffix": -3}, "Invalid suffix. Suffix (-3) must be greater than or equal to 0."),
        ({"suffix": 2.5}, "Invalid range. Suffix (2.5) must be an integer, not floating point."),
        ({"suffix": 1, "offset": 1}, "Suffix is incompatible with offset."),
        ({"suffix": 1, "length": 1}, "Suffix is incompatible with length."),
        ({"offset": 11}, "get: The requested range is not satisfiable (10039)"),
        ({"offset": 10}, "get: The requested range is not satisfiable (10039)"),
        ({"length": 0}, "get: The requested range is not satisfiable (10039)"),
        ({"suffix": 0}, "get: The requested range is not satisfiable (10039)"),
    ],
)
async def test_ranges_that_cannot_be(bucket, refused, wanted, error):
    await bucket.call("put", ["key", b"0123456789"])
    name, message = await refused("get", "key", {"range": wanted})
    assert message == error
    assert name == ("Error" if "(10039)" in error else "TypeError" if "incompatible" in error else "RangeError")


async def test_any_range_of_an_empty_object_but_a_header_is_refused(bucket, refused):
    await bucket.call("put", ["key", None])
    assert (await refused("get", "key", {"range": {"offset": 0}}))[1].endswith("(10039)")
    assert (await bucket.call("get", ["key", {"range": {"headers": {"range": "bytes=0-"}}}]))["body"] == b""


@pytest.mark.parametrize(
    "key",
    [
        "",
        ".",
        "..",
        "../x",
        "/etc/passwd",
        "%2e%2e",
        "a\0b",
        "\u202eabc",
        "a/../../b",
        "é" * 512,
        "-",
        "CON",
        "\\",
        "😀",
    ],
)
async def test_a_key_is_data_and_never_a_path(bucket, body_of, key):
    await bucket.call("put", [key, b"x" * 20_000])
    assert [entry["key"] for entry in (await bucket.call("list", []))["objects"]] == [key]
    found = await bucket.call("get", [key])
    assert found["object"]["key"] == key
    assert await body_of(found) == b"x" * 20_000
    await bucket.call("delete", [key])
    assert await bucket.call("head", [key]) is None


@pytest.mark.parametrize("key", ["x" * 1025, "é" * 513, "\ud800", "x" * 10_000_000])
@pytest.mark.parametrize("method", ["head", "get", "put", "delete", "createMultipartUpload"])
async def test_a_key_that_is_no_key(refused, method, key):
    assert await refused(method, key) == ("Error", f"{method}: The specified object name is not valid. (10020)")


async def test_the_checks_of_put_come_in_order(refused, chunked):
    huge = {"customMetadata": {"a": "x" * 9000}}
    too_large = chunked(b"", length=5 * 2**30)
    assert (await refused("put", "x" * 1025, too_large, huge))[1].endswith("(10020)")
    assert (await refused("put", "key", b"x", {**huge, "md5": bytes(16)}))[1].endswith("(10012)")
    assert (await refused("put", "key", too_large, {"md5": bytes(16)}))[1] == (
        "put: Your proposed upload exceeds the maximum allowed object size. (100100)"
    )


async def test_a_put_of_exactly_the_most_is_taken_in(refused, chunked):
    most = 5 * 2**30 - 5 * 2**20
    assert (await refused("put", "key", chunked(b"", length=most)))[1].endswith("(10013)")  # it is awaited, and ends
    assert (await refused("put", "key", chunked(b"", length=most + 1)))[1].endswith("(100100)")


def test_an_object_of_exactly_the_most_is_made_of_1024_of_the_largest_parts():
    largest = [PartRecord(number, "e", bytes(16), PUT_BYTES_MAX, 0) for number in range(1, 1026)]
    stored = {part.number: part for part in largest}
    given = [(part.number, "e") for part in largest]
    assert sum(part.size for part in choose_parts(given[:1024], stored)) == OBJECT_BYTES_MAX
    stored[1025] = PartRecord(1025, "e", bytes(16), 1, 0)
    with pytest.raises(BindingError, match="100100"):
        choose_parts(given, stored)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"md5": bytes(16), "sha1": bytes(20)}, "You cannot specify multiple hashing algorithms."),
        ({"md5": bytes(15)}, "MD5 is 16 bytes, not 15"),
        ({"sha512": "ab"}, "SHA-512 is 128 hex characters, not 2"),
        ({"sha1": "x" * 40}, "Provided SHA-1 wasn't a valid hex string"),
        ({"sha1": 5}, "SHA-1 must be bytes or a hex string"),
        ({"ssecKey": "short"}, "SSE-C Key has invalid format"),
        ({"ssecKey": b"short"}, "SSE-C Key must be 32 bytes in length"),
        ({"customMetadata": {"a": 1}}, "customMetadata must map strings to strings."),
        ({"customMetadata": {"a": "x" * 8192}}, "put: Your metadata headers exceed the maximum allowed metadata size."),
        ({"customMetadata": {"a" * 9000: ""}}, "put: Your metadata headers exceed the maximum allowed metadata size."),
        ({"httpMetadata": {"contentType": "a\r\nSet-Cookie: b"}}, "put: Metadata missing or invalid (10029)"),
        ({"httpMetadata": {"contentType": 5}}, "put: Metadata missing or invalid (10029)"),
        ({"httpMetadata": {"cacheExpiry": "soon"}}, "put: Metadata missing or invalid (10029)"),
        ({"customMetadata": {"a": "\ud800"}}, "put: Metadata missing or invalid (10029)"),
        ({"storageClass": "Glacier"}, "put: The storage class is not valid"),
        ("text", "The options must be an object."),
    ],
)
async def test_options_of_put_that_are_refused(bucket, refused, options, error):
    assert (await refused("put", "key", b"x", options))[1].startswith(error)
    assert await bucket.call("head", ["key"]) is None
