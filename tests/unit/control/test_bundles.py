"""Bundles: complete or absent, the same content at the same address, never changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tenantry.control.bundles import BundleStore, bundle_address


def commit(store: BundleStore, files: dict[str, bytes]) -> str:
    with store.stage() as staging:
        staged = {}
        for name, content in files.items():
            staging.begin_file()
            staging.write(content)
            staged[name] = staging.end_file()
        return staging.commit(staged)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "bundles", durable=False)


def test_a_bundle_holds_its_files_for_everybody_to_read(store: BundleStore) -> None:
    previous = os.umask(0o077)
    try:
        address = commit(store, {"entry.py": b"x = 1", "lib/deep/a.py": b""})
    finally:
        os.umask(previous)

    folder = store.folder(address)
    assert content(folder) == {"entry.py": b"x = 1", "lib/deep/a.py": b""}
    for path in (folder, folder / "lib", folder / "lib/deep"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755
    for path in (folder / "entry.py", folder / "lib/deep/a.py"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        assert path.stat().st_nlink == 1, "nobody holds another name to change it by"


def test_the_same_content_is_stored_once(store: BundleStore, tmp_path: Path) -> None:
    first = commit(store, {"a.py": b"1", "b.py": b"2"})
    written = (store.folder(first) / "a.py").stat().st_mtime_ns

    second = commit(store, {"b.py": b"2", "a.py": b"1"})

    assert second == first
    assert (store.folder(first) / "a.py").stat().st_mtime_ns == written
    assert [path.name for path in (tmp_path / "bundles").iterdir()] == [first]


def test_every_difference_gives_another_address(store: BundleStore) -> None:
    bundles = [{"a.py": b"1"}, {"a.py": b"2"}, {"b.py": b"1"}, {"a.py": b"1", "b.py": b""}, {"a.py": b"", "b.py": b"1"}]

    assert len({commit(store, files) for files in bundles}) == len(bundles)


def test_names_and_digests_cannot_be_shifted_into_each_other() -> None:
    digest = "30" * 32

    assert bundle_address({"a": digest, "b": digest}) != bundle_address({"a" + "0" * 32 + "1:b": digest})


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a"), ("x/y/z", "x/y")])
def test_a_file_cannot_be_a_folder_too(store: BundleStore, tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="is a file and the folder of"):
        commit(store, dict.fromkeys(names, b""))

    assert list((tmp_path / "bundles").iterdir()) == []


def test_what_is_not_committed_leaves_nothing(store: BundleStore, tmp_path: Path) -> None:
    staging = store.stage()
    staging.begin_file()
    staging.write(b"half")
    staging.close()
    staging.close()

    assert list((tmp_path / "bundles").iterdir()) == []


def test_a_bundle_committed_meanwhile_by_another_upload_is_taken_as_it_is(store: BundleStore) -> None:
    with store.stage() as slow:
        slow.begin_file()
        slow.write(b"1")
        staged = slow.end_file()
        store.has = lambda address: False  # type: ignore[method-assign]  # it looked before the other one came
        fast = commit(store, {"a.py": b"1"})
        assert slow.commit({"a.py": staged}) == fast

    assert content(store.folder(fast)) == {"a.py": b"1"}


def test_unreferenced_bundles_are_removed(store: BundleStore) -> None:
    keep, drop = commit(store, {"a.py": b"1"}), commit(store, {"a.py": b"2"})

    assert store.remove_unreferenced([keep]) == 1

    assert store.has(keep)
    assert not store.has(drop)


def test_only_addresses_name_folders(store: BundleStore) -> None:
    for address in ("", "..", "a" * 63, "A" * 64, "../" + "a" * 61):
        with pytest.raises(ValueError, match="not a bundle address"):
            store.folder(address)


KILLED_AT_EVERY_STEP = """
import os, signal, sys
from pathlib import Path
from tenantry.control.bundles import BundleStore

folder = Path(sys.argv[1])

def commit(fatal):
    count = 0
    def mortal(name):
        real = getattr(os, name)
        def call(*arguments, **named):
            nonlocal count
            if count == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return real(*arguments, **named)
        setattr(os, name, call)
    store = BundleStore(folder)
    for name in ("write", "fsync", "rename", "mkdir", "rmdir", "unlink"):
        mortal(name)
    with store.stage() as staging:
        staged = {}
        for name in ("a.py", "lib/b.py"):
            staging.begin_file()
            staging.write(name.encode())
            staged[name] = staging.end_file()
        staging.commit(staged)

whole = {"a.py": b"a.py", "lib/b.py": b"lib/b.py"}
for fatal in range(1000):
    child = os.fork()
    if child == 0:
        commit(fatal)
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    store = BundleStore(folder)
    found = [
        {str(path.relative_to(bundle)): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
        for bundle in folder.iterdir()
    ]
    print(fatal, "killed" if killed else "done", "none" if found == [] else "whole" if found == [whole] else found)
    store.remove_unreferenced([])
    if not killed:
        break
"""


def test_kill_9_at_every_step_of_a_commit_leaves_a_whole_bundle_or_none(tmp_path: Path) -> None:
    # A child dies before its n-th call that changes the file system, for every n until one gets through.
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "bundles")]

    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()

    outcomes = [line.partition(" ")[2] for line in lines]
    assert set(outcomes[:-1]) == {"killed none", "killed whole"}
    assert outcomes[-1] == "done whole"
    assert len(outcomes) > 10
