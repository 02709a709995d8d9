"""What survives: kill -9, interrupted uploads, interrupted deletes, a second process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tenantry.errors import ConfigError
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engines.files import FilesEngine
from tenantry.services.r2.model import Usage
from tenantry.services.r2.service import BucketRules, Swept
from tenantry.streams import BytesStream

WRITER = """
import asyncio, hashlib, sys
from pathlib import Path
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engines.files import FilesEngine

async def main():
    bucket = R2Binding(FilesEngine(Path(sys.argv[1]), durable=sys.argv[2] == "full").bucket("bucket"))

    async def writer(name):
        number = 0
        while True:
            number += 1
            size = (10, 3_000, 100_000)[number % 3]
            data = (f"{name}-{number}-".encode() * size)[:size]
            stored = await bucket.call("put", [f"{name}-{number % 7}", data])
            print("put", f"{name}-{number % 7}", number, stored["etag"], flush=True)
            if number % 5 == 0:
                await bucket.call("delete", [f"{name}-{number % 7}"])
                print("delete", f"{name}-{number % 7}", number, flush=True)

    await asyncio.gather(*(writer(name) for name in "abcd"))

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path, body_files, durability) -> None:
    root = tmp_path / "r2"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), durability], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(150)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL

    last: dict[str, tuple[int, str | None]] = {}  # by key: the last acknowledged write, and the etag that it left
    counts: dict[str, int] = {}  # by writer
    for line in lines:
        if line.endswith("\n"):
            verb, key, number, *etag = line.split()
            last[key] = (int(number), etag[0] if verb == "put" else None)
            counts[key[0]] = int(number)
    assert len(last) > 20
    engine = FilesEngine(root)
    bucket = R2Binding(engine.bucket("bucket"))
    for key, (number, etag) in last.items():
        found = await bucket.call("head", [key])
        if (None if found is None else found["etag"]) != etag:
            # Only the one write that each writer had under way when it was killed may have been made unacknowledged.
            count = counts[key[0]]
            next_put = f"{key[0]}-{(count + 1) % 7}"
            assert key == next_put or (number == count and count % 5 == 0 and found is None)
        body = await bucket.call("get", [key])
        if body is not None:
            data = body["body"] if isinstance(body["body"], bytes) else await _read(body["body"])
            assert len(data) == body["object"]["size"]
            assert data.startswith(f"{key[0]}-".encode()) or not data
    live = [entry for entry in (await bucket.call("list", []))["objects"] if entry["size"] > 16 * 1024]
    await engine.aclose()
    assert len(body_files()) == len(live)


async def _read(stream) -> bytes:
    pieces = []
    while piece := await stream.read(1 << 20):
        pieces.append(piece)
    await stream.aclose()
    return b"".join(pieces)


async def test_every_acknowledged_write_and_no_other_is_found_by_the_next_engine(open_engine, body_files) -> None:
    engine = open_engine()
    bucket = R2Binding(engine.bucket("bucket"))
    await bucket.call("put", ["small", b"s"])
    await bucket.call("put", ["large", b"l" * 50_000])
    await bucket.call("put", ["gone", b"g" * 50_000])
    upload = await bucket.call("createMultipartUpload", ["parts"])
    part = await bucket.call("uploadPart", ["parts", upload["uploadId"], 1, b"p" * 50_000])
    await bucket.call("delete", ["gone"])
    await engine.aclose()
    assert len(body_files()) == 2

    bucket = R2Binding(open_engine().bucket("bucket"))
    assert [entry["key"] for entry in (await bucket.call("list", []))["objects"]] == ["large", "small"]
    await bucket.call("completeMultipartUpload", ["parts", upload["uploadId"], [part]])
    assert (await bucket.call("get", ["parts"]))["body"] == b"p" * 50_000


async def test_leftovers_of_a_crash_go_and_acknowledged_bodies_stay(open_engine, tmp_path: Path, body_files) -> None:
    engine = open_engine()
    bucket = R2Binding(engine.bucket("bucket"))
    await bucket.call("put", ["kept", b"k" * 50_000])
    await engine.aclose()
    root = tmp_path / "r2" / "bucket"
    (kept,) = body_files()
    # Killed after the commit and before the staging link went; after the link and before the commit; while writing.
    os.link(kept, root / "staging" / kept.name)
    linked, written = "0" * 32, "f" * 32
    for name in (linked, written):
        (root / "staging" / name).write_bytes(b"torn")
    (root / "bodies" / "0").mkdir(exist_ok=True)
    os.link(root / "staging" / linked, root / "bodies" / "0" / linked)
    # Killed after the commit of a delete and before the unlink.
    condemned = "1" * 32
    (root / "bodies" / "1").mkdir(exist_ok=True)
    (root / "bodies" / "1" / condemned).write_bytes(b"old")
    with apsw.Connection(str(root / "index.sqlite")) as index:
        index.execute("INSERT INTO files VALUES (?, 1)", (condemned,))
    index.close()

    bucket = R2Binding(open_engine().bucket("bucket"))
    assert (await bucket.call("get", ["kept"]))["body"] == b"k" * 50_000
    assert body_files() == [kept]


