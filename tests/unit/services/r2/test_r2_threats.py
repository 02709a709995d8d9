"""What hostile callers try on storage, row by row: the numbers are those of the threat list, section "storage"."""

from __future__ import annotations

import asyncio
import base64
import random
from pathlib import Path

import pytest

from tenantry.errors import BindingError
from tenantry.services.r2 import limits, service
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.model import Usage
from tenantry.services.r2.options import PutOptions, list_options
from tenantry.services.r2.service import BucketRules

NOTHING = {"objects": [], "truncated": False, "delimitedPrefixes": []}


class Endless:
    """Bytes for as long as they are asked for."""

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self.given = 0

    async def read(self, size_max: int) -> bytes:
        await asyncio.sleep(0)
        self.given += min(size_max, 65_536)
        return bytes(min(size_max, 65_536))

    async def aclose(self) -> None:
        pass


async def code_of(call: object) -> int:
    with pytest.raises(BindingError) as caught:
        await call  # type: ignore[misc]
    return caught.value.code


async def test_t1_a_key_leaves_no_trace_in_the_names_on_disk(bucket, tmp_path: Path) -> None:
    keys = ["../x", "/etc/passwd", "%2e%2e", ".", "..", "a\0b", "", "x" * 1024, "\u202eabc", "index.sqlite", "staging"]
    for key in keys:
        await bucket.call("put", [key, b"x" * 20_000])
    for path in (tmp_path / "r2").rglob("*"):
        name = path.relative_to(tmp_path / "r2").name
        assert (
            name in ("bucket", "bodies", "staging", ".lock")
            or name.startswith("index.sqlite")
            or set(name) <= set("0123456789abcdef")
        )
    assert sorted(entry["key"] for entry in (await bucket.call("list", []))["objects"]) == sorted(keys)
    assert [path.name for path in tmp_path.iterdir()] == ["r2"]


async def test_t2_cursors_of_others_forged_or_huge_open_nothing(engine) -> None:
    mine, theirs = R2Binding(engine.bucket("mine")), R2Binding(engine.bucket("theirs"))
    for bucket in (mine, theirs):
        for number in range(3):
            await bucket.call("put", [f"k{number}", b""])
    cursor = (await theirs.call("list", [{"limit": 1}]))["cursor"]
    rng = random.Random(2)
    forged = [
        cursor,
        cursor[:-1],
        cursor + "A",
        base64.urlsafe_b64encode(b"k0").decode(),
        base64.urlsafe_b64encode(bytes(16) + b"k0").decode(),
        *(base64.urlsafe_b64encode(rng.randbytes(18)).decode() for _ in range(50)),
        "A" * limits.LIST_TEXT_CHARACTERS_MAX,
    ]
    for one in forged:
        assert await mine.call("list", [{"cursor": one}]) == NOTHING
    for huge in ("A" * (limits.LIST_TEXT_CHARACTERS_MAX + 1), "A" * 10_000_000):
        with pytest.raises(BindingError, match="cursor is too long"):
            await mine.call("list", [{"cursor": huge}])
    for limit in (-1, 0, 1001, 2**63, float("inf")):
        with pytest.raises(BindingError, match="10022"):
            await mine.call("list", [{"limit": limit}])


@pytest.mark.parametrize("announced", [None, 10_000_000])
async def test_t4_what_is_too_large_stops_at_the_limit_and_leaves_nothing(
    engine, body_files, monkeypatch, announced
) -> None:
    monkeypatch.setattr(service, "PUT_BYTES_MAX", 1_000_000)
    rules = BucketRules(engine.bucket("bucket"))
    stream = Endless(announced)
    assert await code_of(rules.put("key", stream, PutOptions(), any_length=True)) == 100100
    assert stream.given <= (0 if announced else 1_000_000 + 65_536)
    assert await rules.head("key") is None
    await engine.aclose()
    assert body_files() == []


async def test_t18_uploads_have_bounds(bucket, engine, tmp_path: Path) -> None:
    rules = BucketRules(engine.bucket("bucket"))
    upload = (await bucket.call("createMultipartUpload", ["key"]))["uploadId"]
    part = await bucket.call("uploadPart", ["key", upload, 1, b"x" * 30_000])
    for number in (10_001, 0, -1):
        with pytest.raises(BindingError, match="Part number must be between 1 and 10000"):
            await bucket.call("uploadPart", ["key", upload, number, b"x"])
    huge = Endless(5 * limits.TIB)
    with pytest.raises(BindingError, match="100100"):
        await bucket.call("uploadPart", ["key", upload, 2, huge])
    assert huge.given == 0
    with pytest.raises(BindingError, match="10025"):
        await bucket.call("completeMultipartUpload", ["key", upload, [part] * 10_001])
    for wrong in ({**part, "etag": "0" * 64}, {**part, "etag": ""}, {**part, "partNumber": 2}):
        with pytest.raises(BindingError, match="10025"):
            await bucket.call("completeMultipartUpload", ["key", upload, [wrong]])
    # Never completed: counted while it is pending, gone after a week.
    assert await rules.usage() == Usage(uploads=1, upload_bytes=30_000)
    later = BucketRules(engine.bucket("bucket"), lambda: service.system_clock() + 7 * 86_400_000)
    assert (await later.sweep()).aborted_uploads == 1
    assert await rules.usage() == Usage()


