"""A disk under the test's control: it counts what is asked of it, fails on demand, and knows what a power cut leaves.

The engines are not told. SQLite goes through an APSW VFS that is the process's default while the disk is in use; other
files go through the functions of `os`, which are replaced for that time. Only what lies below `root` is looked at.

    kind     what is counted under it
    write    write, writev, copy_file_range, ftruncate; xWrite, xTruncate
    sync     fsync, fdatasync; xSync
    rename   rename, replace, link, unlink, mkdir; xDelete
    open     open; xOpen

The model of a power cut is POSIX's at its strictest: the bytes of a file are those of its last sync, and a name is in a
folder if it was there at the folder's last sync. `survivors` writes that out as a folder of its own. A real disk may
also have written more than it was asked to, so each file may instead be as it was last written: `luck` decides.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

__all__ = ["KINDS", "Disk"]

KINDS = ("write", "sync", "rename", "open")
_VFS_NAME = "tenantry-faults"
_WRITING = frozenset("wax+")
_JOURNALS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


@dataclass
class _Inode:
    """What a file held when it was last synced; None if it never was."""

    synced: bytes | None = None


class Disk:
    """`with Disk(root) as disk:` one at a time in a process."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.counts: Counter[str] = Counter()
        self.injected: str | None = None
        """The operation that was made to fail, once one was."""
        self._lock = threading.RLock()
        self._fault: tuple[str, int, int] | None = None
        self._real: dict[str, Callable[..., Any]] = {}
        self._real_io_open = io.open
        self._inodes: dict[int, _Inode] = {}
        self._folders: dict[str, dict[str, _Inode | None]] = {}  # None is a folder
        self._vfs: _Vfs | None = None

    # What a test asks of it.

    def fail(self, kind: str, nth: int, code: int) -> None:
        """From now on the `nth` operation of a kind fails with this errno, once."""
        with self._lock:
            self.injected = None
            self._fault = (kind, self.counts[kind] + nth, code)

    @property
    def armed(self) -> bool:
        """Whether something is still to fail."""
        return self._fault is not None and self.injected is None

    def mend(self) -> None:
        with self._lock:
            self._fault = None

    def survivors(self, target: Path, luck: Callable[[str], bool] = lambda path: False) -> None:
        """Writes what a power cut now would leave into a new folder. A file with `luck` has all of its bytes."""
        with self._lock:
            self._write_out(self.root, target, luck)

    def _write_out(self, folder: str, target: Path, luck: Callable[[str], bool]) -> None:
        target.mkdir(parents=True)
        for name, inode in self._folders.get(folder, {}).items():
            path = f"{folder}/{name}"
            if inode is None:
                self._write_out(path, target / name, luck)
                continue
            data = inode.synced or b""
            if luck(path) and os.path.exists(path) and self._inodes.get(os.stat(path).st_ino) is inode:
                data = Path(path).read_bytes()
            (target / name).write_bytes(data)

    def __enter__(self) -> Disk:
        os.makedirs(self.root, exist_ok=True)
        for folder, _, files in os.walk(self.root):
            for name in files:
                self.synced(f"{folder}/{name}")
            self.synced(folder)
        self._vfs = _Vfs(self)
        for name in _OS_FUNCTIONS:
            self._real[name] = getattr(os, name)
            setattr(os, name, _OS_FUNCTIONS[name](self, self._real[name]))
        io.open = self._io_open  # type: ignore[assignment]
        return self

    def __exit__(self, *_: object) -> None:
        io.open = self._real_io_open
        for name, function in self._real.items():
            setattr(os, name, function)
        assert self._vfs is not None
        self._vfs.unregister()
        self._vfs = None

    # What the hooks below tell it.

    def owns(self, path: str) -> bool:
        return path.startswith(self.root)

    def path_of(self, fd: int) -> str:
        try:
            return os.readlink(f"/proc/self/fd/{fd}").removesuffix(" (deleted)")
        except OSError:
            return ""

    def step(self, kind: str, what: str) -> int:
        """Counts an operation. The errno that it is to fail with, or 0."""
        with self._lock:
            self.counts[kind] += 1
            if self._fault is None or self._fault[:2] != (kind, self.counts[kind]):
                return 0
            code = self._fault[2]
            self.injected = f"{errno.errorcode[code]} at {kind} {self.counts[kind]}: {what.removeprefix(self.root)}"
            return code

    def check(self, kind: str, what: str) -> None:
        """The same for functions of `os`."""
        if code := self.step(kind, what):
            raise OSError(code, os.strerror(code), what)

    def synced(self, path: str) -> None:
        with self._lock:
            if os.path.isdir(path):
                self._synced_folder(path)
            elif os.path.exists(path):
                with self._real_io_open(path, "rb") as file:
                    self._inode(path).synced = file.read()

    def _synced_folder(self, folder: str) -> None:
        names: dict[str, _Inode | None] = {}
        for name in os.listdir(folder):
            path = f"{folder}/{name}"
            try:
                names[name] = None if os.path.isdir(path) else self._inode(path)
            except FileNotFoundError:  # another thread was quicker
                continue
        self._folders[folder] = names

    def _inode(self, path: str) -> _Inode:
        return self._inodes.setdefault(os.stat(path).st_ino, _Inode())

    def unlinking(self, path: str) -> None:
        """The number of an inode is used again once its last name is gone: what we know of it is then of another."""
        with self._lock:
            try:
                found = os.lstat(path)
            except OSError:
                return
            if found.st_nlink == 1:
                self._inodes.pop(found.st_ino, None)

    def _io_open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        path = os.fspath(file) if isinstance(file, str | os.PathLike) else ""
        if isinstance(path, str) and self.owns(path) and _WRITING & set(mode):
            self.check("open", path)
            # Its bytes leave in one piece when it is closed; where they fail is the same to the caller.
            self.check("write", path)
        return self._real_io_open(file, mode, *args, **kwargs)


