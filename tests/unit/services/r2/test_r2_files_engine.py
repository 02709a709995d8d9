"""The files engine from inside: what is opened when, what streams are, what memory and commits cost."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tracemalloc
from pathlib import Path

import apsw
import pytest

from tenantry.errors import BindingError, StorageFull, StreamError
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engines.files import reading
from tenantry.services.r2.engines.files.index import IndexWriter
from tenantry.streams import FileStream

MIB = 1024 * 1024


class Endless:
    """A stream of `length` bytes that holds one chunk."""

    def __init__(self, length: int, chunk: int = 256 * 1024) -> None:
        self.length = length
        self._left = length
        self._chunk = bytes(chunk)

    async def read(self, size_max: int) -> bytes:
        await asyncio.sleep(0)
        size = min(size_max, self._left, len(self._chunk))
        self._left -= size
        return self._chunk[:size]

    async def aclose(self) -> None:
        pass


class FromFile:
    """A FileStream that nobody may read by hand."""

    def __init__(self, path: Path, offset: int, length: int) -> None:
        self.path, self.offset, self.length = path, offset, length

    async def read(self, size_max: int) -> bytes:
        raise AssertionError("the kernel moves these bytes")

    async def aclose(self) -> None:
        pass


async def test_reading_what_was_never_written_makes_no_file(bucket, tmp_path):
    assert await bucket.call("head", ["key"]) is None
    assert await bucket.call("get", ["key"]) is None
    assert (await bucket.call("list", []))["objects"] == []
    await bucket.call("delete", ["key"])
    with pytest.raises(BindingError, match="10001"):
        await bucket.call("abortMultipartUpload", ["key", "none"])
    assert list(tmp_path.iterdir()) == []


async def test_a_body_in_one_file_is_a_file_stream(bucket, body_files):
    data = random.Random(3).randbytes(300_000)
    await bucket.call("put", ["key", data])
    stream = (await bucket.call("get", ["key", {"range": {"offset": 1000, "length": 200_000}}]))["body"]
    assert isinstance(stream, FileStream)
    assert stream.path == body_files()[0]
    with stream.path.open("rb") as file:
        file.seek(stream.offset)
        assert file.read(stream.length or 0) == data[1000:201_000]
    await stream.aclose()


async def test_the_file_stays_until_the_last_reader_closes(engine, bucket, body_files):
    await bucket.call("put", ["key", b"x" * 100_000])
    one, two = [(await bucket.call("get", ["key"]))["body"] for _ in range(2)]
    await bucket.call("delete", ["key"])
    await one.aclose()
    await one.aclose()
    assert two.path.exists()
    await two.aclose()
    await engine.aclose()
    assert body_files() == []


async def test_a_file_is_put_without_reading_it_by_hand(bucket, tmp_path):
    data = random.Random(4).randbytes(20 * MIB)
    (tmp_path / "source").write_bytes(data)
    digest = hashlib.sha256(data[5:-5]).digest()
    stream = FromFile(tmp_path / "source", 5, len(data) - 10)
    stored = await bucket.call("put", ["key", stream, {"sha256": digest}])
    assert stored["etag"] == hashlib.md5(data[5:-5]).hexdigest()
    found = await bucket.call("get", ["key"])
    assert Path(found["body"].path).read_bytes() == data[5:-5]
    await found["body"].aclose()


async def test_a_file_is_copied_by_hand_where_the_kernel_will_not(bucket, tmp_path, monkeypatch):
    def refuse(*args: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.copy_file_range", refuse)
    data = random.Random(5).randbytes(3 * MIB)
    (tmp_path / "source").write_bytes(data)
    stored = await bucket.call("put", ["key", FromFile(tmp_path / "source", 0, len(data))])
    assert stored["etag"] == hashlib.md5(data).hexdigest()
    found = await bucket.call("get", ["key"])
    assert Path(found["body"].path).read_bytes() == data
    await found["body"].aclose()


async def test_a_file_that_is_shorter_than_it_says_stores_nothing(engine, bucket, tmp_path, body_files):
    (tmp_path / "source").write_bytes(bytes(50_000))
    with pytest.raises(BindingError, match="10013"):
        await bucket.call("put", ["key", FromFile(tmp_path / "source", 0, 50_001)])
    assert await bucket.call("head", ["key"]) is None
    await engine.aclose()
    assert body_files() == []


async def test_what_is_refused_or_cancelled_leaves_no_file(engine, bucket, body_files):
    big = bytes(100_000)
    with pytest.raises(BindingError, match="10037"):
        await bucket.call("put", ["key", big, {"md5": bytes(16)}])
    assert await bucket.call("put", ["key", big, {"onlyIf": {"etagMatches": "*"}}]) is None
    for turns in range(30):
        put = asyncio.create_task(bucket.call("put", [f"key-{turns}", Endless(2 * MIB)]))
        for _ in range(turns):
            await asyncio.sleep(0)
        put.cancel()
        await asyncio.gather(put, return_exceptions=True)
    await bucket.call("put", ["last", b""])  # behind the commit of the last that was cancelled, and without a file
    listed = (await bucket.call("list", []))["objects"]
    await engine.aclose()
    assert len(body_files()) == len(listed) - 1


async def test_memory_stays_flat_while_64_mib_come_and_go(bucket):
    await bucket.call("put", ["warm", Endless(MIB)])
    tracemalloc.start()
    try:
        await bucket.call("put", ["key", Endless(64 * MIB)])
        stream = (await bucket.call("get", ["key"]))["body"]
        size = 0
        while piece := await stream.read(MIB):
            size += len(piece)
        await stream.aclose()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 8 * MIB


@pytest.mark.parametrize("cached_only", [reading._CACHED_ONLY, 0])
async def test_a_cancelled_read_loses_no_byte(bucket, monkeypatch, cached_only):
    monkeypatch.setattr(reading, "_CACHED_ONLY", cached_only)
    data = random.Random(6).randbytes(3_000_000)
    await bucket.call("put", ["key", data])
    stream = (await bucket.call("get", ["key"]))["body"]
    pieces = []
    while True:
        read = asyncio.create_task(stream.read(100_000))
        await asyncio.sleep(0)
        if not read.done():
            read.cancel()
            await asyncio.gather(read, return_exceptions=True)
        piece = await stream.read(70_000) if read.cancelled() else read.result()
        if not piece:
            break
        pieces.append(piece)
    await stream.aclose()
    assert b"".join(pieces) == data


async def test_closing_a_stream_while_it_is_read(bucket):
    await bucket.call("put", ["key", bytes(200_000)])
    for turns in range(5):
        stream = (await bucket.call("get", ["key"]))["body"]
        read = asyncio.create_task(stream.read(1000))
        for _ in range(turns):
            await asyncio.sleep(0)
        await stream.aclose()
        assert len(await read) in (0, 1000)
        assert await stream.read(1000) == b""


async def test_a_body_file_that_was_damaged_breaks_the_stream_off(bucket, body_files):
    await bucket.call("put", ["key", bytes(200_000)])
    stream = (await bucket.call("get", ["key"]))["body"]
    body_files()[0].write_bytes(bytes(1000))
    assert await stream.read(10_000) == bytes(1000)
    with pytest.raises(StreamError):
        await stream.read(10_000)
    await stream.aclose()
    body_files()[0].unlink()
    stream = (await bucket.call("get", ["key"]))["body"]
    with pytest.raises(StreamError):
        await stream.read(10_000)
    await stream.aclose()


async def test_a_small_put_makes_no_file(bucket, body_files):
    await bucket.call("put", ["key", bytes(16 * 1024)])
    assert body_files() == []


async def test_puts_that_wait_share_a_commit(bucket, monkeypatch):
    await bucket.call("put", ["first", b""])
    groups = []
    commit = IndexWriter.commit

    def counted(writer, changes, forgotten):
        groups.append(len(changes))
        return commit(writer, changes, forgotten)

    monkeypatch.setattr(IndexWriter, "commit", counted)
    await asyncio.gather(*(bucket.call("put", [str(number), b"x"]) for number in range(100)))
    assert sum(groups) == 100
    assert len(groups) <= 3


async def test_a_change_that_fails_fails_alone(engine, bucket):
    await bucket.call("put", ["first", b""])
    opened = await engine.acquire("bucket", create=True)

    def fail(writer: IndexWriter) -> None:
        writer.delete(["first"])
        raise RuntimeError("no")

    failing = asyncio.create_task(opened.committer.commit(fail))
    await bucket.call("put", ["second", b""])
    with pytest.raises(RuntimeError):
        await failing
    opened.release()
    assert [entry["key"] for entry in (await bucket.call("list", []))["objects"]] == ["first", "second"]


async def test_the_least_recently_used_bucket_is_closed(open_engine):
    engine = open_engine(open_buckets_max=2, durable=False)
    buckets = [R2Binding(engine.bucket(f"bucket-{number}")) for number in range(5)]
    for round_number in range(3):
        for number, bucket in enumerate(buckets):
            await bucket.call("put", [str(round_number), str(number)])
            assert len(engine._open) <= 2
    for number, bucket in enumerate(buckets):
        assert [(await bucket.call("get", [key]))["body"] for key in "012"] == [str(number).encode()] * 3


async def test_a_bucket_in_use_stays_open(open_engine):
    engine = open_engine(open_buckets_max=1, durable=False)
    used = R2Binding(engine.bucket("used"))
    await used.call("put", ["key", bytes(100_000)])
    stream = (await used.call("get", ["key"]))["body"]
    for number in range(3):
        await R2Binding(engine.bucket(f"other-{number}")).call("put", ["key", b""])
    assert "used" in engine._open
    assert len(await stream.read(1000)) == 1000
    await stream.aclose()
    await R2Binding(engine.bucket("last")).call("put", ["key", b""])
    assert list(engine._open) == ["last"]


async def test_many_at_once_open_a_bucket_once(open_engine):
    engine = open_engine(open_buckets_max=3, durable=False)
    calls = [R2Binding(engine.bucket(f"bucket-{number % 8}")).call("put", [str(number), b"x"]) for number in range(80)]
    await asyncio.gather(*calls)
    for number in range(8):
        assert len((await R2Binding(engine.bucket(f"bucket-{number}")).call("list", []))["objects"]) == 10


async def test_deleting_a_bucket_under_a_put(engine, bucket, tmp_path):
    class Slow(Endless):
        async def read(self, size_max: int) -> bytes:
            started.set()
            if self._left < MIB:
                await deleted.wait()
            return await super().read(size_max)

    started, deleted = asyncio.Event(), asyncio.Event()
    await bucket.call("put", ["before", b"x"])
    put = asyncio.create_task(bucket.call("put", ["key", Slow(2 * MIB)]))
    await started.wait()
    await engine.delete_bucket("bucket")
    deleted.set()
    with pytest.raises(BindingError, match=r"put: The specified bucket does not exist. \(10006\)"):
        await put
    assert (await bucket.call("list", []))["objects"] == []
    assert not (tmp_path / "r2" / "bucket").exists()
    assert not list((tmp_path / "r2").glob(".deleted-*"))


async def test_nothing_is_served_after_aclose(engine, bucket):
    await bucket.call("put", ["key", bytes(100_000)])
    stream = (await bucket.call("get", ["key"]))["body"]
    await engine.aclose()
    with pytest.raises(BindingError, match="10006"):
        await bucket.call("head", ["key"])
    with pytest.raises(StreamError):
        await stream.read(10)
    await stream.aclose()


@pytest.mark.parametrize("call", ["writev", "fdatasync", "link"])
async def test_a_full_disk_stores_nothing_and_tells_nothing(engine, bucket, body_files, monkeypatch, call):
    await bucket.call("put", ["key", b"before"])
    with monkeypatch.context() as patched:

        def fail(*args: object) -> None:
            raise OSError(28, "No space left on device")

        patched.setattr(f"os.{call}", fail)
        with pytest.raises(StorageFull, match=r"^put: Insufficient storage"):
            await bucket.call("put", ["key", bytes(100_000)])
    assert (await bucket.call("get", ["key"]))["body"] == b"before"
    await engine.aclose()
    assert body_files() == []


async def test_deleting_a_bucket_under_a_listing(open_engine):
    engine = open_engine(durable=False)
    bucket = R2Binding(engine.bucket("bucket"))
    await asyncio.gather(*(bucket.call("put", [str(number), b""]) for number in range(350)))
    listing = asyncio.create_task(bucket.call("list", []))
    await asyncio.sleep(0)
    await engine.delete_bucket("bucket")
    with pytest.raises(BindingError, match="10006"):
        await listing


async def test_a_new_index_is_a_sound_database_in_wal_mode(bucket, engine, tmp_path):
    await bucket.call("put", ["key", b"x"])
    await engine.aclose()
    with apsw.Connection(str(tmp_path / "r2" / "bucket" / "index.sqlite")) as index:
        assert index.pragma("journal_mode") == "wal"
        assert index.pragma("integrity_check") == "ok"
        assert index.pragma("user_version") == 1
    index.close()
    assert sorted(path.name for path in (tmp_path / "r2" / "bucket").iterdir()) == ["bodies", "index.sqlite", "staging"]
