"""`tenantry backup` and `tenantry restore`: a data folder copied while a platform runs on it, and put back.

A backup has the layout of a data folder, and one file more that says that it is whole. See decision 0016 for why these
two read the disk and not the REST API.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import apsw
import msgspec
import typer

from tenantry.cli import output
from tenantry.cli.machine import data_folder
from tenantry.errors import ConfigError
from tenantry.services.assets import back_up as back_up_assets
from tenantry.services.installed import installed_factories
from tenantry.services.snapshot import Snapshot

__all__ = ["backup", "restore"]

_MANIFEST: Final = "backup.json"
_FORMAT: Final = 1
_STORE: Final = "control.db"
_KEYS: Final = "secrets.keys"
_HOLD_PREFIX: Final = ".backup-"
_ADDRESS: Final = re.compile(r"[0-9a-f]{64}")
_ACCOUNT: Final = re.compile(r"[0-9a-f]{32}")
_CACHES: Final = shutil.ignore_patterns("__pycache__")


class Manifest(msgspec.Struct, frozen=True):
    """Written last and removed first: a folder that has it is a whole backup."""

    format: int
    tenantry: str
    made: str


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the backup is, or is to be.")],
    data: Annotated[Path, typer.Option(help="The data folder to copy.")] = Path("data"),
) -> None:
    """Copy a data folder, also while a platform runs on it.

    Each KV namespace, R2 bucket and D1 database is copied as it was at one moment. A second backup into the same DIR
    copies only what is new, and makes DIR what the data folder is now. DIR then holds secrets: keep it like a password.

    [bold]Example[/bold]

      tenantry backup /backups/today --data /var/lib/tenantry/data
    """
    if not (data / _STORE).is_file():
        raise ConfigError(f"{data} is not a data folder: it has no {_STORE}; name yours with --data")
    data, folder = data.resolve(), folder.resolve()
    if folder == data or data in folder.parents or folder in data.parents:
        raise ConfigError(f"{folder} and {data} lie within each other: choose a folder apart for the backup")
    try:
        with _held_folder(data) as hold, _made_folder(folder):
            snapshot = Snapshot(hold)
            _copy(data, folder, snapshot)
    except (OSError, apsw.Error) as error:
        raise ConfigError(f"the backup is not whole, make it again: {error}") from error
    output.result(
        f"{folder}: {snapshot.databases_copied} databases and {snapshot.files_copied} files copied "
        f"({snapshot.bytes_copied} bytes), {snapshot.databases_unchanged} and {snapshot.files_unchanged} unchanged, "
        f"{snapshot.removed} removed"
    )


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")],
    data: Annotated[Path, typer.Option(help="The data folder to make. It must be empty or absent.")] = Path("data"),
) -> None:
    """Make a data folder of a backup. Existing data is never touched.

    [bold]Example[/bold]

      tenantry restore /backups/today --data /var/lib/tenantry/data
    """
    manifest = _read_manifest(folder)
    with data_folder(data) as held:
        if found := sorted(entry.name for entry in held.iterdir() if entry.name != ".lock"):
            raise ConfigError(f"{data} is not empty ({', '.join(found[:3])}): choose another with --data")
        try:
            for entry in sorted(folder.iterdir()):
                # The store comes last: until it is there, the folder is nobody's data.
                if entry.is_dir() and not entry.name.startswith("."):
                    shutil.copytree(entry, held / entry.name, symlinks=True)
            if (keys := _keys(folder)) is not None:
                _write_keys(held / _KEYS, keys)
            shutil.copyfile(folder / _STORE, held / f"{_STORE}.new")
            (held / f"{_STORE}.new").chmod(0o600)
            _sync(held, files=True)
            (held / f"{_STORE}.new").rename(held / _STORE)
            _sync(held, files=False)
        except OSError as error:
            raise ConfigError(f"{data} is not whole, remove it and try again: {error}") from error
    output.result(f"{data}: restored from the backup of {manifest.made}")


def _copy(data: Path, target: Path, snapshot: Snapshot) -> None:
    # First: what it names is there when it comes to be copied, for bundles and assets are removed at a start only.
    keys = _keys(data)
    snapshot.database(data / _STORE, target / _STORE)
    if _keys(data) != keys:
        raise ConfigError("the backup is not whole, make it again: the key of the secrets was rotated meanwhile")
    _write_keys(target / _KEYS, keys)
    _copy_bundles(data / "bundles", target / "bundles", snapshot)
    back_up_assets(data / "assets", target / "assets", snapshot)
    factories = installed_factories()
    accounts = _named(data / "accounts", _ACCOUNT)
    for account in accounts:
        for factory in factories:
            source = data / "accounts" / account / factory.name
            if source.is_dir():
                factory.back_up(source, target / "accounts" / account / factory.name, snapshot)
    snapshot.keep_only(target / "accounts", accounts)


def _keys(data: Path) -> bytes | None:
    """What opens the secrets of the store. None: the keys come from the environment, and are not ours to copy."""
    try:
        return (data / _KEYS).read_bytes()
    except FileNotFoundError:
        return None


def _write_keys(file: Path, keys: bytes | None) -> None:
    """In one step: those of the backup before open its store until then."""
    if keys is None:
        file.unlink(missing_ok=True)
        output.warn(
            "the keys of the secrets are not in the data folder, so they are not in the backup: keep what "
            "TENANTRY_SECRETS_KEYS is set to, without it the backup's secrets cannot be read"
        )
        return
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as opened:
        opened.write(keys)
        opened.flush()
        os.fsync(opened.fileno())
    new.rename(file)


def _copy_bundles(source: Path, target: Path, snapshot: Snapshot) -> None:
    """Bundles never change, and are whole where they have their name: so is each copy."""
    target.mkdir(mode=0o755, parents=True, exist_ok=True)
    addresses = _named(source, _ADDRESS)
    snapshot.keep_only(target, addresses)
    for address in addresses:
        if (target / address).exists():
            snapshot.files_unchanged += 1
            continue
        new = Path(tempfile.mkdtemp(dir=target, prefix=".new-"))
        tree = shutil.copytree(source / address, new / address, ignore=_CACHES)
        _sync(tree, files=True)
        tree.rename(target / address)
        new.rmdir()
        snapshot.files_copied += 1


def _sync(folder: Path, *, files: bool) -> None:
    """Makes the names below a folder survive a power cut, and the bytes of its files if asked to."""
    for parent, _, names in os.walk(folder):
        for name in names if files else ():
            _sync_one(Path(parent) / name)
        _sync_one(Path(parent))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _named(folder: Path, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if pattern.fullmatch(entry.name))
    except FileNotFoundError:
        return []


@contextmanager
def _held_folder(data: Path) -> Iterator[Path]:
    """A folder on the disk of the data. What a backup before left there, when it was killed, goes."""
    for left in data.glob(f"{_HOLD_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)
    hold = Path(tempfile.mkdtemp(dir=data, prefix=_HOLD_PREFIX))
    try:
        yield hold
    finally:
        shutil.rmtree(hold, ignore_errors=True)


@contextmanager
def _made_folder(folder: Path) -> Iterator[None]:
    """Says that the backup is whole when the block has ended well. Raises ConfigError for somebody else's folder."""
    manifest = folder / _MANIFEST
    unfinished = folder / f".{_MANIFEST}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()) and not manifest.exists() and not unfinished.exists():
        raise ConfigError(f"{folder} is neither empty nor a backup: choose another")
    folder.chmod(0o700)
    unfinished.touch(mode=0o600)
    manifest.unlink(missing_ok=True)
    yield
    made = Manifest(_FORMAT, version("tenantry"), datetime.now(UTC).isoformat(timespec="seconds"))
    unfinished.write_bytes(msgspec.json.encode(made))
    _sync(folder, files=False)  # the files were synced when each was whole
    unfinished.rename(manifest)
    _sync_one(manifest)
    _sync_one(folder)


def _read_manifest(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        unfinished = (folder / f".{_MANIFEST}").exists()
        reason = "is a backup that was not finished: make it again" if unfinished else "is not a backup"
        raise ConfigError(f"{folder} {reason}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{folder / _MANIFEST}: {error}") from error
    if manifest.format != _FORMAT:
        raise ConfigError(f"{folder} has format {manifest.format}; this version of tenantry reads {_FORMAT}")
    return manifest