# The functions of `os`: each gets the disk and the real one.

_Hook = Callable[[Disk, Callable[..., Any]], Callable[..., Any]]


def _on_fd(kind: str) -> _Hook:
    def hook(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(fd: int, *args: Any, **kwargs: Any) -> Any:
            if disk.owns(path := disk.path_of(fd)):
                disk.check(kind, path)
                result = real(fd, *args, **kwargs)
                if kind == "sync":
                    disk.synced(path)
                return result
            return real(fd, *args, **kwargs)

        return call

    return hook


def _copying(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(source: int, target: int, *args: Any, **kwargs: Any) -> Any:
        if disk.owns(path := disk.path_of(target)):
            disk.check("write", path)
        return real(source, target, *args, **kwargs)

    return call


def _on_path(kind: str) -> _Hook:
    def hook(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
            if isinstance(text, str) and disk.owns(text):
                disk.check(kind, text)
                if real.__name__ == "unlink":
                    disk.unlinking(text)
                elif real.__name__ in ("rename", "replace") and args:
                    disk.unlinking(os.fspath(args[0]))
            return real(path, *args, **kwargs)

        return call

    return hook


_OS_FUNCTIONS: dict[str, _Hook] = {
    "open": _on_path("open"),
    "write": _on_fd("write"),
    "writev": _on_fd("write"),
    "ftruncate": _on_fd("write"),
    "copy_file_range": _copying,
    "fsync": _on_fd("sync"),
    "fdatasync": _on_fd("sync"),
    "rename": _on_path("rename"),
    "replace": _on_path("rename"),
    "link": _on_path("rename"),
    "unlink": _on_path("rename"),
    "mkdir": _on_path("rename"),
}


# SQLite.


def _sqlite_error(code: int, extended: int) -> apsw.Error:
    """What SQLite's own VFS would answer: a full disk is told apart only where bytes are written."""
    if code == errno.ENOSPC and extended == apsw.SQLITE_IOERR_WRITE:
        return apsw.FullError("database or disk is full")
    if extended == apsw.SQLITE_CANTOPEN:
        return apsw.CantOpenError("unable to open database file")
    error = apsw.IOError("disk I/O error")
    error.extendedresult = extended  # type: ignore[misc]
    return error


class _Vfs(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(_VFS_NAME, "unix", makedefault=True)

    def excepthook(self, *_: object) -> None:
        """What a caller cannot be told would be printed."""

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802 - SQLite's
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not path or not self._disk.owns(path):
            return apsw.VFSFile("unix", name, flags)
        if code := self._disk.step("open", path):
            raise _sqlite_error(code, apsw.SQLITE_CANTOPEN)
        # As in os_unix.c, UNIXFILE_DIRSYNC: of a journal that may be created the first sync is one of its folder too.
        names_itself = bool(flags[0] & apsw.SQLITE_OPEN_CREATE) and bool(flags[0] & _JOURNALS)
        return _File(self._disk, path, name, flags, names_itself=names_itself)

    def xDelete(self, name: str, sync_folder: bool) -> None:  # noqa: N802
        if self._disk.owns(name):
            if code := self._disk.step("rename", name):
                raise _sqlite_error(code, apsw.SQLITE_IOERR_DELETE)
            self._disk.unlinking(name)
        super().xDelete(name, sync_folder)
        if sync_folder and self._disk.owns(name):
            self._disk.synced(os.path.dirname(name))


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, path: str, name: Any, flags: list[int], *, names_itself: bool) -> None:
        self._disk = disk
        self._path = path
        self._names_itself = names_itself
        super().__init__("unix", name, flags)

    def excepthook(self, *_: object) -> None:
        pass

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if code := self._disk.step("write", self._path):
            raise _sqlite_error(code, apsw.SQLITE_IOERR_WRITE)
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        if code := self._disk.step("write", self._path):
            raise _sqlite_error(code, apsw.SQLITE_IOERR_TRUNCATE)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if code := self._disk.step("sync", self._path):
            raise _sqlite_error(code, apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
        self._disk.synced(self._path)
        if self._names_itself:
            self._names_itself = False
            self._disk.synced(os.path.dirname(self._path))
