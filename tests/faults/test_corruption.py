"""A corrupted file fails its own resource only. The operator's log names the file, the tenant's error does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from injection.subjects import SUBJECTS, Ledger, payload
from structlog.testing import capture_logs

from tenantry.control import Store, Vault
from tenantry.errors import ConfigError, StorageError, StreamError
from tenantry.services import ServiceSettings

VALUE = payload("key", 0, 30_000)
FILES = {"kv": "kv/ill.sqlite3", "r2": "r2/ill/index.sqlite", "d1": "d1/ill.sqlite"}


def overwrite_start(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"\xa5" * 4096)


def overwrite_middle(file: Path) -> None:
    """All pages but the first, which still says that it is a database."""
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(b"\xa5" * (size - 4096))


def cut_off(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(4096 + 100)


def replace_by_text(file: Path) -> None:
    file.write_text("not a database at all\n" * 100)


DAMAGES = [overwrite_start, overwrite_middle, cut_off, replace_by_text]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", SUBJECTS)
async def test_a_corrupted_database_fails_its_own_resource_and_is_named(
    name: str, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    subject = SUBJECTS[name]
    settings = ServiceSettings(tmp_path)
    service = subject.make(settings)
    for resource in ("ill", "well"):
        for number in range(4):
            await subject.put(service.open(resource), f"key{number}", VALUE)
    await service.aclose()
    damage(tmp_path / FILES[name])

    service = subject.make(settings)

    async def read_all() -> None:
        for number in range(4):
            await subject.get(service.open("ill"), f"key{number}")

    async def write_all() -> None:
        for number in range(4):
            await subject.put(service.open("ill"), f"key{number}", b"new")

    with capture_logs() as said:
        for use in (read_all, write_all):
            with pytest.raises(StorageError) as caught:
                await use()
            assert str(tmp_path) not in caught.value.message
            assert "ill" not in caught.value.message
    assert "ill" in str(said)
    assert "well" not in str(said)
    assert await subject.get(service.open("well"), "key1") == VALUE
    await subject.put(service.open("well"), "key1", b"new")
    assert await subject.get(service.open("well"), "key1") == b"new"
    # It can be given up.
    await service.delete("ill")
    assert not (tmp_path / FILES[name]).exists()
    await service.aclose()


@pytest.mark.parametrize("missing", [False, True])
async def test_a_damaged_body_fails_its_own_object_and_is_named(missing: bool, tmp_path: Path) -> None:
    subject = SUBJECTS["r2"]
    async with subject.opened(tmp_path) as store:
        await store.put("ill", VALUE)
        (body,) = [file for file in (tmp_path / "r2" / "resource" / "bodies").rglob("*") if file.is_file()]
        await store.put("well", VALUE)
    body.unlink() if missing else body.write_bytes(VALUE[:10_000])
    async with subject.opened(tmp_path) as store:
        with capture_logs() as said, pytest.raises((StreamError, StorageError)) as caught:
            await store.get("ill")
        assert str(tmp_path) not in str(caught.value)
        assert body.name in str(said)
        assert await store.get("well") == VALUE
        assert sorted(await store.keys()) == ["ill", "well"]
        await store.put("ill", VALUE)
        assert await store.get("ill") == VALUE


def test_a_corrupted_control_store_is_named_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "control.db"
    vault = Vault.open(tmp_path / "secrets.keys")
    Store(file, vault).close()
    overwrite_start(file)
    with pytest.raises(ConfigError, match=r"control\.db: cannot be used"):
        Store(file, vault)


async def test_a_corrupted_resource_costs_no_other_its_time(tmp_path: Path) -> None:
    """Many callers of the broken one, and one of another beside them, which is answered."""
    subject = SUBJECTS["kv"]
    ledger = Ledger()
    service = subject.make(ServiceSettings(tmp_path))
    for resource in ("ill", "well"):
        await subject.put(service.open(resource), "key", VALUE)
    ledger.done("key", VALUE)
    await service.aclose()
    overwrite_start(tmp_path / FILES["kv"])
    service = subject.make(ServiceSettings(tmp_path))
    broken = [asyncio.ensure_future(subject.get(service.open("ill"), "key")) for _ in range(50)]
    ledger.check({"key": await subject.get(service.open("well"), "key")}, "beside a broken one")
    outcomes = await asyncio.gather(*broken, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StorageError}
    await service.aclose()
