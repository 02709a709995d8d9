"""SSE-C: bodies under a key that comes with each call."""

from __future__ import annotations

import hashlib
import random

import pytest

from tenantry.errors import StreamError
from tenantry.services.r2.limits import SEALED_CHUNK_BYTES
from tenantry.services.r2.model import Window
from tenantry.services.r2.ssec import Cipher, OpeningStream, sealed_window
from tenantry.streams import BytesStream, read_all

MIB = 1024 * 1024
KEY = bytes(range(32))
OTHER = bytes(32)
DATA = random.Random(8).randbytes(3 * MIB)


async def put(bucket, data, **options):
    return await bucket.call("put", ["key", data, {"ssecKey": KEY, **options}])


@pytest.mark.parametrize("key", [KEY, KEY.hex()])
async def test_a_body_comes_back_with_its_key(bucket, body_of, key):
    stored = await bucket.call("put", ["key", DATA[:100_000], {"ssecKey": key}])
    assert stored["ssecKeyMd5"] == hashlib.md5(KEY).hexdigest()
    assert (stored["size"], stored["etag"]) == (100_000, hashlib.md5(DATA[:100_000]).hexdigest())
    assert stored["checksums"] == {"md5": hashlib.md5(DATA[:100_000]).digest()}
    found = await bucket.call("get", ["key", {"ssecKey": KEY}])
    assert await body_of(found) == DATA[:100_000]
    assert found["object"]["range"] == {"offset": 0, "length": 100_000}
    assert (await bucket.call("head", ["key"]))["ssecKeyMd5"] == stored["ssecKeyMd5"]
    (entry,) = (await bucket.call("list", []))["objects"]
    assert (entry["size"], entry["ssecKeyMd5"]) == (100_000, stored["ssecKeyMd5"])


C = SEALED_CHUNK_BYTES


