"""Backups of a data folder in use, and what comes of them on an empty machine."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import apsw
import pytest
from injection.effort import randomness
from injection.example_platform import Platform
from injection.subjects import SUBJECTS, Ledger, Store, payload

from tenantry.cli.backup import backup as run_backup
from tenantry.cli.backup import restore
from tenantry.control import Store as ControlStore
from tenantry.control import Vault
from tenantry.errors import ConfigError
from tenantry.services.assets import Asset, AssetStore

TENANTRY = str(Path(sys.executable).with_name("tenantry"))
ACCOUNT = "0" * 32


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TENANTRY, *map(str, arguments)], capture_output=True, text=True, check=False)


def refusal(command: Callable[..., None], folder: Path, data: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        command(folder, data)
    return str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with nothing in it yet, whose account is made by the store."""
    folder = tmp_path / "data"
    folder.mkdir()
    ControlStore(folder / "control.db", Vault.open(folder / "secrets.keys")).close()
    return folder


class Writers:
    """They write until they are stopped. `started` is set when something is acknowledged."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self.store = store
        self.ledger = ledger
        self.started = asyncio.Event()
        self.stopped = False
        self.tasks = [asyncio.create_task(self._write(name)) for name in "abcd"]

    async def _write(self, name: str) -> None:
        chance = randomness(f"backup {self.store.subject.name} {name}")
        number = 0
        while not self.stopped:
            number += 1
            key = f"{name}{chance.randrange(6)}"
            value = None if chance.random() < 0.2 else self.store.subject.value(key, number, chance)
            self.ledger.begun(key, value)
            await (self.store.delete(key) if value is None else self.store.put(key, value))
            # Only added to: the backup may be of any moment in between.
            self.ledger.acknowledged += 1
            self.started.set()

    async def stop(self) -> None:
        self.stopped = True
        await asyncio.gather(*self.tasks)


@pytest.mark.parametrize("name", SUBJECTS)
async def test_a_backup_under_load_is_of_one_moment_and_the_next_one_too(name: str, data: Path, tmp_path: Path) -> None:
    subject = SUBJECTS[name]
    account = data / "accounts" / ACCOUNT
    before = Ledger()
    async with subject.opened(account) as store:
        for number in range(20):
            await store.put(f"kept{number}", payload("kept", number, 30_000))
            before.done(f"kept{number}", payload("kept", number, 30_000))
        ledger = copy.deepcopy(before)
        writers = Writers(store, ledger)
        async with asyncio.timeout(60):
            await writers.started.wait()
        begun = ledger.acknowledged
        # From another process, as an operator does. The second comes upon its copies.
        ended = await asyncio.to_thread(run, "backup", tmp_path / "backup", "--data", data)
        assert ended.returncode == 0, ended.stderr
        await asyncio.to_thread(run_backup, tmp_path / "backup", data)
        assert ledger.acknowledged > begun, "there was no load"
        await writers.stop()
    restore(tmp_path / "backup", tmp_path / "restored")
    restored = tmp_path / "restored" / "accounts" / ACCOUNT
    async with subject.opened(restored) as store:
        ledger.check(await store.everything(), f"{name}, restored")
        await store.put("after", b"value")
    subject.integrity(restored)


async def test_objects_that_are_in_the_backup_are_not_copied_again(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account, backup = data / "accounts" / ACCOUNT, tmp_path / "backup"
    bodies = backup / "accounts" / ACCOUNT / "r2" / "resource" / "bodies"

    def copies() -> dict[str, int]:
        return {file.name: file.stat().st_ino for file in bodies.rglob("*") if file.is_file()}

    async with SUBJECTS["r2"].opened(account) as store:
        for number in range(5):
            await store.put(f"k{number}", payload("k", number, 20_000))
        run_backup(backup, data)
        first = copies()
        assert len(first) == 5
        await store.put("k0", payload("k", 9, 20_000))
        await store.delete("k1")
        await store.put("new", payload("k", 10, 20_000))
        capsys.readouterr()
        run_backup(backup, data)
        assert "2 files copied" in capsys.readouterr().out
        second = copies()
    assert len(second) == 5
    kept = first.keys() & second.keys()
    assert len(kept) == 3
    assert {name: first[name] for name in kept} == {name: second[name] for name in kept}
    # With nobody at work, nothing is copied but what may have changed a moment before.
    run_backup(backup, data)
    assert "0 files copied" in capsys.readouterr().out


async def test_what_was_deleted_is_gone_from_the_next_backup(data: Path, tmp_path: Path) -> None:
    account, backup = data / "accounts" / ACCOUNT, tmp_path / "backup"

    def copies() -> set[str]:
        """The services that have something of the resource; that one is gone may be noted down."""
        found = [path for path in backup.rglob("resource*") if path.suffix != ".deleted"]
        return {path.parent.name for path in found}

    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(subject.opened(account)) for subject in SUBJECTS.values()]
        for store in stores:
            await store.put("key", payload("key", 1, 20_000))
        run_backup(backup, data)
        assert copies() == {"kv", "r2", "d1"}
        for store in stores:
            await store.service.delete("resource")
        run_backup(backup, data)
        assert copies() == set()


def test_assets_are_copied_once_and_what_is_gone_goes(data: Path, tmp_path: Path) -> None:
    assets = AssetStore(data / "assets").of(ACCOUNT)
    target = tmp_path / "backup"

    def put(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        with closing(assets.stage()) as staged:
            staged.write(content)
            staged.finish()
            assets.adopt({digest: staged})
        return assets.write_manifest({"/a": Asset(digest[:32], digest, len(content))})

    first = put(b"first")
    run_backup(target, data)
    second = put(b"second")
    assets.remove_unreferenced([second])
    run_backup(target, data)

    copied = AssetStore(target / "assets").of(ACCOUNT)
    [asset] = copied.read_manifest(second).values()
    assert copied.blob(asset.blob).read_bytes() == b"second"
    with pytest.raises(FileNotFoundError):
        copied.read_manifest(first)
    assert len([path for path in (target / "assets").rglob("*") if path.is_file()]) == 2


async def test_the_log_of_a_database_is_left_where_it_is(data: Path, tmp_path: Path) -> None:
    """D1's past is made from it."""
    folder = data / "accounts" / ACCOUNT / "d1"
    folder.mkdir(parents=True)
    (folder / "db.history").mkdir()
    (folder / "db.history" / "0001.pages").write_bytes(b"pages")
    (folder / "db.history" / "times").write_bytes(b"of the log")
    database = apsw.Connection(str(folder / "db.sqlite"))
    database.pragma("journal_mode", "wal")
    database.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    database.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    database.close()
    log = folder / "db.sqlite-wal"
    before = log.read_bytes()
    run_backup(tmp_path / "backup", data)
    assert log.read_bytes() == before
    copied = tmp_path / "backup" / "accounts" / ACCOUNT / "d1"
    assert sorted(path.name for path in copied.rglob("*")) == ["0001.pages", "db.history", "db.sqlite"]
    database = apsw.Connection(str(copied / "db.sqlite"))
    assert database.execute("SELECT x FROM t").fetchall() == [(1,)]
    database.close()


