"""put, get, head, delete: what is stored comes back."""

from __future__ import annotations

import asyncio
import hashlib
import random
from datetime import UTC, datetime

import pytest

from tenantry.services.r2.binding import R2Binding

SIZES = [0, 1, 16 * 1024, 16 * 1024 + 1, 64 * 1024, 64 * 1024 + 1, 3_000_000]


@pytest.mark.parametrize("size", SIZES)
async def test_bytes_come_back_and_the_etag_is_their_md5(bucket, body_of, chunked, size):
    data = random.Random(size).randbytes(size)
    stored = await bucket.call("put", ["key", chunked(data, chunk=300_000)])
    assert stored["etag"] == hashlib.md5(data).hexdigest()
    assert stored["checksums"] == {"md5": hashlib.md5(data).digest()}
    assert stored["size"] == size
    assert "range" not in stored
    found = await bucket.call("get", ["key"])
    assert await body_of(found) == data
    assert found["object"] == {**stored, "range": {"offset": 0, "length": size}}
    assert await bucket.call("head", ["key"]) == found["object"]


async def test_an_object_has_what_the_documentation_says(bucket, clock):
    expiry = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    http = {"contentType": "text/plain", "cacheControl": "no-store", "cacheExpiry": expiry}
    options = {"httpMetadata": http, "customMetadata": {"ключ": "значение"}, "storageClass": "InfrequentAccess"}
    stored = await bucket.call("put", ["key", "text", options])
    assert stored["httpMetadata"] == http
    assert stored["customMetadata"] == {"ключ": "значение"}
    assert stored["storageClass"] == "InfrequentAccess"
    assert stored["uploaded"] == datetime.fromtimestamp(clock.now_ms / 1000, UTC)
    assert len(stored["version"]) == 32
    assert (await bucket.call("head", ["key"]))["httpMetadata"] == http


async def test_metadata_may_come_as_headers(bucket):
    headers = {"Content-Type": "a/b", "expires": "Wed, 02 Jan 2030 03:04:05 GMT", "x-other": "?"}
    stored = await bucket.call("put", ["key", b"", {"httpMetadata": {"headers": headers}}])
    assert stored["httpMetadata"] == {
        "contentType": "a/b",
        "cacheExpiry": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
    }


async def test_text_is_stored_as_utf_8_and_none_as_nothing(bucket, body_of):
    await bucket.call("put", ["text", "grün"])
    await bucket.call("put", ["none", None])
    assert await body_of(await bucket.call("get", ["text"])) == "grün".encode()
    assert await body_of(await bucket.call("get", ["none"])) == b""


async def test_what_is_not_there_is_none(bucket):
    assert await bucket.call("head", ["key"]) is None
    assert await bucket.call("get", ["key"]) is None
    assert await bucket.call("delete", ["key"]) is None
    assert (await bucket.call("list", []))["objects"] == []


@pytest.mark.parametrize("size", [10, 200_000])
async def test_a_put_replaces_everything(bucket, body_of, size):
    first = await bucket.call("put", ["key", b"a" * 200_000, {"customMetadata": {"a": "b"}}])
    second = await bucket.call("put", ["key", b"b" * size])
    assert first["version"] != second["version"]
    found = await bucket.call("get", ["key"])
    assert found["object"]["customMetadata"] == {}
    assert await body_of(found) == b"b" * size


async def test_delete_takes_one_key_or_many(bucket):
    for key in "abcd":
        await bucket.call("put", [key, b"x" * 20_000])
    await bucket.call("delete", ["a"])
    await bucket.call("delete", [["b", "d", "never was", "b"]])
    await bucket.call("delete", [[]])
    assert [entry["key"] for entry in (await bucket.call("list", []))["objects"]] == ["c"]


@pytest.mark.parametrize("end", ["replace", "delete"])
async def test_a_reader_keeps_the_bytes_it_began_to_read(bucket, body_of, end):
    data = random.Random(1).randbytes(1_000_000)
    await bucket.call("put", ["key", data])
    early, late = await bucket.call("get", ["key"]), await bucket.call("get", ["key"])
    beginning = await early["body"].read(1000)
    await bucket.call(*{"replace": ("put", ["key", b"new"]), "delete": ("delete", ["key"])}[end])
    assert beginning + await body_of(early) == data
    assert await body_of(late) == data


