"""Multipart uploads."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest

MIB = 1024 * 1024
PART = random.Random(5).randbytes(5 * MIB)
UNKNOWN = "0" * 43


async def begin(bucket, key="key", **options):
    return (await bucket.call("createMultipartUpload", [key, options]))["uploadId"]


async def upload(bucket, upload_id, number, data, key="key"):
    return await bucket.call("uploadPart", [key, upload_id, number, data])


async def test_parts_become_one_object(bucket, body_of, chunked):
    upload_id = await begin(bucket, customMetadata={"a": "b"}, httpMetadata={"contentType": "t/t"})
    bodies = [PART, PART[::-1], b"the end"]
    parts = [
        await upload(bucket, upload_id, 7, chunked(bodies[1], chunk=200_000)),
        await upload(bucket, upload_id, 9, bodies[2]),
        await upload(bucket, upload_id, 2, bodies[0]),
        await upload(bucket, upload_id, 10_000, b"never used"),
    ]
    assert await bucket.call("head", ["key"]) is None
    stored = await bucket.call("completeMultipartUpload", ["key", upload_id, [parts[2], parts[0], parts[1]]])
    digests = b"".join(hashlib.md5(body).digest() for body in bodies)
    assert stored["etag"] == f"{hashlib.md5(digests).hexdigest()}-3"
    assert stored["checksums"] == {}
    assert stored["customMetadata"] == {"a": "b"}
    assert "range" not in stored
    whole = b"".join(bodies)
    assert stored["size"] == len(whole)
    assert await body_of(await bucket.call("get", ["key"])) == whole
    for offset, length in ((0, 1), (5 * MIB - 3, 6), (10 * MIB - 1, 4), (10 * MIB, 7), (1, 10 * MIB + 2)):
        found = await bucket.call("get", ["key", {"range": {"offset": offset, "length": length}}])
        assert await body_of(found) == whole[offset : offset + length]
    reading = await bucket.call("get", ["key"])
    await bucket.call("delete", ["key"])
    assert await body_of(reading) == whole


async def test_an_upload_of_one_part(bucket, body_of):
    upload_id = await begin(bucket)
    part = await upload(bucket, upload_id, 1, b"x" * 100_000)
    stored = await bucket.call("completeMultipartUpload", ["key", upload_id, [part]])
    digest = hashlib.md5(hashlib.md5(b"x" * 100_000).digest()).hexdigest()
    assert stored["etag"] == f"{digest}-1"
    assert await body_of(await bucket.call("get", ["key"])) == b"x" * 100_000


async def test_an_upload_of_no_part(bucket, body_of):
    upload_id = await begin(bucket)
    stored = await bucket.call("completeMultipartUpload", ["key", upload_id, []])
    assert (stored["size"], stored["etag"]) == (0, "d41d8cd98f00b204e9800998ecf8427e-0")
    assert await body_of(await bucket.call("get", ["key"])) == b""


async def test_a_part_sent_again_replaces_the_first(bucket, body_of, refused):
    upload_id = await begin(bucket)
    old = await upload(bucket, upload_id, 1, b"old")
    new = await upload(bucket, upload_id, 1, b"new")
    assert old["etag"] != new["etag"]
    assert (await refused("completeMultipartUpload", "key", upload_id, [old]))[1].endswith("(10025)")
    await bucket.call("completeMultipartUpload", ["key", upload_id, [new]])
    assert await body_of(await bucket.call("get", ["key"])) == b"new"


async def test_what_complete_refuses_in_its_order(bucket, refused):
    upload_id = await begin(bucket)
    small = await upload(bucket, upload_id, 1, b"small")
    big = await upload(bucket, upload_id, 2, PART)
    bigger = await upload(bucket, upload_id, 3, PART + b"x")
    method = "completeMultipartUpload"
    missing = {"partNumber": 4, "etag": "none"}
    wrong = {"partNumber": 2, "etag": "wrong"}
    for parts, code in (
        ([missing, missing], 10001),
        ([small, missing], 10025),
        ([small, wrong], 10025),
        ([small, big], 10011),
        ([big, small], 10048),
        ([bigger, big, small], 10048),
        ([big, bigger], 10048),
    ):
        assert (await refused(method, "key", upload_id, parts))[1].endswith(f"({code})"), parts
    assert (await bucket.call(method, ["key", upload_id, [big]]))["size"] == 5 * MIB


async def test_uploads_that_are_unknown_or_over(bucket, refused):
    async def codes(upload_id):
        answers = []
        for method, args in (
            ("uploadPart", [1, b"x"]),
            ("completeMultipartUpload", [[]]),
            ("abortMultipartUpload", []),
        ):
            try:
                await bucket.call(method, ["key", upload_id, *args])
                answers.append(None)
            except Exception as error:
                answers.append(int(str(error).rsplit("(")[-1][:-1]))
        return answers

    completed, aborted, other = await begin(bucket), await begin(bucket), await begin(bucket, "other key")
    await upload(bucket, aborted, 1, b"x" * 100_000)
    await bucket.call("completeMultipartUpload", ["key", completed, []])
    await bucket.call("abortMultipartUpload", ["key", aborted])
    assert await codes(UNKNOWN) == [10024, 10001, 10001]
    assert await codes(other) == [10024, 10001, 10001]
    assert await codes("x" * 1000) == [10024, 10001, 10001]
    assert await codes(completed) == [10024, 10024, None]
    assert await codes(aborted) == [10024, 10024, None]


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_part_that_arrives_after_the_abort_is_refused(bucket, refused, chunked, size):
    class Late(chunked):
        async def read(self, size_max: int) -> bytes:
            await aborted.wait()
            return await super().read(size_max)

    aborted = asyncio.Event()
    upload_id = await begin(bucket)
    late = asyncio.create_task(refused("uploadPart", "key", upload_id, 1, Late(b"x" * size)))
    await asyncio.sleep(0)
    await bucket.call("abortMultipartUpload", ["key", upload_id])
    aborted.set()
    assert (await late)[1] == "uploadPart: The specified multipart upload does not exist. (10024)"


async def test_uploads_expire_after_a_week(bucket, rules, clock, refused):
    old = await begin(bucket)
    await upload(bucket, old, 1, b"x" * 50_000)
    clock.now_ms += 7 * 86_400_000 - 1
    young = await begin(bucket)
    assert (await rules.sweep()).aborted_uploads == 0
    clock.now_ms += 1
    assert (await rules.sweep()).aborted_uploads == 1
    assert (await refused("uploadPart", "key", old, 1, b"x"))[1].endswith("(10024)")
    await upload(bucket, young, 1, b"x")


@pytest.mark.parametrize("number", [0, -1, 10_001, 10**40])
async def test_part_numbers_out_of_range(refused, number):
    name, message = await refused("uploadPart", "key", UNKNOWN, number, b"")
    assert name == "TypeError"
    assert message.startswith("Part number must be between 1 and 10000 (inclusive). Actual value was: ")


async def test_parts_are_kept_across_puts_and_deletes_of_the_key(bucket, body_of):
    upload_id = await begin(bucket)
    part = await upload(bucket, upload_id, 1, b"part" * 10_000)
    await bucket.call("put", ["key", b"x" * 50_000])
    await bucket.call("delete", ["key"])
    await bucket.call("completeMultipartUpload", ["key", upload_id, [part]])
    assert await body_of(await bucket.call("get", ["key"])) == b"part" * 10_000
