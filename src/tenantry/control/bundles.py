"""Bundles: the files of a Worker's version, in folders that are named by what is in them and never change.

    <data>/bundles/<sha256 hex>/<module name>…      a bundle; folders 0755, files 0644
    <data>/bundles/.staging-<random>/…              one that is being written

A bundle is written to a staging folder, made durable, and renamed. So its folder is either complete or absent, whatever
is killed when. The same content has the same address and is written once. Worker processes run as other users, hence
the world-readable modes.

The address is the SHA-256 of the sorted list of (name, SHA-256 of the content), each with its length in front, so that
no two lists can be confused.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["BundleStore", "StagedFile", "Staging", "bundle_address"]

_ADDRESS = re.compile(r"[0-9a-f]{64}")
_STAGING_PREFIX = ".staging-"


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file of a staging folder, complete: its number there, its size, its SHA-256 in hex."""

    number: int
    size_bytes: int
    digest: str


def bundle_address(files: Mapping[str, str]) -> str:
    """The content address of a bundle whose files are given as name → SHA-256 hex."""
    whole = hashlib.sha256()
    for name in sorted(files):
        encoded = name.encode()
        whole.update(b"%d:%b%b" % (len(encoded), encoded, bytes.fromhex(files[name])))
    return whole.hexdigest()


class BundleStore:
    """All bundles below one folder. Everything here blocks: call it from a thread."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """`durable`: a committed bundle survives a power cut, not only a kill. Removes what a crash left behind."""
        self._folder = folder
        self._durable = durable
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        if durable:
            _sync_folder(folder.parent)
        for leftover in folder.glob(f"{_STAGING_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def folder(self, address: str) -> Path:
        """Where a bundle's files are. `address` is one that `Staging.commit` returned."""
        if not _ADDRESS.fullmatch(address):
            raise ValueError(f"not a bundle address: {address!r}")
        return self._folder / address

    def has(self, address: str) -> bool:
        return self.folder(address).is_dir()

    def stage(self) -> Staging:
        """A new staging folder; the caller closes it."""
        return Staging(self, Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self._folder)), self._durable)

    def remove_unreferenced(self, referenced: Iterable[str]) -> int:
        """Remove the bundles that no version names, and say how many. Only while no upload is running."""
        keep = set(referenced)
        removed = 0
        for entry in list(self._folder.iterdir()):
            if _ADDRESS.fullmatch(entry.name) and entry.name not in keep:
                # Out of sight first: a half-removed bundle must not look like a whole one.
                grave = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=self._folder))
                entry.rename(grave / "bundle")
                shutil.rmtree(grave, ignore_errors=True)
                removed += 1
        return removed

    def adopt(self, tree: Path, address: str) -> None:
        """Rename a complete, durable tree into its place, or drop it if its twin is there."""
        target = self.folder(address)
        try:
            os.rename(tree, target)
        except OSError as error:
            # The same content, committed by another upload in the meantime.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        self.settle()

    def settle(self) -> None:
        """Make every rename so far durable."""
        if self._durable:
            _sync_folder(self._folder)


class Staging:
    """A bundle that is being written. Files come in by number, names are given at `commit`.

    So what a client calls its files touches the file system only once all names are known and checked.
    """

    def __init__(self, store: BundleStore, folder: Path, durable: bool) -> None:
        self._store = store
        self._folder = folder
        self._durable = durable
        self._count = 0
        self._current: _Writer | None = None

    def __enter__(self) -> Staging:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def begin_file(self) -> None:
        """Start the next file."""
        assert self._current is None, "the file before is open"
        self._current = _Writer(self._folder / str(self._count))

    def write(self, data: bytes) -> None:
        assert self._current is not None, "no file is open"
        self._current.write(data)

    def end_file(self) -> StagedFile:
        """Finish the file that was begun."""
        assert self._current is not None, "no file is open"
        digest = self._current.finish(durable=self._durable)
        staged = StagedFile(self._count, self._current.size_bytes, digest)
        self._current = None
        self._count += 1
        return staged

    def commit(self, files: Mapping[str, StagedFile]) -> str:
        """Make the bundle of these files and return its address. Names must have passed `module_name_untrusted`.

        Raises ValueError when one name is a folder of another.
        """
        _check_no_file_is_a_folder(files)
        address = bundle_address({name: staged.digest for name, staged in files.items()})
        if self._store.has(address):
            # The upload that wrote it may not have come to this yet.
            self._store.settle()
            return address
        tree = self._folder / "tree"
        tree.mkdir(mode=0o755)
        folders = {tree}
        for name, staged in files.items():
            target = tree / name
            for parent in reversed(target.relative_to(tree).parents):
                folder = tree / parent
                if folder not in folders:
                    folder.mkdir(mode=0o755)
                    folders.add(folder)
            os.rename(self._folder / str(staged.number), target)
        for folder in folders:
            folder.chmod(0o755)  # whatever the umask was
            if self._durable:
                _sync_folder(folder)
        self._store.adopt(tree, address)
        return address

    def close(self) -> None:
        """Remove what was not committed. May be called again."""
        if self._current is not None:
            self._current.abandon()
            self._current = None
        shutil.rmtree(self._folder, ignore_errors=True)


class _Writer:
    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]
        self._digest.update(data)
        self.size_bytes += len(data)

    def finish(self, *, durable: bool) -> str:
        try:
            os.fchmod(self._handle, 0o644)
            if durable:
                os.fsync(self._handle)
        finally:
            os.close(self._handle)
        return self._digest.hexdigest()

    def abandon(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._handle)


def _check_no_file_is_a_folder(names: Iterable[str]) -> None:
    known = set(names)
    for name in known:
        parent = name
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in known:
                raise ValueError(f"{parent!r} is a file and the folder of {name!r}")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
