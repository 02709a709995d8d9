"""The files of an account's Workers on disk, each content once, and the manifests that say where a version shows them.

    <folder>/blobs/<2 hex>/<sha256 hex>     a content
    <folder>/manifests/<sha256 hex>         JSON {path: [hash, blob, size]}, of one version or of several
    <folder>/staging/<random>               what is being written

A file gets its name once it is whole and durable, so what has a name is complete, whatever is killed when. The names
are ours, made from the bytes: what clients call their files never touches the file system. Accounts have folders of
their own; nothing is shared between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from tenantry.services.assets.model import Asset

__all__ = ["AccountAssets", "AssetStore", "StagedBlob"]

_log: Final = structlog.get_logger()

_ADDRESS: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_decode_manifest: Final = msgspec.json.Decoder(dict[str, Asset]).decode


class AssetStore:
    """The assets of all accounts, below one folder."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        """`durable`: what has a name survives a power cut, not only a kill."""
        self._folder = folder
        self._durable = durable

    def of(self, account_id: str) -> AccountAssets:
        if not _ACCOUNT.fullmatch(account_id):
            raise ValueError(f"not the id of an account: {account_id!r}")
        return AccountAssets(self._folder / account_id, durable=self._durable)


class AccountAssets:
    """The assets of one account. Everything here blocks: call it from a thread."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder
        self._durable = durable

    # Contents

    def blob(self, address: str) -> Path:
        """Where a content is. `address` is one that `adopt` returned."""
        return self._folder / "blobs" / _checked(address)[:2] / address

    def stage(self) -> StagedBlob:
        """A new file to write to; the caller closes it."""
        staging = self._folder / "staging"
        staging.mkdir(parents=True, exist_ok=True)
        handle, path = tempfile.mkstemp(dir=staging)
        return StagedBlob(handle, Path(path), durable=self._durable)

    def adopt(self, staged: Mapping[str, StagedBlob]) -> None:
        """Give finished files the names of their contents, by address; durable when this returns."""
        folders = set()
        for address, blob in staged.items():
            target = self.blob(address)
            target.parent.mkdir(parents=True, exist_ok=True)
            blob.move(target)
            folders.add(target.parent)
        if self._durable:
            for folder in folders:
                _sync_folder(folder)
            if folders:
                _sync_folder(self._folder / "blobs")
                _sync_folder(self._folder)
                _sync_folder(self._folder.parent)

    # Manifests

    def write_manifest(self, files: Mapping[str, Asset]) -> str:
        """Keep a manifest and return its address, which is made from its content."""
        content = msgspec.json.encode({path: files[path] for path in sorted(files)})
        address = hashlib.sha256(content).hexdigest()
        target = self._manifest(address)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(self.stage()) as staged:
                staged.write(content)
                staged.finish()
                staged.move(target)
        # Also where it was there: whoever wrote it may not have come to this yet.
        if self._durable:
            _sync_folder(target.parent)
            _sync_folder(self._folder)
        return address

    def read_manifest(self, address: str) -> dict[str, Asset]:
        """Raises OSError, or ValueError for one that was damaged."""
        try:
            return _decode_manifest(self._manifest(address).read_bytes())
        except msgspec.DecodeError as error:
            raise ValueError(f"{self._manifest(address)}: {error}") from error

    def _manifest(self, address: str) -> Path:
        return self._folder / "manifests" / _checked(address)

    # What nobody needs

    def remove_unreferenced(self, manifests: Iterable[str], blobs: Iterable[str] = ()) -> int:
        """Remove what neither these manifests nor `blobs` name, and what a crash left behind. Gives how many files.

        Only while nothing is being uploaded.
        """
        shutil.rmtree(self._folder / "staging", ignore_errors=True)
        kept, needed = set(manifests), set(blobs)
        removed = _keep_only(self._folder / "manifests", kept)
        try:
            for address in kept:
                needed.update(asset.blob for asset in self.read_manifest(address).values())
        except (OSError, ValueError) as error:
            # What it names is not known, so everything may be needed.
            _log.error("a manifest of assets cannot be read", reason=str(error))
            return removed
        return removed + sum(_keep_only(folder, needed) for folder in _entries(self._folder / "blobs"))


class StagedBlob:
    """A file that is being written. It has no name that anybody looks for until `AccountAssets.adopt` gives it one."""

    def __init__(self, handle: int, path: Path, *, durable: bool) -> None:
        self._handle = handle
        self._path = path
        self._durable = durable
        self._open = True

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def finish(self) -> None:
        """All is written: bring it to the disk."""
        if self._durable:
            os.fsync(self._handle)
        self._shut()

    def move(self, target: Path) -> None:
        assert not self._open, "it is finished first"
        os.replace(self._path, target)

    def close(self) -> None:
        """Remove it, if it was not moved. May be called again."""
        self._shut()
        self._path.unlink(missing_ok=True)

    def _shut(self) -> None:
        if self._open:
            self._open = False
            os.close(self._handle)


def _checked(address: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"not an address: {address!r}")
    return address


def _keep_only(folder: Path, names: set[str]) -> int:
    removed = [entry for entry in _entries(folder) if entry.name not in names]
    for entry in removed:
        entry.unlink()
    return len(removed)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