def test_what_is_no_backup_or_no_empty_folder_is_refused(data: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    run_backup(backup, data)
    for command, folder, at, reason in (
        (restore, backup, data, "is not empty (control.db"),
        (restore, tmp_path / "nothing", tmp_path / "new", "is not a backup"),
        (restore, data, tmp_path / "new", "is not a backup"),
        (run_backup, data / "backup", data, "within each other"),
        (run_backup, tmp_path, data, "within each other"),
        (run_backup, tmp_path / "other", tmp_path / "nothing", "is not a data folder"),
    ):
        assert reason in refusal(command, folder, at)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / "thesis.txt").write_text("mine")
    assert "neither empty nor a backup" in refusal(run_backup, stranger, data)
    assert (stranger / "thesis.txt").read_text() == "mine"
    (backup / "backup.json").rename(backup / ".backup.json")
    assert "not finished" in refusal(restore, backup, tmp_path / "new")
    assert backup.stat().st_mode & 0o077 == 0


@pytest.fixture
def platforms(tmp_path: Path) -> Iterator[tuple[Platform, Platform]]:
    """One that is backed up, and one on what comes of it."""
    made = Platform(tmp_path / "data"), Platform(tmp_path / "restored")
    try:
        yield made
    finally:
        for platform in made:
            platform.kill()


def resources(platform: Platform) -> dict[str, Any]:
    """What each customer has, without its access key: that is made anew at each start."""
    return {
        user: {name: value for name, value in customer.items() if name != "s3"}
        for user, customer in platform.about["customers"].items()
    }


def test_a_running_platform_is_backed_up_and_lives_on_elsewhere(
    platforms: tuple[Platform, Platform], tmp_path: Path
) -> None:
    old, new = platforms
    old.start()
    file = bytes(range(256)) * 400
    for user in ("user1", "user2"):
        with old.client(user) as client:
            client.post("/data", json={"key": "kept", "value": {"of": user}}).raise_for_status()
            client.post("/files", data={"key": "kept"}, files={"file": ("f", file)}).raise_for_status()
            client.post("/query", json={"sql": "CREATE TABLE t (word TEXT)"}).raise_for_status()
            client.post("/query", json={"sql": "INSERT INTO t VALUES (?)", "params": [user]}).raise_for_status()
    ended = run("backup", tmp_path / "backup", "--data", old.data)
    assert ended.returncode == 0, ended.stderr
    with old.client("user1") as client:  # it noticed nothing
        client.post("/data", json={"key": "later", "value": 1}).raise_for_status()
    account = old.about["account_id"]
    old.kill()
    ended = run("restore", tmp_path / "backup", "--data", new.data)
    assert ended.returncode == 0, ended.stderr
    new.start()
    assert new.about["account_id"] == account
    assert resources(new) == resources(old)
    for user in ("user1", "user2"):
        with new.client(user) as client:
            assert client.get("/data").json() == {"keys": ["kept"], "count": 1}
            assert client.get("/data", params={"key": "kept"}).json()["value"] == {"of": user}
            assert client.get("/files", params={"key": "kept"}).content == file
            rows = client.post("/query", json={"sql": "SELECT word FROM t"}).json()["results"]
            assert rows == [{"word": user}]
            client.post("/data", json={"key": "after", "value": 1}).raise_for_status()
