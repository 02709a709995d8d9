"""Mounts: a root that holds what it is given, read-only, and nothing else.

A bind mount is made read-only by `mount_setattr(AT_RECURSIVE)` (Linux 5.12), because the older way
(MS_BIND|MS_REMOUNT|MS_RDONLY) changes only the topmost mount and leaves whatever is mounted below it writable.
"""

from __future__ import annotations

import os
import struct

from tenantry.sandbox import libc

_MS_NOSUID = 0x2
_MS_NODEV = 0x4
_MS_NOEXEC = 0x8
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 2

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_ATTR_RDONLY = 0x1
_ATTR_NOSUID = 0x2
_ATTR_NODEV = 0x4


def make_private() -> None:
    """What is mounted here stays here, and what the host mounts later does not come in."""
    libc.syscall("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_tmpfs(target: str, *, mode: int, bytes_max: int, files_max: int, executable: bool = True) -> None:
    flags = _MS_NOSUID | _MS_NODEV | (0 if executable else _MS_NOEXEC)
    options = f"mode={mode:04o},size={bytes_max},nr_inodes={files_max}"
    libc.syscall("mount", b"tmpfs", os.fsencode(target), b"tmpfs", flags, options.encode())


def bind(source: str, target: str) -> None:
    """Show `source` and all that is mounted below it at `target`, with the attributes it has."""
    libc.syscall("mount", os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None)


def restrict(target: str, *, devices: bool = False) -> None:
    """Make a mount and all mounts below it read-only, without set-uid and (unless asked) without devices."""
    attributes = _ATTR_RDONLY | _ATTR_NOSUID | (0 if devices else _ATTR_NODEV)
    argument = struct.pack("=4Q", attributes, 0, 0, 0)
    libc.syscall("mount_setattr", _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, argument, len(argument))


def bind_read_only(source: str, target: str, *, devices: bool = False) -> None:
    bind(source, target)
    restrict(target, devices=devices)


def detach(target: str) -> None:
    """Take a tree of mounts out of the namespace. What is still open in it stays open, and cannot be reached anew."""
    libc.syscall("umount2", os.fsencode(target), _MNT_DETACH)


def pivot_root(new: str, old: str) -> None:
    libc.syscall("pivot_root", os.fsencode(new), os.fsencode(old))


def enter_root(new: str) -> None:
    """Make the mount `new` the root and drop the old one, with no folder needed to put the old one in.

    With "." twice the old root is stacked on top of the new one, at the same place: detaching "." takes off the old
    root (pivot_root(2), "pivot_root(".", ".")").
    """
    os.chdir(new)
    pivot_root(".", ".")
    detach(".")
    os.chdir("/")