@pytest.mark.parametrize("size", [0, 1, 100, C - 1, C, C + 1, 3 * C, MIB - 1, MIB, MIB + 1, 3 * MIB])
async def test_every_size_and_every_range(bucket, body_of, chunked, size):
    await put(bucket, chunked(DATA[:size], chunk=50_000))
    assert await body_of(await bucket.call("get", ["key", {"ssecKey": KEY}])) == DATA[:size]
    places = {0, 1, size // 2, size - 1, C - 1, C, C + 1, MIB - 1, MIB}
    for offset in sorted(place for place in places if 0 <= place < size):
        for length in (1, 2, C, C + 1, MIB + 5):
            window = {"offset": offset, "length": length}
            found = await bucket.call("get", ["key", {"ssecKey": KEY, "range": window}])
            assert await body_of(found) == DATA[:size][offset : offset + length], window


async def test_who_has_not_the_key_has_not_the_body(bucket, refused):
    await put(bucket, b"secret")
    name, message = await refused("get", "key")
    assert (name, message.split(". ")) == (
        "Error",
        [
            "get: The object was stored using a form of Server Side Encryption",
            "The correct parameters must be provided to retrieve the object",
            "(10029)",
        ],
    )
    assert await refused("get", "key", {"ssecKey": OTHER}) == ("Error", "get: Access Denied (10003)")
    await bucket.call("put", ["open", b"x"])
    assert await refused("get", "open", {"ssecKey": KEY}) == (
        "Error",
        "get: The encryption parameters are not applicable to this object. (10029)",
    )


async def test_conditions_come_before_the_key_and_the_key_before_the_range(bucket, refused):
    await put(bucket, b"secret")
    assert (await bucket.call("get", ["key", {"onlyIf": {"etagMatches": "x"}}]))["body"] is None
    assert (await refused("get", "key", {"range": {"offset": 99}}))[1].endswith("(10029)")
    assert (await refused("get", "key", {"range": {"offset": 99}, "ssecKey": KEY}))[1].endswith("(10039)")


async def test_an_object_that_is_put_again_has_the_key_of_the_last_put(bucket):
    await put(bucket, b"secret")
    assert "ssecKeyMd5" not in await bucket.call("put", ["key", b"open"])
    assert (await bucket.call("get", ["key"]))["body"] == b"open"


async def test_checksums_and_lengths_are_those_of_the_plain_bytes(bucket, refused, chunked):
    assert (await refused("put", "key", b"x", {"ssecKey": KEY, "md5": bytes(16)}))[1].endswith("(10037)")
    digest = hashlib.sha256(DATA).digest()
    stored = await put(bucket, chunked(DATA, chunk=300_000), sha256=digest)
    assert stored["checksums"]["sha256"] == digest
    for lie in ({"length": 99_999}, {"length": 100_001}, {"breaks_at": 70_000}):
        stream = chunked(DATA[:100_000], **lie)
        assert (await refused("put", "other", stream, {"ssecKey": KEY}))[1].endswith("(10013)")
        assert stream.closed
    assert await bucket.call("head", ["other"]) is None


async def test_an_upload_under_a_key(bucket, body_of, refused):
    begun = await bucket.call("createMultipartUpload", ["key", {"ssecKey": KEY}])
    upload = begun["uploadId"]
    whole = random.Random(9).randbytes(5 * MIB) + random.Random(10).randbytes(5 * MIB) + b"the end"
    assert (await refused("uploadPart", "key", upload, 1, b"x"))[1].endswith(
        "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate "
        "encryption parameters. (10029)"
    )
    assert (await refused("uploadPart", "key", upload, 1, b"x", {"ssecKey": OTHER}))[1].endswith(
        "The provided encryption parameters did not match the ones used originally to encrypt the object. (10029)"
    )
    await bucket.call("uploadPart", ["key", upload, 9, b"replaced", {"ssecKey": KEY}])
    parts = [
        await bucket.call("uploadPart", ["key", upload, number, whole[start : start + 5 * MIB], {"ssecKey": KEY}])
        for number, start in ((2, 0), (7, 5 * MIB), (9, 10 * MIB))
    ]
    stored = await bucket.call("completeMultipartUpload", ["key", upload, parts])
    assert (stored["size"], stored["ssecKeyMd5"]) == (len(whole), hashlib.md5(KEY).hexdigest())
    digests = b"".join(hashlib.md5(whole[start : start + 5 * MIB]).digest() for start in (0, 5 * MIB, 10 * MIB))
    assert stored["etag"] == hashlib.md5(digests).hexdigest() + "-3"
    assert await body_of(await bucket.call("get", ["key", {"ssecKey": KEY}])) == whole
    for offset, length in ((0, 1), (5 * MIB - 3, 6), (10 * MIB - 1, 4), (10 * MIB, 7), (1, 10 * MIB + 2)):
        window = {"ssecKey": KEY, "range": {"offset": offset, "length": length}}
        assert await body_of(await bucket.call("get", ["key", window])) == whole[offset : offset + length]
    open_upload = (await bucket.call("createMultipartUpload", ["key"]))["uploadId"]
    assert (await refused("uploadPart", "key", open_upload, 1, b"x", {"ssecKey": KEY}))[1].endswith("(10029)")


async def test_a_key_that_is_none_is_refused_everywhere(refused):
    for method, args in (
        ("head", ["key"]),
        ("get", ["key"]),
        ("put", ["key", b""]),
        ("createMultipartUpload", ["key"]),
        ("uploadPart", ["key", "id", 1, b""]),
    ):
        for key, message in (
            ("A" * 64, "SSE-C Key has invalid format"),
            ("a" * 63, "SSE-C Key has invalid format"),
            (5, "SSE-C Key has invalid format"),
            (bytes(31), "SSE-C Key must be 32 bytes in length"),
            (bytes(33), "SSE-C Key must be 32 bytes in length"),
        ):
            assert await refused(method, *args, {"ssecKey": key}) == ("TypeError", message)


async def test_the_opening_stream_ends_where_a_byte_is_wrong(bucket, body_of, engine):
    await put(bucket, DATA[:200_000])
    found = await engine.bucket("bucket").get("key", _everything)
    assert found is not None
    record, _, stream = found
    sealed = await body_of({"body": stream})
    assert DATA[1000:1100] not in sealed
    assert record.metadata.encryption.salt not in (b"", KEY)

    encryption = record.metadata.encryption
    swapped = sealed[C + 28 : 2 * (C + 28)] + sealed[: C + 28] + sealed[2 * (C + 28) :]
    for damaged in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-1], swapped):
        opening = OpeningStream(
            BytesStream(damaged), Cipher(KEY, encryption), encryption, record.size, Window(0, record.size)
        )
        with pytest.raises(StreamError):
            await read_all(opening, MIB)


def _everything(record):
    return sealed_window(record.metadata.encryption, record.size, Window(0, record.size))