async def test_t18_abort_during_complete_ends_in_one_or_the_other(engine, bucket, body_files) -> None:
    completed = 0
    for turn in range(30):
        key = f"key-{turn}"
        upload = (await bucket.call("createMultipartUpload", [key]))["uploadId"]
        part = await bucket.call("uploadPart", [key, upload, 1, b"x" * 20_000])
        complete = asyncio.create_task(bucket.call("completeMultipartUpload", [key, upload, [part]]))
        for _ in range(turn % 6):
            await asyncio.sleep(0)
        _, outcome = await asyncio.gather(
            bucket.call("abortMultipartUpload", [key, upload]), complete, return_exceptions=True
        )
        found = await bucket.call("head", [key])
        if isinstance(outcome, BindingError):
            assert "10024" in outcome.message
            assert found is None
        else:
            completed += 1
            assert found["etag"] == outcome["etag"]
    usage = await BucketRules(engine.bucket("bucket")).usage()
    assert usage == Usage(objects=completed, object_bytes=20_000 * completed)
    await engine.aclose()
    assert len(body_files()) == completed


@pytest.mark.parametrize("field", ["contentType", "contentLanguage", "contentDisposition", "cacheControl"])
async def test_t20_http_metadata_cannot_break_out_of_its_header(bucket, field: str) -> None:
    for text in ("a\r\nSet-Cookie: b", "a\nb", "a\0b", "a\x7fb", "\r"):
        with pytest.raises(BindingError, match="10029"):
            await bucket.call("put", ["key", b"", {"httpMetadata": {field: text}}])
        with pytest.raises(BindingError, match="10029"):
            await bucket.call("createMultipartUpload", ["key", {"httpMetadata": {field: text}}])
    # Custom metadata is data: whoever makes headers of it encodes it.
    custom = {"a\r\nSet-Cookie": "b\r\nc"}
    await bucket.call("put", ["key", b"", {"customMetadata": custom}])
    assert (await bucket.call("head", ["key"]))["customMetadata"] == custom


async def test_t24_a_bucket_that_gets_the_name_of_a_deleted_one_gets_nothing_else(engine, bucket, tmp_path) -> None:
    await bucket.call("put", ["key", b"x" * 100_000])
    for number in range(3):
        await bucket.call("put", [f"k{number}", b"tenanttenant"])
    upload = (await bucket.call("createMultipartUpload", ["key"]))["uploadId"]
    part = await bucket.call("uploadPart", ["key", upload, 1, b"tenant" * 10_000])
    cursor = (await bucket.call("list", [{"limit": 1}]))["cursor"]
    reading = (await bucket.call("get", ["key"]))["body"]
    await engine.delete_bucket("bucket")
    await reading.aclose()

    assert not (tmp_path / "r2" / "bucket").exists()
    assert await bucket.call("list", []) == NOTHING
    for number in range(3):
        await bucket.call("put", [f"n{number}", b""])
    assert await bucket.call("get", ["key"]) is None
    assert await bucket.call("list", [{"cursor": cursor}]) == NOTHING
    with pytest.raises(BindingError, match="10001"):
        await bucket.call("completeMultipartUpload", ["key", upload, [part]])
    assert b"tenanttenant" not in b"".join(path.read_bytes() for path in (tmp_path / "r2").rglob("*") if path.is_file())


async def test_t25_equal_content_is_stored_for_each_apart(engine, body_files) -> None:
    data = random.Random(1).randbytes(50_000)
    for name in ("mine", "theirs"):
        await R2Binding(engine.bucket(name)).call("put", ["key", data])
    one, other = (path for path in body_files() if path.parent.name != "staging")
    assert one.name != other.name
    assert not one.samefile(other)
    assert one.stat().st_nlink <= 2  # itself, and its staging link until that is gone: never the other's
    options = list_options({})
    assert [len((await BucketRules(engine.bucket(name)).list(options)).objects) for name in ("mine", "theirs")] == [
        1,
        1,
    ]


async def test_the_customers_key_is_nowhere_on_disk_and_in_no_text(engine, bucket, tmp_path: Path) -> None:
    key = random.Random(3).randbytes(32)
    data = b"plain text of a customer " * 4_000
    await bucket.call("put", ["small", data[:1000], {"ssecKey": key}])
    await bucket.call("put", ["large", data, {"ssecKey": key.hex()}])
    upload = (await bucket.call("createMultipartUpload", ["parts", {"ssecKey": key}]))["uploadId"]
    await bucket.call("uploadPart", ["parts", upload, 1, data, {"ssecKey": key}])
    with pytest.raises(BindingError) as caught:
        await bucket.call("put", ["k", b"", {"ssecKey": key, "md5": bytes(16)}])
    assert key.hex() not in caught.value.message
    assert repr(key) not in repr(PutOptions(ssec_key=key))
    await engine.aclose()
    files = [path for path in (tmp_path / "r2").rglob("*") if path.is_file()]
    assert len(files) >= 4
    for path in files:
        content = path.read_bytes()
        for secret in (key, key.hex().encode(), b"plain text of a customer"):
            assert secret not in content, path