async def test_a_folder_has_one_owner(open_engine) -> None:
    engine = open_engine()
    await R2Binding(engine.bucket("one")).call("put", ["key", b"x"])
    other = R2Binding(open_engine().bucket("one"))
    with pytest.raises(ConfigError, match="in use by another process"):
        await other.call("head", ["key"])
    await engine.aclose()
    assert await other.call("head", ["key"]) is not None


async def test_an_index_of_a_newer_version_is_left_alone(open_engine, tmp_path: Path) -> None:
    engine = open_engine()
    await R2Binding(engine.bucket("bucket")).call("put", ["key", b"x"])
    await engine.aclose()
    with apsw.Connection(str(tmp_path / "r2" / "bucket" / "index.sqlite")) as index:
        index.pragma("user_version", 2)
    index.close()
    with pytest.raises(ConfigError, match="schema 2"):
        await R2Binding(open_engine().bucket("bucket")).call("head", ["key"])


async def test_closing_finishes_the_writes_that_were_begun(open_engine) -> None:
    engine = open_engine()
    bucket = R2Binding(engine.bucket("bucket"))
    await bucket.call("put", ["first", b""])
    puts = [asyncio.create_task(bucket.call("put", [str(number), b"x"])) for number in range(50)]
    await asyncio.sleep(0)
    await engine.aclose()
    done = await asyncio.gather(*puts, return_exceptions=True)
    kept = {outcome["key"] for outcome in done if isinstance(outcome, dict)}
    found = (await R2Binding(open_engine().bucket("bucket")).call("list", []))["objects"]
    assert kept | {"first"} == {entry["key"] for entry in found}


def size_of(folder: Path) -> int:
    """What a folder takes on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


async def test_orphaned_bodies_are_found_and_removed_while_the_bucket_is_in_use(
    open_engine, tmp_path: Path, body_files
) -> None:
    engine = open_engine()
    bucket, rules = R2Binding(engine.bucket("bucket")), BucketRules(engine.bucket("bucket"))
    await bucket.call("put", ["kept", b"k" * 50_000])
    await bucket.call("put", ["read", b"r" * 70_000])
    kept = body_files()
    reading = (await bucket.call("get", ["read"]))["body"]
    await bucket.call("delete", ["read"])  # condemned, and kept for its reader
    # As an index that was restored from an older copy leaves them.
    bodies = tmp_path / "r2" / "bucket" / "bodies"
    for name in ("0" * 32, "f" * 32):
        (bodies / name[0] / name).write_bytes(b"orphan")
    (bodies / "0" / "not-ours.txt").write_bytes(b"left alone")

    class Slow(BytesStream):
        async def read(self, size_max: int) -> bytes:
            data = await super().read(20_000)
            if not data:
                started.set()
                await go_on.wait()
            return data

    started, go_on = asyncio.Event(), asyncio.Event()
    put = asyncio.create_task(bucket.call("put", ["coming", Slow(b"c" * 50_000)]))
    await started.wait()
    swept = await rules.sweep()
    go_on.set()
    await put
    assert swept.orphaned_bodies == 2
    assert await rules.sweep() == Swept()
    await reading.aclose()
    assert [entry["key"] for entry in (await bucket.call("list", []))["objects"]] == ["coming", "kept"]
    assert (await bucket.call("get", ["kept"]))["body"] == b"k" * 50_000
    assert (await bucket.call("get", ["coming"]))["body"] == b"c" * 50_000
    await engine.aclose()
    left = body_files()
    assert kept[0] in left or kept[1] in left
    assert sorted(path.name for path in left if len(path.name) != 32) == ["not-ours.txt"]
    assert len(left) == 3


async def test_the_space_of_what_was_deleted_comes_back(open_engine, tmp_path: Path, body_files) -> None:
    engine = open_engine()
    bucket, rules = R2Binding(engine.bucket("bucket")), BucketRules(engine.bucket("bucket"))
    await bucket.call("put", ["kept", b"k"])
    for first in range(0, 400, 100):
        small = (bucket.call("put", [f"small-{number}", b"s" * 16_000]) for number in range(first, first + 100))
        await asyncio.gather(*small)
    for number in range(3):
        await bucket.call("put", [f"large-{number}", b"l" * 1_000_000])
    for number in range(3):
        upload = (await bucket.call("createMultipartUpload", ["upload"]))["uploadId"]
        part = await bucket.call("uploadPart", ["upload", upload, 1, b"p" * 1_000_000])
        if number == 0:
            await bucket.call("abortMultipartUpload", ["upload", upload])
        if number == 1:
            await bucket.call("completeMultipartUpload", ["upload", upload, [part]])
    await bucket.call("put", ["large-0", b"in place of the first"])
    folder = tmp_path / "r2" / "bucket"
    await engine._threads.wait_chores()  # they remove files, one perhaps that is just looked at
    full = size_of(folder)
    assert full > 6_400_000 + 4_000_000
    await bucket.call("delete", [[f"small-{number}" for number in range(400)]])
    await bucket.call("delete", [["large-0", "large-1", "large-2", "upload"]])
    await bucket.call("abortMultipartUpload", ["upload", upload])
    await rules.sweep()
    await engine.aclose()  # which also empties the write-ahead log
    assert body_files() == []
    assert size_of(folder) < 600_000
    assert await BucketRules(open_engine().bucket("bucket")).usage() == Usage(objects=1, object_bytes=1)
