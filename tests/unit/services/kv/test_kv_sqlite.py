"""The SQLite engine: files, handles, what is cleared away, and what happens when the disk or the caller gives up."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import apsw
import pytest

from tenantry.errors import BindingError, StorageFull, StreamError
from tenantry.services import ServiceSettings, kv
from tenantry.services.kv import SERVICE, KvService, SqliteEngine, StorageError, Usage
from tenantry.services.kv.limits import CHUNK_BYTES, FREE_PAGES_MIN, SWEEP_ENTRIES_MAX, VALUE_BYTES_MAX
from tenantry.streams import read_all

BIG = b"b" * (CHUNK_BYTES * 2 + 1)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[KvService]:
    service = open_service(tmp_path)
    yield service
    await service.aclose()


def open_service(folder: Path, *, open_max: int = 256, now: float = 1_800_000_000) -> KvService:
    engine = SqliteEngine(folder / "kv", sync_full=False, open_max=open_max)
    return KvService(ServiceSettings(folder), engine=engine, clock=lambda: now)


async def call(service: KvService, namespace: str, method: str, *args: Any) -> Any:
    return await service.open(namespace).call(method, list(args))


def rows(folder: Path, namespace: str, sql: str) -> list[Any]:
    connection = apsw.Connection(str(folder / "kv" / f"{namespace}.sqlite3"))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class NeverEndingStream:
    length = None

    def __init__(self, first: int) -> None:
        self.left = first
        self.waiting = asyncio.Event()
        self.released = asyncio.Event()

    async def read(self, size_max: int) -> bytes:
        if self.left > 0:
            size = min(size_max, self.left)
            self.left -= size
            return b"n" * size
        self.waiting.set()
        await self.released.wait()
        return b""

    async def aclose(self) -> None:
        pass


class TestFiles:
    async def test_a_namespace_that_was_never_written_has_no_file(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        assert await call(service, "n", "get", "key") is None
        assert json.loads(await call(service, "n", "list"))["keys"] == []
        await call(service, "n", "delete", "key")
        assert await service.open("n").namespace.usage() == Usage(0, 0)
        await service.sweep()
        await service.aclose()
        assert list(tmp_path.iterdir()) == []

    async def test_at_rest_a_namespace_is_one_file(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", b"value")
        await service.aclose()
        assert [path.name for path in (tmp_path / "kv").iterdir()] == ["n.sqlite3"]
        assert (tmp_path / "kv").stat().st_mode & 0o077 == 0

    async def test_deleting_a_namespace_leaves_an_empty_file_that_says_so(
        self, service: KvService, tmp_path: Path
    ) -> None:
        await call(service, "n", "put", "key", BIG)
        await call(service, "m", "put", "key", b"other")
        await service.delete("n")
        await service.delete("n")
        assert {path.name for path in (tmp_path / "kv").glob("n*")} == {"n.sqlite3.deleted"}
        assert (tmp_path / "kv" / "n.sqlite3.deleted").stat().st_size == 0

    @pytest.mark.parametrize("written", [False, True])
    async def test_a_deleted_namespace_stays_so_after_a_restart(self, tmp_path: Path, written: bool) -> None:
        service = open_service(tmp_path)
        if written:
            await call(service, "n", "put", "key", b"value")
        await service.delete("n")
        await service.aclose()
        service = open_service(tmp_path)
        for method, args in (("get", ["key"]), ("put", ["key", b"value"]), ("delete", ["key"]), ("list", [])):
            with pytest.raises(BindingError, match="404 namespace not found"):
                await call(service, "n", method, *args)
        await service.aclose()
        assert not (tmp_path / "kv" / "n.sqlite3").exists()

    async def test_an_upload_into_a_namespace_that_is_deleted_is_told_so(
        self, service: KvService, tmp_path: Path
    ) -> None:
        stream = NeverEndingStream(CHUNK_BYTES)
        upload = asyncio.ensure_future(call(service, "n", "put", "key", stream))
        await stream.waiting.wait()
        await service.delete("n")
        stream.released.set()
        with pytest.raises(BindingError, match="KV PUT failed: 404 namespace not found"):
            await upload
        assert not (tmp_path / "kv" / "n.sqlite3").exists()

    @pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/b", "a\x00", "-a", "a.sqlite3", "é", "x" * 129, "a\n"])
    async def test_an_id_that_is_no_safe_name_is_refused(self, service: KvService, bad: str) -> None:
        with pytest.raises(ValueError, match="namespace id"):
            service.open(bad)
        with pytest.raises(ValueError, match="namespace id"):
            await service.delete(bad)

    async def test_entries_and_cursors_outlive_the_process(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        for key in "abc":
            await call(service, "n", "put", key, b"value")
        cursor = json.loads(await call(service, "n", "list", None, 1))["cursor"]
        await service.aclose()
        service = open_service(tmp_path)
        page = json.loads(await call(service, "n", "list", None, None, cursor))
        assert [key["name"] for key in page["keys"]] == ["b", "c"]
        await service.aclose()

    async def test_what_a_crash_left_of_a_first_write_is_an_empty_namespace(self, tmp_path: Path) -> None:
        (tmp_path / "kv").mkdir()
        (tmp_path / "kv" / "n.sqlite3").touch()
        service = open_service(tmp_path)
        assert await call(service, "n", "get", "key") is None
        await call(service, "n", "put", "key", b"value")
        assert await call(service, "n", "get", "key") == b"value"
        await service.aclose()

    async def test_the_entry_point_makes_a_durable_service(self, tmp_path: Path) -> None:
        assert SERVICE.name == "kv"
        assert SERVICE.binding_types == {"kv_namespace": "namespace_id"}
        for durability in ("full", "process"):
            service = SERVICE(ServiceSettings(tmp_path / durability, durability))
            await service.open("n").call("put", ["key", b"value"])
            assert await service.open("n").call("get", ["key"]) == b"value"
            await service.aclose()


class TestFailures:
    async def test_a_broken_file_fails_alone_and_tells_nothing_of_the_host(self, tmp_path: Path) -> None:
        (tmp_path / "kv").mkdir()
        (tmp_path / "kv" / "broken.sqlite3").write_bytes(b"no database at all" * 1000)
        service = open_service(tmp_path)
        for method, args in (("get", ["key"]), ("put", ["key", b"value"]), ("list", []), ("get", ["key"])):
            with pytest.raises(StorageError) as raised:
                await call(service, "broken", method, *args)
            assert "sqlite" not in str(raised.value).lower()
            assert str(tmp_path) not in str(raised.value)
        await call(service, "sound", "put", "key", b"value")
        assert await call(service, "sound", "get", "key") == b"value"
        await service.aclose()

    async def test_a_file_of_a_later_version_is_not_touched(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", b"value")
        await service.aclose()
        rows(tmp_path, "n", "PRAGMA user_version = 99")
        service = open_service(tmp_path)
        with pytest.raises(StorageError, match="KV GET failed: 500") as raised:
            await call(service, "n", "get", "key")
        assert "another version" in str(raised.value.__cause__)
        await service.aclose()

    async def test_a_folder_that_cannot_be_made_fails_the_write(self, tmp_path: Path) -> None:
        (tmp_path / "kv").write_bytes(b"a file where the folder belongs")
        service = open_service(tmp_path)
        with pytest.raises(StorageError):
            await call(service, "n", "put", "key", b"value")
        await service.aclose()

    async def test_a_full_store_refuses_the_write_and_goes_on(self, service: KvService, tmp_path: Path) -> None:
        await call(service, "n", "put", "key", b"before")
        handle = service._engine._handles["n"]  # type: ignore[attr-defined]
        handle._file._writer.pragma("max_page_count", 40)
        with pytest.raises(StorageFull, match="KV PUT failed: 507"):
            await call(service, "n", "put", "big", BIG)
        with pytest.raises(StorageFull, match="KV PUT failed: 507"):
            await call(service, "n", "put", "key", b"x" * 60_000 * 4)
        assert await call(service, "n", "get", "key") == b"before"
        handle._file._writer.pragma("max_page_count", 100_000)
        await call(service, "n", "put", "big", BIG)

    async def test_a_closed_service_takes_nothing(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", b"value")
        await service.aclose()
        await service.aclose()
        for method, args in (("get", ["key"]), ("put", ["key", b"value"]), ("delete", ["key"]), ("list", [])):
            with pytest.raises(StorageError) as raised:
                await call(service, "n", method, *args)
            assert "closed" in str(raised.value.__cause__)

    async def test_closing_finishes_the_writes_that_were_accepted(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key0", b"before")
        puts = [asyncio.ensure_future(call(service, "n", "put", f"key{index}", b"value")) for index in range(50)]
        while not service._engine._handles["n"]._committer.busy:  # type: ignore[attr-defined]
            await asyncio.sleep(0)
        await service.aclose()
        await asyncio.gather(*puts)
        service = open_service(tmp_path)
        assert len(json.loads(await call(service, "n", "list"))["keys"]) == 50
        await service.aclose()


class TestHandles:
    async def test_no_more_namespaces_are_open_than_allowed(self, tmp_path: Path) -> None:
        service = open_service(tmp_path, open_max=3)
        names = [f"n{index}" for index in range(10)]
        await asyncio.gather(*(call(service, name, "put", "key", name.encode()) for name in names))
        assert len(service._engine._handles) <= 3  # type: ignore[attr-defined]
        for _ in range(2):
            found = await asyncio.gather(*(call(service, name, "get", "key") for name in names))
            assert found == [name.encode() for name in names]
        assert len(service._engine._handles) <= 3  # type: ignore[attr-defined]
        await service.aclose()

    async def test_one_in_use_is_never_closed(self, tmp_path: Path) -> None:
        service = open_service(tmp_path, open_max=1)
        await call(service, "n", "put", "key", BIG)
        body = await call(service, "n", "get", "key")
        for index in range(5):
            await call(service, f"other{index}", "put", "key", b"value")
        got = b""
        while chunk := await body.read(1_000_000):
            got += chunk
        assert got == BIG
        assert "n" in service._engine._handles  # type: ignore[attr-defined]
        await body.aclose()
        assert len(service._engine._handles) == 1  # type: ignore[attr-defined]
        await service.aclose()

    async def test_the_least_recently_used_one_goes(self, tmp_path: Path) -> None:
        service = open_service(tmp_path, open_max=2)
        for name in ("a", "b", "a", "c"):
            await call(service, name, "get", "key")
        assert list(service._engine._handles) == ["a", "c"]  # type: ignore[attr-defined]
        await service.aclose()

    async def test_a_cancelled_first_caller_does_not_spoil_the_opening_for_others(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        first = asyncio.ensure_future(call(service, "n", "get", "key"))
        second = asyncio.ensure_future(call(service, "n", "put", "key", b"value"))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert await call(service, "n", "get", "key") == b"value"
        await service.aclose()

    async def test_a_stream_breaks_off_when_its_namespace_is_deleted(self, service: KvService) -> None:
        await call(service, "n", "put", "key", BIG)
        body = await call(service, "n", "get", "key")
        await body.read(10)
        await service.delete("n")
        rest = await body.read(CHUNK_BYTES)
        assert rest == BIG[10:CHUNK_BYTES]
        with pytest.raises(StreamError):
            await body.read(1)
        await body.aclose()

    async def test_deleting_while_others_write_leaves_all_or_nothing(self, service: KvService, tmp_path: Path) -> None:
        binding = service.open("n")
        puts = [asyncio.ensure_future(binding.call("put", [f"key{index}", b"value"])) for index in range(20)]
        await asyncio.sleep(0)
        await service.delete("n")
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert all(result is None or isinstance(result, BindingError | StorageError) for result in results)
        with pytest.raises(BindingError, match="404"):
            await binding.call("get", ["key0"])


class TestClearing:
    async def chunks(self, service: KvService, folder: Path) -> int:
        await service._engine._handles["n"]._committer.wait_idle()  # type: ignore[attr-defined]
        [(count,)] = rows(folder, "n", "SELECT count(*) FROM chunks")
        return int(count)

    async def test_a_replaced_or_deleted_value_gives_its_space_back(self, service: KvService, tmp_path: Path) -> None:
        await call(service, "n", "put", "key", BIG)
        assert await self.chunks(service, tmp_path) == 3
        await call(service, "n", "put", "key", BIG)
        assert await self.chunks(service, tmp_path) == 3
        await call(service, "n", "delete", "key")
        assert await self.chunks(service, tmp_path) == 0
        assert rows(tmp_path, "n", "SELECT * FROM garbage") == []

    async def test_a_value_that_is_being_read_stays_until_it_was(self, service: KvService, tmp_path: Path) -> None:
        await call(service, "n", "put", "key", BIG)
        body = await call(service, "n", "get", "key")
        await call(service, "n", "delete", "key")
        assert await self.chunks(service, tmp_path) == 3
        await body.aclose()
        await call(service, "n", "put", "other", b"value")
        assert await self.chunks(service, tmp_path) == 0

    async def test_a_cancelled_upload_leaves_nothing(self, service: KvService, tmp_path: Path) -> None:
        stream = NeverEndingStream(CHUNK_BYTES * 2)
        put = asyncio.ensure_future(call(service, "n", "put", "key", stream))
        await stream.waiting.wait()
        assert await self.chunks(service, tmp_path) == 2
        assert await call(service, "n", "get", "key") is None
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        await call(service, "n", "put", "other", b"value")
        assert await self.chunks(service, tmp_path) == 0

    async def test_uploads_at_once_do_not_mix(self, service: KvService) -> None:
        values = {f"key{index}": bytes([index]) * (CHUNK_BYTES + index) for index in range(8)}
        await asyncio.gather(*(call(service, "n", "put", key, value) for key, value in values.items()))
        for key, value in values.items():
            body = await call(service, "n", "get", key)
            got = b""
            while chunk := await body.read(1_000_000):
                got += chunk
            await body.aclose()
            assert got == value

    async def test_expired_entries_are_swept_by_later_writes(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        count = SWEEP_ENTRIES_MAX * 2 + 10
        await asyncio.gather(*(call(service, "n", "put", f"key{index}", b"v", None, 60) for index in range(count)))
        await call(service, "n", "put", "big", BIG, None, 60)
        await service.aclose()
        service = open_service(tmp_path, now=1_800_000_061)
        await call(service, "n", "put", "stays", b"value")
        assert await self.chunks(service, tmp_path) == 0
        assert rows(tmp_path, "n", "SELECT key FROM entries") == [(b"stays",)]
        await service.aclose()

    async def test_expired_entries_are_swept_where_nobody_writes_any_more(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        count = SWEEP_ENTRIES_MAX + 10
        for name in ("n", "m"):
            await asyncio.gather(*(call(service, name, "put", f"key{index}", b"v", None, 60) for index in range(count)))
            await call(service, name, "put", "big", BIG, None, 60)
            await call(service, name, "put", "stays", b"value", None, 1000)
        await service.sweep()
        assert await service.open("n").namespace.usage() == Usage(count + 2, sum_of(tmp_path, "n"))
        await service.aclose()

        # As after a restart: nobody has used them, and one of them is never used.
        service = open_service(tmp_path, now=1_800_000_061)
        assert await call(service, "n", "get", "key0") is None
        await service.sweep()
        assert await self.chunks(service, tmp_path) == 0
        assert list(service._engine._handles) == ["n"], "who was not in use is not kept open"  # type: ignore[attr-defined]
        assert rows(tmp_path, "m", "SELECT key FROM entries") == [(b"stays",)]
        assert rows(tmp_path, "m", "SELECT count(*) FROM chunks") == [(0,)]
        assert await service.open("n").namespace.usage() == Usage(1, len("stays") + len("value"))
        await service.aclose()

    async def test_a_sweep_looks_only_at_namespaces_with_something_to_clear_away(self, tmp_path: Path) -> None:
        now = 1_800_000_000.0
        engine = SqliteEngine(tmp_path / "kv", sync_full=False, open_max=1)
        service = KvService(ServiceSettings(tmp_path), engine=engine, clock=lambda: now)
        await call(service, "expires", "put", "key", b"v", None, 60)
        await call(service, "stays", "put", "key", b"v")
        await call(service, "gone", "put", "key", b"v", None, 60)
        await service.delete("gone")
        now += 100
        assert set(engine._due) == {"expires"}
        await service.sweep()
        assert rows(tmp_path, "expires", "SELECT count(*) FROM entries") == [(0,)]
        assert engine._due == {}
        await service.aclose()

    async def test_a_namespace_that_cannot_be_read_does_not_stop_a_sweep(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", b"v", None, 60)
        await service.aclose()
        for name in ("a", "z"):
            (tmp_path / "kv" / f"{name}.sqlite3").write_bytes(b"no database at all" * 1000)
        service = open_service(tmp_path, now=1_800_000_061)
        await service.sweep()
        await service.aclose()
        assert rows(tmp_path, "n", "SELECT count(*) FROM entries") == [(0,)]

    async def test_what_a_crash_left_of_an_upload_is_swept_too(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", b"value")
        await service.aclose()
        rows(tmp_path, "n", "INSERT INTO garbage VALUES (7); INSERT INTO chunks VALUES (7 * 1024, x'00')")
        service = open_service(tmp_path)
        await service.sweep()
        await service.aclose()
        assert rows(tmp_path, "n", "SELECT * FROM garbage UNION SELECT place FROM chunks") == []

    async def test_it_sweeps_by_itself(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kv, "SWEEP_SECONDS", 0)
        now = 1_800_000_000.0
        engine = SqliteEngine(tmp_path / "kv", sync_full=False)
        service = KvService(ServiceSettings(tmp_path), engine=engine, clock=lambda: now)
        await call(service, "n", "put", "key", b"v", None, 60)
        now += 61
        async with asyncio.timeout(60):
            while (await service.open("n").namespace.usage()).keys:
                await asyncio.sleep(0)
        await service.aclose()

    async def test_a_file_that_is_mostly_empty_shrinks(self, service: KvService, tmp_path: Path) -> None:
        for index in range(4):
            await call(service, "n", "put", f"key{index}", b"x" * 10_000_000)
        for index in range(4):
            await call(service, "n", "delete", f"key{index}")
        assert await self.chunks(service, tmp_path) == 0
        [(free,)] = rows(tmp_path, "n", "PRAGMA freelist_count")
        assert free < FREE_PAGES_MIN

    async def test_what_a_crash_left_of_an_upload_is_cleared_by_a_later_write(self, tmp_path: Path) -> None:
        service = open_service(tmp_path)
        await call(service, "n", "put", "key", BIG)
        await service.aclose()
        # As after a kill in the middle of an upload: chunks that only the list of garbage names.
        rows(tmp_path, "n", "INSERT INTO garbage VALUES (7); INSERT INTO chunks VALUES (7 * 1024, x'00')")
        service = open_service(tmp_path)
        await call(service, "n", "put", "second", BIG)
        assert await self.chunks(service, tmp_path) == 6
        assert rows(tmp_path, "n", "SELECT * FROM garbage") == []
        await service.aclose()


def sum_of(folder: Path, namespace: str) -> int:
    """What the totals say, counted the long way."""
    [(size,)] = rows(folder, namespace, "SELECT sum(length(key) + size + ifnull(length(metadata), 0)) FROM entries")
    return int(size)


async def test_a_value_of_25_mib_passes_in_and_out_without_being_held(service: KvService) -> None:
    class Value:
        length = None

        def __init__(self) -> None:
            self.left = VALUE_BYTES_MAX

        async def read(self, size_max: int) -> bytes:
            size = min(size_max, self.left)
            self.left -= size
            return bytes(size)

        async def aclose(self) -> None:
            pass

    tracemalloc.start()
    try:
        await call(service, "n", "put", "key", Value())
        body = await call(service, "n", "get", "key")
        size = 0
        while chunk := await body.read(64 * 1024):
            size += len(chunk)
        await body.aclose()
        assert size == VALUE_BYTES_MAX
        assert tracemalloc.get_traced_memory()[1] < 3 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_a_thousand_concurrent_writes_lose_nothing(service: KvService) -> None:
    await asyncio.gather(*(call(service, "n", "put", f"key{index:04}", str(index).encode()) for index in range(1000)))
    assert await asyncio.gather(*(call(service, "n", "get", f"key{index:04}") for index in range(1000))) == [
        str(index).encode() for index in range(1000)
    ]


@pytest.mark.parametrize("seed", range(3))
async def test_calls_that_are_cancelled_anywhere_leave_a_sound_store(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    service = open_service(tmp_path, open_max=2)
    values = {f"{key}{size}": bytes([key]) * size for key in (1, 2) for size in (10, 70_000, CHUNK_BYTES + 1)}

    async def one() -> None:
        namespace, (key, value) = random.choice("abc"), random.choice(list(values.items()))
        match random.choice(["put", "put", "get", "delete", "list", "getMany"]):
            case "put":
                await call(service, namespace, "put", key, value, None, random.choice([None, 60]))
            case "get":
                body = await call(service, namespace, "get", key)
                if body is not None and not isinstance(body, bytes):
                    try:
                        assert (await read_all(body, 2**24)) == value
                    finally:
                        await body.aclose()
                else:
                    assert body in (None, value)
            case "getMany":
                for found in await call(service, namespace, "getMany", list(values)):
                    if found is not None and not isinstance(found[0], bytes):
                        await found[0].aclose()
            case "delete":
                await call(service, namespace, "delete", key)
            case "list":
                await call(service, namespace, "list")

    async def cancelled_sometime(task: asyncio.Task[None]) -> None:
        for _ in range(random.randrange(40)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    for _ in range(10):
        tasks = [asyncio.get_running_loop().create_task(one()) for _ in range(12)]
        await asyncio.gather(*(cancelled_sometime(task) if random.random() < 0.7 else task for task in tasks))
    for namespace in "abc":
        await call(service, namespace, "put", "last", b"value")
        handle = service._engine._handles[namespace]  # type: ignore[attr-defined]
        await handle._committer.wait_idle()
        assert handle.users == 0
        assert not handle._pins
    await service.aclose()
    for namespace in "abc":
        assert rows(tmp_path, namespace, "PRAGMA integrity_check") == [("ok",)]
        assert rows(tmp_path, namespace, "SELECT keys FROM usage") == rows(
            tmp_path, namespace, "SELECT count(*) FROM entries"
        )
        assert rows(tmp_path, namespace, "SELECT bytes FROM usage") == [(sum_of(tmp_path, namespace),)]
        assert rows(tmp_path, namespace, "SELECT * FROM garbage") == []
        assert (
            rows(
                tmp_path,
                namespace,
                "SELECT DISTINCT place / 1024 FROM chunks EXCEPT SELECT blob FROM entries WHERE blob IS NOT NULL",
            )
            == []
        )