async def test_a_stream_from_a_bucket_may_be_put_again(bucket, body_of):
    data = random.Random(2).randbytes(2_500_000)
    await bucket.call("put", ["key", data])
    source = (await bucket.call("get", ["key", {"range": {"offset": 100_000, "length": 2_000_001}}]))["body"]
    stored = await bucket.call("put", ["copy", source])
    assert stored["etag"] == hashlib.md5(data[100_000:2_100_001]).hexdigest()
    assert await body_of(await bucket.call("get", ["copy"])) == data[100_000:2_100_001]


@pytest.mark.parametrize("size", [100, 300_000])
@pytest.mark.parametrize(
    "lie", [{"length": 99}, {"length": 101}, {"length": 299_999}, {"length": 300_001}, {"breaks_at": 50_000}]
)
async def test_a_stream_that_is_not_what_it_said_stores_nothing(bucket, refused, chunked, size, lie):
    if size == 100 and "breaks_at" in lie:
        lie = {"breaks_at": 100}
    await bucket.call("put", ["key", b"before"])
    stream = chunked(b"x" * size, **lie)
    name, message = await refused("put", "key", stream)
    assert (name, message.endswith("(10013)")) == ("Error", True)
    assert stream.closed
    assert (await bucket.call("head", ["key"]))["size"] == 6


async def test_a_stream_of_unknown_length_is_refused(refused, chunked):
    stream = chunked(b"x", length=None)
    name, message = await refused("put", "key", stream)
    assert name == "TypeError"
    assert message == (
        "Provided readable stream must have a known length "
        "(request/response body or readable half of FixedLengthStream)"
    )
    assert stream.closed


async def test_a_cancelled_put_leaves_no_trace(bucket, chunked):
    class Stuck(chunked):
        async def read(self, size_max: int) -> bytes:
            if self._position >= 600_000:
                reached.set()
                await asyncio.Event().wait()
            return await super().read(size_max)

    reached = asyncio.Event()
    stream = Stuck(b"x" * 1_000_000, chunk=50_000)
    put = asyncio.create_task(bucket.call("put", ["key", stream]))
    await reached.wait()
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    assert stream.closed
    assert await bucket.call("head", ["key"]) is None


async def test_a_hundred_puts_at_once_all_arrive(bucket):
    await asyncio.gather(*(bucket.call("put", [f"key-{number:03}", b"x" * 300 * number]) for number in range(100)))
    sizes = [entry["size"] for entry in (await bucket.call("list", []))["objects"]]
    assert sizes == [300 * number for number in range(100)]


async def test_buckets_are_apart(engine):
    one, other = R2Binding(engine.bucket("one")), R2Binding(engine.bucket("other"))
    await one.call("put", ["key", b"1"])
    assert await other.call("head", ["key"]) is None
    await other.call("put", ["key", b"2" * 50_000])
    await engine.delete_bucket("other")
    await engine.delete_bucket("never was")
    assert await other.call("head", ["key"]) is None
    assert (await other.call("put", ["key", b"3"]))["size"] == 1
    assert (await one.call("get", ["key"]))["body"] == b"1"


async def test_checksums(bucket, refused):
    for algorithm in ("md5", "sha1", "sha256", "sha384", "sha512"):
        digest = hashlib.new(algorithm, b"text")
        for given in (digest.digest(), digest.hexdigest(), digest.hexdigest().upper()):
            stored = await bucket.call("put", ["key", "text", {algorithm: given}])
            assert stored["checksums"] == {"md5": hashlib.md5(b"text").digest(), algorithm: digest.digest()}
    actual, wrong = hashlib.sha256(b"other").hexdigest(), "0" * 64
    _, message = await refused("put", "key", "other", {"sha256": wrong})
    assert message == (
        "put: The SHA-256 checksum you specified did not match what we received.\n"
        f"You provided a SHA-256 checksum with value: {wrong}\nActual SHA-256 was: {actual} (10037)"
    )
    big = b"x" * 100_000
    assert (await refused("put", "key", big, {"md5": bytes(16)}))[1].endswith("(10037)")
    assert (await bucket.call("head", ["key"]))["size"] == 4
