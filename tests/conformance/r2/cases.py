"""R2's rules, each as a small program that a Worker could run: `case(bucket)` fails with AssertionError.

`bucket` is `env.BUCKET`, empty at the start. The module is imported by the tests on the host, where every engine goes
through it, and is also deployed, as it stands, into a Worker in its sandbox: so it imports nothing but what a Worker
has. The name of a case says the rule, and `@rule` where it is written: the section of R2's part of the reference.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import js
from workers import Blob, Request, Response

CASES: dict[str, Callable[[Any], Awaitable[None]]] = {}
MIB = 1024 * 1024
KEY = bytes(range(32))


def rule(section: str) -> Callable[[Any], Any]:
    """Adds a case to the table."""

    def add(case: Any) -> Any:
        name = f"{section}-{case.__name__}"
        assert name not in CASES
        CASES[name] = case
        return case

    return add


async def refused(call: Awaitable[Any], message: str, name: str = "Error", whole: bool = True) -> None:
    """The call fails with this error: the whole message, or its beginning."""
    try:
        result = await call
    except Exception as error:
        found = (error.name, error.message)  # type: ignore[attr-defined]  # a JsException
        if whole:
            assert found == (name, message), found
        else:
            assert found[0] == name, found
            assert found[1].startswith(message), found
        return
    raise AssertionError(f"{result!r} came back where an error was due: {message}")


def etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def keys_of(page: Any) -> list[str]:
    return [entry.key for entry in page.objects]


# 5.1 and 5.2: methods


@rule("5.2")
async def head_and_get_of_a_key_that_is_not_there_are_null(bucket: Any) -> None:
    assert await bucket.head("key") is None
    assert await bucket.get("key") is None
    assert await bucket.get("key", {"onlyIf": {"etagMatches": "x"}, "range": {"offset": 5}}) is None


@rule("5.2")
async def put_takes_text_buffers_blobs_streams_and_nothing(bucket: Any) -> None:
    for value, stored in (
        ("text ä", "text ä".encode()),
        (b"bytes", b"bytes"),
        (memoryview(b"view"), b"view"),
        (js.Uint8Array.new(b"array"), b"array"),
        (Blob([b"bl", b"ob"]), b"blob"),
        (Response("stream").body, b"stream"),
        (None, b""),
        ("", b""),
    ):
        made = await bucket.put("key", value)
        assert (made.size, made.etag) == (len(stored), etag(stored)), stored
        assert await (await bucket.get("key")).bytes() == stored


@rule("5.2")
async def put_refuses_a_stream_of_unknown_length(bucket: Any) -> None:
    stream = js.TransformStream.new()
    await refused(
        bucket.put("key", stream.readable),
        "Provided readable stream must have a known length (request/response body or readable half of "
        "FixedLengthStream)",
        "TypeError",
    )
    assert await bucket.head("key") is None


@rule("5.2")
async def delete_takes_a_key_or_a_list_and_missing_ones_are_fine(bucket: Any) -> None:
    for key in "abcd":
        await bucket.put(key, key)
    assert await bucket.delete("a") is None
    assert await bucket.delete(["b", "c", "never was"]) is None
    assert await bucket.delete([]) is None
    assert keys_of(await bucket.list()) == ["d"]


@rule("5.2")
async def delete_takes_at_most_a_thousand_keys(bucket: Any) -> None:
    await bucket.put("k0", "x")
    await bucket.delete([f"k{number}" for number in range(1000)])
    assert await bucket.head("k0") is None
    await bucket.put("k0", "x")
    await refused(bucket.delete([f"k{number}" for number in range(1001)]), "delete: ", whole=False)
    assert await bucket.head("k0") is not None


@rule("5.2")
async def a_key_is_any_text_of_up_to_1024_bytes(bucket: Any) -> None:
    for key in ("", "x" * 1023, "x" * 1024, "é" * 512, "/", "..", "a/../b", "a\0b", "\u202ertl", "%2e", "😀"):
        await bucket.put(key, "x")
        assert (await bucket.get(key)).key == key
        assert keys_of(await bucket.list()) == [key]
        await bucket.delete(key)
    text = "The specified object name is not valid. (10020)"
    for key in ("x" * 1025, "é" * 512 + "x"):
        await refused(bucket.put(key, "x"), f"put: {text}")
        await refused(bucket.get(key), f"get: {text}")
        await refused(bucket.head(key), f"head: {text}")
        await refused(bucket.delete(key), f"delete: {text}")
        await refused(bucket.delete(["fine", key]), f"delete: {text}")
        await refused(bucket.createMultipartUpload(key), f"createMultipartUpload: {text}")
    assert keys_of(await bucket.list()) == []


@rule("5.2")
async def half_a_surrogate_pair_becomes_the_replacement_character(bucket: Any) -> None:
    await bucket.put("a\ud800b", "x")
    assert keys_of(await bucket.list()) == ["a\ufffdb"]
    assert (await bucket.get("a\udfffb")).key == "a\ufffdb"


@rule("5.2")
async def a_write_is_seen_by_what_comes_after_it(bucket: Any) -> None:
    for number in range(5):
        await bucket.put("key", str(number))
        assert await (await bucket.get("key")).text() == str(number)
        await bucket.delete("key")
        assert await bucket.head("key") is None


# 5.3: objects


@rule("5.3")
async def an_object_has_all_its_fields(bucket: Any) -> None:
    made = await bucket.put(
        "key",
        "text",
        httpMetadata={"contentType": "text/plain"},
        customMetadata={"a": "b"},
        sha1=hashlib.sha1(b"text").hexdigest(),
    )
    head = await bucket.head("key")
    got = await bucket.get("key")
    (listed,) = (await bucket.list(include=["httpMetadata", "customMetadata"])).objects
    for one in (made, head, got, listed):
        assert one.key == "key"
        assert len(one.version) == 32
        assert set(one.version) <= set("0123456789abcdef")
        assert one.version == made.version
        assert one.size == 4
        assert one.etag == etag(b"text")
        assert one.httpEtag == f'"{one.etag}"'
        assert bytes(one.checksums.md5) == hashlib.md5(b"text").digest()
        assert bytes(one.checksums.sha1) == hashlib.sha1(b"text").digest()
        assert one.checksums.sha256 is None
        assert one.checksums.toJSON() == {"md5": one.etag, "sha1": hashlib.sha1(b"text").hexdigest()}
        assert one.uploaded.getTime() == made.uploaded.getTime()
        assert one.httpMetadata.contentType == "text/plain"
        assert one.customMetadata == {"a": "b"}
        assert one.storageClass == "Standard"
        assert one.ssecKeyMd5 is None
    assert made.range is None
    assert listed.range is None
    assert head.range == got.range == {"offset": 0, "length": 4}


@rule("5.3")
async def every_put_makes_another_version_of_the_same_content(bucket: Any) -> None:
    one, two = await bucket.put("key", "x"), await bucket.put("key", "x")
    assert one.version != two.version
    assert one.etag == two.etag


@rule("5.3")
async def all_http_metadata_comes_back_and_writes_headers(bucket: Any) -> None:
    expiry = js.Date.new("2031-02-03T04:05:06.000Z")
    metadata = {
        "contentType": "text/html; charset=utf-8",
        "contentLanguage": "de",
        "contentDisposition": 'attachment; filename="a.txt"',
        "contentEncoding": "gzip",
        "cacheControl": "max-age=60",
        "cacheExpiry": expiry,
    }
    await bucket.put("key", "x", httpMetadata=metadata)
    for one in (await bucket.head("key"), await bucket.get("key")):
        assert {**one.httpMetadata, "cacheExpiry": None} == {**metadata, "cacheExpiry": None}
        assert one.httpMetadata.cacheExpiry.getTime() == expiry.getTime()
        headers = js.Headers.new()
        one.writeHttpMetadata(headers)
        assert headers.get("content-type") == "text/html; charset=utf-8"
        assert headers.get("content-language") == "de"
        assert headers.get("content-disposition") == 'attachment; filename="a.txt"'
        assert headers.get("content-encoding") == "gzip"
        assert headers.get("cache-control") == "max-age=60"
        assert headers.get("expires") == "Mon, 03 Feb 2031 04:05:06 GMT"


@rule("5.3")
async def http_metadata_of_a_list_entry_is_unknown_unless_included(bucket: Any) -> None:
    await bucket.put("key", "x", httpMetadata={"contentType": "text/plain"}, customMetadata={"a": "b"})
    (entry,) = (await bucket.list()).objects
    assert entry.httpMetadata == {}
    assert entry.customMetadata == {}

    async def write() -> None:
        entry.writeHttpMetadata(js.Headers.new())

    text = "HTTP metadata unknown for key `key`. Did you forget to add 'httpMetadata' to `include` when listing?"
    await refused(write(), text, "TypeError")


@rule("5.3")
async def a_body_is_read_in_every_form_and_once(bucket: Any) -> None:
    for size in (20, 200_000):
        data = (b'{"a": "' + b"x" * size)[: size - 2] + b'"}'
        await bucket.put("key", data, httpMetadata={"contentType": "application/json"})
        assert await (await bucket.get("key")).text() == data.decode()
        assert await (await bucket.get("key")).bytes() == data
        assert bytes(await (await bucket.get("key")).arrayBuffer()) == data
        assert (await (await bucket.get("key")).json()) == json.loads(data)
        blob = await (await bucket.get("key")).blob()
        assert await blob.text() == data.decode()
        got = await bucket.get("key")
        assert not got.bodyUsed
        await got.text()
        assert got.bodyUsed
        await refused(
            got.text(),
            "Body has already been used. It can only be used once. Use tee() first if you need to read it twice.",
            "TypeError",
        )
        await bucket.put("copy", (await bucket.get("key")).body)
        assert (await bucket.head("copy")).etag == etag(data)


# 5.4: conditions


@rule("5.4")
async def conditions_in_object_form(bucket: Any) -> None:
    made = await bucket.put("key", "x")
    second = timedelta(seconds=1)
    for condition, holds in (
        ({}, True),
        ({"etagMatches": made.etag}, True),
        ({"etagMatches": ["other", made.etag]}, True),
        ({"etagMatches": "*"}, True),
        ({"etagMatches": "other"}, False),
        ({"etagDoesNotMatch": made.etag}, False),
        ({"etagDoesNotMatch": ["other", made.etag]}, False),
        ({"etagDoesNotMatch": "*"}, False),
        ({"etagDoesNotMatch": "other"}, True),
        ({"uploadedBefore": made.uploaded}, False),
        ({"uploadedBefore": made.uploaded + second}, True),
        ({"uploadedAfter": made.uploaded}, False),
        ({"uploadedAfter": made.uploaded - second}, True),
        ({"uploadedAfter": js.Date.new(made.uploaded.getTime() - 1)}, True),
        ({"uploadedAfter": made.uploaded.replace(microsecond=0), "secondsGranularity": True}, False),
        ({"uploadedBefore": made.uploaded, "etagMatches": made.etag}, True),
        ({"uploadedAfter": made.uploaded, "etagDoesNotMatch": "other"}, True),
        ({"uploadedBefore": made.uploaded, "etagDoesNotMatch": "other"}, False),
        ({"uploadedAfter": made.uploaded, "etagMatches": made.etag}, False),
        ({"etagMatches": made.etag, "etagDoesNotMatch": made.etag}, False),
    ):
        await _check_condition(bucket, condition, holds)


async def _check_condition(bucket: Any, condition: Any, holds: bool) -> None:
    got = await bucket.get("key", {"onlyIf": condition})
    assert hasattr(got, "body") == holds, condition
    assert (got.range is not None) == holds
    # A put that fails stores nothing, and one that succeeds would be another object for the next condition.
    if not holds:
        assert await bucket.put("key", "new", {"onlyIf": condition}) is None, condition
        assert await (await bucket.get("key")).text() == "x"


@rule("5.4")
async def conditions_in_headers_form(bucket: Any) -> None:
    made = await bucket.put("key", "x")
    from_here = made.uploaded.toUTCString()
    before = (made.uploaded - timedelta(seconds=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    after = (made.uploaded + timedelta(seconds=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    for headers, holds in (
        ({"If-Match": f'"{made.etag}"'}, True),
        ({"If-Match": f'"other" ,"{made.etag}"'}, True),
        ({"If-Match": "*"}, True),
        ({"If-Match": '"other"'}, False),
        ({"If-Match": f'W/"{made.etag}"'}, False),
        ({"If-None-Match": f'"{made.etag}"'}, False),
        ({"If-None-Match": f'W/"{made.etag}"'}, False),
        ({"If-None-Match": "*"}, False),
        ({"If-None-Match": '"other"'}, True),
        ({"If-Modified-Since": from_here}, False),
        ({"If-Modified-Since": before}, True),
        ({"If-Unmodified-Since": from_here}, False),
        ({"If-Unmodified-Since": after}, True),
        ({"If-Unmodified-Since": from_here, "If-Match": f'"{made.etag}"'}, True),
        ({"If-Modified-Since": from_here, "If-None-Match": '"other"'}, True),
    ):
        await _check_condition(bucket, js.Headers.new(list(headers.items())), holds)


@rule("5.4")
async def conditions_on_a_missing_object(bucket: Any) -> None:
    now = js.Date.new()
    for condition, holds in (
        ({"etagMatches": "*"}, False),
        ({"etagMatches": "x"}, False),
        ({"uploadedAfter": now}, False),
        ({"etagDoesNotMatch": "*"}, True),
        ({"uploadedBefore": now}, True),
        (js.Headers.new([("If-None-Match", "*")]), True),
        (js.Headers.new([("If-Match", "*")]), False),
    ):
        assert (await bucket.put("key", "x", {"onlyIf": condition}) is not None) == holds, condition
        await bucket.delete("key")


@rule("5.4")
async def a_put_under_a_condition_that_holds_is_made(bucket: Any) -> None:
    first = await bucket.put("key", "1", {"onlyIf": {"etagDoesNotMatch": "*"}})
    assert await bucket.put("key", "2", {"onlyIf": {"etagDoesNotMatch": "*"}}) is None
    second = await bucket.put("key", "3", {"onlyIf": {"etagMatches": first.etag}})
    assert second.etag == etag(b"3")
    # Of many at once, exactly one finds the etag that all of them saw.
    made = await asyncio.gather(
        *(bucket.put("key", f"n{number}", {"onlyIf": {"etagMatches": second.etag}}) for number in range(8))
    )
    assert sum(one is not None for one in made) == 1


@rule("5.4")
async def etags_that_cannot_be_read(bucket: Any) -> None:
    for condition, message in (
        ({"etagMatches": '"abc"'}, 'Conditional ETag should not be wrapped in quotes ("abc").'),
        ({"etagDoesNotMatch": ["x", '"abc"']}, 'Conditional ETag should not be wrapped in quotes ("abc").'),
        (js.Headers.new([("If-Match", '"a" "b"')]), "Comma was expected to separate etags."),
        (js.Headers.new([("If-Match", "w/a")]), "Weak etags must start with W/ and their value must be quoted"),
        (js.Headers.new([("If-None-Match", '"a')]), "Unclosed double quote for Etag"),
        (js.Headers.new([("If-Match", "a")]), "Invalid ETag in if-match header"),
        (js.Headers.new([("If-None-Match", "a")]), "Invalid ETag in if-none-match header"),
    ):
        await refused(bucket.get("key", {"onlyIf": condition}), message, "TypeError", whole=False)
        await refused(bucket.put("key", "", {"onlyIf": condition}), message, "TypeError", whole=False)


# 5.5: ranges


@rule("5.5")
async def ranges_in_both_forms(bucket: Any) -> None:
    for size in (100, 100_000):
        data = bytes(range(250)) * (size // 250 + 1)
        data = data[:size]
        await bucket.put("key", data)
        for wanted, offset, length in (
            ({"offset": 10}, 10, size - 10),
            ({"offset": 10, "length": 5}, 10, 5),
            ({"offset": 0, "length": size}, 0, size),
            ({"offset": size - 1, "length": 5}, size - 1, 1),
            ({"length": 7}, 0, 7),
            ({"length": size + 1}, 0, size),
            ({"suffix": 7}, size - 7, 7),
            ({"suffix": size + 1}, 0, size),
            ("bytes=5-9", 5, 5),
            ("bytes=5-", 5, size - 5),
            ("bytes=-5", size - 5, 5),
            ("bytes=0-0", 0, 1),
            (f"bytes=90-{size * 2}", 90, size - 90),
            ("bytes=9-5", 0, size),
            ("bytes=0-1,3-4", 0, size),
            ("0-1", 0, size),
            (f"bytes={size}-", 0, size),
            ("", 0, size),
        ):
            given = js.Headers.new([("Range", wanted)]) if isinstance(wanted, str) else wanted
            got = await bucket.get("key", {"range": given})
            assert got.range == {"offset": offset, "length": length}, wanted
            assert await got.bytes() == data[offset : offset + length], wanted
            assert (got.size, got.etag) == (size, etag(data))


@rule("5.5")
async def ranges_that_cannot_be(bucket: Any) -> None:
    await bucket.put("key", "0123456789")
    await bucket.put("empty", "")
    least, whole = "must be greater than or equal to 0.", "must be an integer, not floating point."
    for wanted, message in (
        ({"offset": -1}, f"Invalid range. Starting offset (-1) {least}"),
        ({"offset": 1.5}, f"Invalid range. Starting offset (1.5) {whole}"),
        ({"length": -2}, f"Invalid range. Length (-2) {least}"),
        ({"length": 0.5}, f"Invalid range. Length (0.5) {whole}"),
        ({"suffix": -3}, f"Invalid suffix. Suffix (-3) {least}"),
        ({"suffix": 2.5}, f"Invalid range. Suffix (2.5) {whole}"),
    ):
        await refused(bucket.get("key", {"range": wanted}), message, "RangeError")
    await refused(
        bucket.get("key", {"range": {"suffix": 1, "offset": 1}}), "Suffix is incompatible with offset.", "TypeError"
    )
    await refused(
        bucket.get("key", {"range": {"suffix": 1, "length": 1}}), "Suffix is incompatible with length.", "TypeError"
    )
    unsatisfiable = "get: The requested range is not satisfiable (10039)"
    for wanted in ({"offset": 11}, {"offset": 10}, {"length": 0}, {"offset": 3, "length": 0}, {"suffix": 0}):
        await refused(bucket.get("key", {"range": wanted}), unsatisfiable)
    for wanted in ({"offset": 0}, {"length": 1}, {"suffix": 1}):
        await refused(bucket.get("empty", {"range": wanted}), unsatisfiable)
    assert await (await bucket.get("empty", {"range": js.Headers.new([("Range", "bytes=0-")])})).text() == ""


@rule("5.5")
async def the_headers_of_a_request_are_condition_and_range(bucket: Any) -> None:
    made = await bucket.put("key", "0123456789")
    for headers, length in (
        ({}, 10),
        ({"Range": "bytes=2-4"}, 3),
        ({"If-None-Match": '"other"', "Range": "bytes=2-4", "Accept": "*/*"}, 3),
        ({"If-None-Match": made.httpEtag, "Range": "bytes=2-4"}, None),
    ):
        request = Request("https://example.com/key", headers=headers)
        for given in (request.headers, request.js_object.headers):
            got = await bucket.get("key", onlyIf=given, range=given)
            assert hasattr(got, "body") == (length is not None), headers
            assert length is None or got.range.length == length, headers


@rule("5.5")
async def conditions_come_before_the_range(bucket: Any) -> None:
    await bucket.put("key", "x")
    got = await bucket.get("key", {"onlyIf": {"etagMatches": "no"}, "range": {"offset": 99}})
    assert not hasattr(got, "body")


# 5.6: options of put


@rule("5.6")
async def http_metadata_from_headers(bucket: Any) -> None:
    headers = js.Headers.new(
        [
            ("Content-Type", "text/css"),
            ("Content-Language", "de"),
            ("Content-Disposition", "inline"),
            ("Content-Encoding", "br"),
            ("Cache-Control", "no-store"),
            ("Expires", "Mon, 03 Feb 2031 04:05:06 GMT"),
            ("X-Other", "no"),
        ]
    )
    metadata = (await bucket.put("key", "x", httpMetadata=headers)).httpMetadata
    assert metadata.pop("cacheExpiry").toUTCString() == "Mon, 03 Feb 2031 04:05:06 GMT"
    assert metadata == {
        "contentType": "text/css",
        "contentLanguage": "de",
        "contentDisposition": "inline",
        "contentEncoding": "br",
        "cacheControl": "no-store",
    }


@rule("5.6")
async def a_checksum_is_verified_and_kept(bucket: Any) -> None:
    for size in (4, 100_000):
        data = b"x" * size
        for name, label in (
            ("md5", "MD5"),
            ("sha1", "SHA-1"),
            ("sha256", "SHA-256"),
            ("sha384", "SHA-384"),
            ("sha512", "SHA-512"),
        ):
            right, wrong = hashlib.new(name, data), hashlib.new(name, b"other")
            for given in (right.digest(), right.hexdigest(), right.hexdigest().upper()):
                made = await bucket.put("key", data, {name: given})
                assert made.checksums.toJSON() == {"md5": etag(data), name: right.hexdigest()}
            await refused(
                bucket.put("key", data, {name: wrong.digest()}),
                f"put: The {label} checksum you specified did not match what we received.\n"
                f"You provided a {label} checksum with value: {wrong.hexdigest()}\n"
                f"Actual {label} was: {right.hexdigest()} (10037)",
            )
            size_of, digits = right.digest_size, 2 * right.digest_size
            await refused(
                bucket.put("key", data, {name: bytes(size_of - 1)}),
                f"{label} is {size_of} bytes, not {size_of - 1}",
                "TypeError",
            )
            await refused(
                bucket.put("key", data, {name: "ab"}), f"{label} is {digits} hex characters, not 2", "TypeError"
            )
            await refused(
                bucket.put("key", data, {name: "x" * digits}),
                f"Provided {label} wasn't a valid hex string",
                "TypeError",
            )


@rule("5.6")
async def two_checksums_are_one_too_many(bucket: Any) -> None:
    await refused(
        bucket.put("key", "x", {"md5": bytes(16), "sha1": bytes(20)}),
        "You cannot specify multiple hashing algorithms.",
        "TypeError",
    )


@rule("5.6")
async def metadata_of_up_to_8192_bytes(bucket: Any) -> None:
    text = "Your metadata headers exceed the maximum allowed metadata size. (10012)"
    for fill, unit in (("x", 1), ("é", 2)):
        for size in (8190, 8192):
            made = await bucket.put("key", "", customMetadata={"ab": fill * ((size - 2) // unit)})
            assert made.customMetadata == {"ab": fill * ((size - 2) // unit)}
        too_much = {"ab": fill * (8190 // unit) + "x"}
        await refused(bucket.put("key", "", customMetadata=too_much), f"put: {text}")
        await refused(bucket.createMultipartUpload("key", customMetadata=too_much), f"createMultipartUpload: {text}")
    await refused(
        bucket.put("key", "", customMetadata={"a": "x" * 4000}, httpMetadata={"contentType": "x" * 4192}),
        f"put: {text}",
    )
    await bucket.put("key", "", customMetadata={"a": "x" * 4000}, httpMetadata={"contentType": "x" * 4191})


@rule("5.6")
async def the_checks_of_put_come_in_order(bucket: Any) -> None:
    await bucket.put("key", "old")
    huge = {"customMetadata": {"a": "x" * 9000}}
    await refused(bucket.put("x" * 1025, "x", huge), "put: The specified object name is not valid. (10020)")
    await refused(bucket.put("key", "x", {**huge, "md5": bytes(16)}), "put: Your metadata headers", whole=False)
    failing = {"onlyIf": {"etagMatches": "no"}}
    await refused(bucket.put("key", "x", {**failing, "md5": bytes(16)}), "put: The MD5 checksum", whole=False)
    assert await bucket.put("key", "x", failing) is None


@rule("5.6")
async def a_storage_class_is_one_of_two(bucket: Any) -> None:
    for storage_class in ("Standard", "InfrequentAccess"):
        await bucket.put("key", "x", storageClass=storage_class)
        assert (await bucket.head("key")).storageClass == storage_class
        assert (await bucket.list()).objects[0].storageClass == storage_class
    await refused(bucket.put("key", "x", storageClass="Glacier"), "put: ", whole=False)


@rule("5.6")
async def a_customers_key_opens_what_it_closed(bucket: Any) -> None:
    for size in (0, 10, 200_000):
        data = b"0123456789" * (size // 10)
        made = await bucket.put("key", data, ssecKey=KEY)
        assert made.ssecKeyMd5 == (await bucket.head("key")).ssecKeyMd5 == hashlib.md5(KEY).hexdigest()
        assert made.etag == etag(data)
        assert await (await bucket.get("key", ssecKey=KEY)).bytes() == data
        got = await bucket.get("key", ssecKey=KEY.hex())
        assert await got.bytes() == data
        await refused(bucket.get("key"), "get: The object was stored using a form of", whole=False)
        await refused(bucket.get("key", ssecKey=bytes(32)), "get: Access Denied (10003)")
        if size:
            window = {"offset": size - 7, "length": 5}
            assert (
                await (await bucket.get("key", {"ssecKey": KEY, "range": window})).bytes() == data[size - 7 : size - 2]
            )
    for bad in ("A" * 64, "a" * 63):
        await refused(bucket.put("key", "x", ssecKey=bad), "SSE-C Key has invalid format", "TypeError")
    await refused(bucket.put("key", "x", ssecKey=bytes(31)), "SSE-C Key must be 32 bytes in length", "TypeError")


# 5.7: list


@rule("5.7")
async def a_listing_is_in_the_order_of_utf8_bytes(bucket: Any) -> None:
    keys = ["", "A", "a", "a/b", "a0", "b", "ä", "\uffff", "😀"]
    for key in reversed(keys):
        await bucket.put(key, "x")
    page = await bucket.list()
    assert keys_of(page) == sorted(keys, key=str.encode)
    assert page.truncated is False
    assert not hasattr(page, "cursor") or page.cursor is None
    assert list(page.delimitedPrefixes) == []


@rule("5.7")
async def pages_of_every_size_give_the_same_listing(bucket: Any) -> None:
    keys = ["a", "a/1", "a/2", "a/b/3", "b", "b/4", "c"]
    for key in keys:
        await bucket.put(key, "x")
    for limit in (1, 2, 3, 7, 1000):
        for options, objects, prefixes in (
            ({}, keys, []),
            ({"prefix": "a/"}, ["a/1", "a/2", "a/b/3"], []),
            ({"delimiter": "/"}, ["a", "b", "c"], ["a/", "b/"]),
            ({"prefix": "a/", "delimiter": "/"}, ["a/1", "a/2"], ["a/b/"]),
            ({"delimiter": ""}, keys, []),
            ({"startAfter": "a/2"}, ["a/b/3", "b", "b/4", "c"], []),
            ({"startAfter": "a/2", "delimiter": "/"}, ["b", "c"], ["a/", "b/"]),
            ({"prefix": "none"}, [], []),
        ):
            found: list[str] = []
            groups: list[str] = []
            cursor = None
            while True:
                page = await bucket.list({**options, "limit": limit, **({"cursor": cursor} if cursor else {})})
                assert len(page.objects) + len(page.delimitedPrefixes) <= limit
                found += keys_of(page)
                groups += page.delimitedPrefixes
                if not page.truncated:
                    break
                cursor = page.cursor
            assert (found, groups) == (objects, prefixes), (options, limit)


@rule("5.7")
async def a_cursor_stays_good_while_keys_come_and_go(bucket: Any) -> None:
    for key in ("a", "b", "d", "e"):
        await bucket.put(key, "x")
    first = await bucket.list(limit=2)
    assert keys_of(first) == ["a", "b"]
    await bucket.delete(["b", "d"])
    await bucket.put("aa", "x")
    await bucket.put("c", "x")
    assert keys_of(await bucket.list(cursor=first.cursor)) == ["c", "e"]
    assert keys_of(await bucket.list(cursor=first.cursor, startAfter="c")) == ["e"]
    assert keys_of(await bucket.list(cursor=first.cursor, startAfter="a")) == ["c", "e"]


@rule("5.7")
async def a_cursor_that_was_never_given_out_is_an_empty_page(bucket: Any) -> None:
    for key in ("a", "b", "c"):
        await bucket.put(key, "x")
    good = (await bucket.list(limit=1)).cursor
    changed = ("A" if good[0] != "A" else "B") + good[1:]
    for cursor in ("!", "YQ==", changed, good + "A", good + "==", "!" + good, good[:-1], "x" * 4000, "ä"):
        page = await bucket.list(cursor=cursor)
        assert (keys_of(page), page.truncated) == ([], False), cursor


@rule("5.7")
async def limits_from_1_to_1000(bucket: Any) -> None:
    text = "list: MaxKeys params must be positive integer <= 1000. (10022)"
    for limit in (0, -1, 1001):
        await refused(bucket.list(limit=limit), text)
    for limit in (1, 1000):
        await bucket.list(limit=limit)


@rule("5.7")
async def include_brings_metadata(bucket: Any) -> None:
    await bucket.put("key", "x", httpMetadata={"contentType": "a/b"}, customMetadata={"c": "d"})
    for include, http, custom in (
        ([], {}, {}),
        (["httpMetadata"], {"contentType": "a/b"}, {}),
        (["customMetadata"], {}, {"c": "d"}),
        (["httpMetadata", "customMetadata"], {"contentType": "a/b"}, {"c": "d"}),
    ):
        (entry,) = (await bucket.list(include=include)).objects
        assert (entry.httpMetadata, entry.customMetadata) == (http, custom), include
    await refused(bucket.list(include=["etag"]), "Unsupported include value etag", "RangeError")


# 5.8: multipart uploads

PART = bytes(range(256)) * (5 * MIB // 256)
UNKNOWN = "0" * 43


@rule("5.8")
async def parts_become_one_object(bucket: Any) -> None:
    upload = await bucket.createMultipartUpload(
        "key", httpMetadata={"contentType": "a/b"}, customMetadata={"c": "d"}, storageClass="InfrequentAccess"
    )
    assert upload.key == "key"
    last = b"the end"
    third = await upload.uploadPart(9, last)
    first = await upload.uploadPart(2, PART)
    # The upload can be taken up by its id, and knows nothing of its parts then.
    again = bucket.resumeMultipartUpload("key", upload.uploadId)
    assert (again.key, again.uploadId) == ("key", upload.uploadId)
    second = await again.uploadPart(7, PART[::-1])
    assert first.partNumber == 2
    assert first.etag != etag(PART)
    assert await bucket.head("key") is None
    made = await again.complete([first, second, third])
    digests = b"".join(hashlib.md5(data).digest() for data in (PART, PART[::-1], last))
    assert made.etag == f"{hashlib.md5(digests).hexdigest()}-3"
    assert made.httpEtag == f'"{made.etag}"'
    assert made.size == 2 * len(PART) + len(last)
    assert made.checksums.toJSON() == {}
    assert made.range is None
    assert (made.httpMetadata, made.customMetadata) == ({"contentType": "a/b"}, {"c": "d"})
    assert made.storageClass == "InfrequentAccess"
    whole = PART + PART[::-1] + last
    got = await bucket.get("key", {"range": {"offset": 5 * MIB - 3, "length": 6}})
    assert await got.bytes() == whole[5 * MIB - 3 : 5 * MIB + 3]
    assert await (await bucket.get("key", {"range": {"suffix": 9}})).bytes() == whole[-9:]
    digest = hashlib.sha256()
    async for chunk in (await bucket.get("key")).body:
        digest.update(bytes(chunk))
    assert digest.digest() == hashlib.sha256(whole).digest()


@rule("5.8")
async def a_part_sent_again_replaces_the_first(bucket: Any) -> None:
    upload = await bucket.createMultipartUpload("key")
    old = await upload.uploadPart(1, "old")
    new = await upload.uploadPart(1, "new")
    assert old.etag != new.etag
    await refused(
        upload.complete([old]),
        "completeMultipartUpload: One or more of the specified parts could not be found. (10025)",
    )
    await upload.complete([new])
    assert await (await bucket.get("key")).text() == "new"


@rule("5.8")
async def complete_checks_in_its_order(bucket: Any) -> None:
    upload = await bucket.createMultipartUpload("key")
    small = await upload.uploadPart(1, "small")
    big = await upload.uploadPart(2, PART)
    bigger = await upload.uploadPart(3, PART + b"x")
    missing = {"partNumber": 4, "etag": "none"}
    for parts, text in (
        ([missing, missing], "We encountered an internal error. Please try again. (10001)"),
        ([small, missing], "One or more of the specified parts could not be found. (10025)"),
        ([small, big], "Your proposed upload is smaller than the minimum allowed object size. (10011)"),
        ([big, bigger], "There was a problem with the multipart upload. (10048)"),
        ([big, small], "There was a problem with the multipart upload. (10048)"),
    ):
        await refused(upload.complete(parts), f"completeMultipartUpload: {text}")
    assert (await upload.complete([big])).size == len(PART)


@rule("5.8")
async def an_upload_without_parts_is_an_empty_object(bucket: Any) -> None:
    made = await (await bucket.createMultipartUpload("key")).complete([])
    assert (made.size, made.etag) == (0, "d41d8cd98f00b204e9800998ecf8427e-0")
    assert await (await bucket.get("key")).text() == ""


@rule("5.8")
async def part_numbers_from_1_to_10000(bucket: Any) -> None:
    upload = await bucket.createMultipartUpload("key")
    for number in (1, 10_000):
        await upload.uploadPart(number, "x")
    for number in (0, -1, 10_001):
        await refused(
            upload.uploadPart(number, "x"),
            f"Part number must be between 1 and 10000 (inclusive). Actual value was: {number}",
            "TypeError",
        )


@rule("5.8")
async def uploads_that_are_unknown_or_over(bucket: Any) -> None:
    gone = "The specified multipart upload does not exist. (10024)"
    broken = "We encountered an internal error. Please try again. (10001)"
    unknown = bucket.resumeMultipartUpload("key", UNKNOWN)
    await refused(unknown.uploadPart(1, "x"), f"uploadPart: {gone}")
    await refused(unknown.complete([]), f"completeMultipartUpload: {broken}")
    await refused(unknown.abort(), f"abortMultipartUpload: {broken}")
    completed = await bucket.createMultipartUpload("key")
    await completed.complete([])
    aborted = await bucket.createMultipartUpload("key")
    part = await aborted.uploadPart(1, "x" * 100_000)
    await aborted.abort()
    for upload in (completed, aborted):
        await refused(upload.uploadPart(1, "x"), f"uploadPart: {gone}")
        await refused(upload.complete([part]), f"completeMultipartUpload: {gone}")
        await upload.abort()
    # An upload is one of its key.
    other = await bucket.createMultipartUpload("other")
    stolen = bucket.resumeMultipartUpload("key", other.uploadId)
    await refused(stolen.uploadPart(1, "x"), f"uploadPart: {gone}")
    await refused(stolen.complete([]), f"completeMultipartUpload: {broken}")


@rule("5.8")
async def an_upload_replaces_the_object_only_when_it_is_complete(bucket: Any) -> None:
    await bucket.put("key", "old")
    upload = await bucket.createMultipartUpload("key")
    part = await upload.uploadPart(1, "new")
    assert await (await bucket.get("key")).text() == "old"
    made = await upload.complete([part])
    assert await (await bucket.get("key")).text() == "new"
    assert made.uploaded.getTime() <= js.Date.new().getTime()


@rule("5.8")
async def an_upload_under_a_customers_key(bucket: Any) -> None:
    upload = await bucket.createMultipartUpload("key", ssecKey=KEY)
    await refused(upload.uploadPart(1, "x"), "uploadPart: The multipart upload initiate requested", whole=False)
    await refused(upload.uploadPart(1, "x", ssecKey=bytes(32)), "uploadPart: The provided encryption", whole=False)
    parts = [await upload.uploadPart(number, data, ssecKey=KEY) for number, data in ((1, PART), (2, b"end"))]
    made = await upload.complete(parts)
    assert made.ssecKeyMd5 == hashlib.md5(KEY).hexdigest()
    got = await bucket.get("key", {"ssecKey": KEY, "range": {"offset": 5 * MIB - 2}})
    assert await got.bytes() == PART[-2:] + b"end"
    await refused(bucket.get("key", ssecKey=bytes(32)), "get: Access Denied (10003)")


# 5.9: limits


@rule("5.9")
async def what_is_too_large_is_refused_before_it_comes(bucket: Any) -> None:
    text = "Your proposed upload exceeds the maximum allowed object size. (100100)"
    size = 5 * 1024 * MIB - 5 * MIB + 1
    upload = await bucket.createMultipartUpload("key")
    await refused(bucket.put("key", js.FixedLengthStream.new(size).readable), f"put: {text}")
    await refused(upload.uploadPart(1, js.FixedLengthStream.new(size).readable), f"uploadPart: {text}")
    assert await bucket.head("key") is None
