"""Landlock: which paths may be opened, whatever the mounts say.

The second wall behind the pivoted root, and the only one at the level `container`. Rights are tied to inodes, so
rules made before pivot_root hold after it. Whatever right of the kernel's ABI no rule grants is refused: the list of
handled rights grows with the ABI, the list of granted ones does not.

What Landlock does not cover: stat, chdir, readlink and the like of a path. At the level `strict` there is nothing to
find.
"""

from __future__ import annotations

import errno
import os
import struct

from tenantry.errors import IsolationError
from tenantry.sandbox import libc
from tenantry.sandbox.layers import Layer, needed_for

_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_RULE_NET_PORT = 2

# linux/landlock.h, LANDLOCK_ACCESS_FS_*
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REMOVE_DIR = 1 << 4
_REMOVE_FILE = 1 << 5
_MAKE_DIR = 1 << 7
_MAKE_REG = 1 << 8
_MAKE_SYM = 1 << 12
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15

READ_FILE = _READ_FILE
READ = _READ_FILE | _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE
WRITE = READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SYM | _REFER | _TRUNCATE

# How many file-system rights each ABI knows; a set of bits from 0. ABI 4 added TCP, 6 scopes, 7 only logging.
_FS_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_ABI_WITH_NETWORK = 4
_ABI_WITH_SCOPES = 6
_NET_BIND_TCP = 1
_NET_CONNECT_TCP = 2
_SCOPE_ABSTRACT_UNIX_SOCKET = 1
_SCOPE_SIGNAL = 2

_ADVICE = (
    "Landlock needs Linux 5.13 built with CONFIG_SECURITY_LANDLOCK and `landlock` in the kernel's list of LSMs (lsm=)"
)


def abi() -> int:
    """The version of Landlock in this kernel. Raises IsolationError where there is none."""
    try:
        return libc.syscall("landlock_create_ruleset", None, 0, _CREATE_RULESET_VERSION)
    except OSError as error:
        why = {errno.ENOSYS: "not in this kernel", errno.EOPNOTSUPP: "switched off at boot"}
        raise IsolationError(Layer.LANDLOCK, f"{why.get(error.errno or 0, error.strerror)}. {_ADVICE}") from error


def handled_rights(version: int) -> tuple[int, int, int]:
    """What a kernel of this ABI can refuse: file-system rights, network rights, scopes."""
    files = (1 << _FS_RIGHTS_BY_ABI.get(version, max(_FS_RIGHTS_BY_ABI.values()))) - 1
    network = _NET_BIND_TCP | _NET_CONNECT_TCP if version >= _ABI_WITH_NETWORK else 0
    scopes = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if version >= _ABI_WITH_SCOPES else 0
    return files, network, scopes


class Ruleset:
    """Rules under construction: everything is refused but what `allow` adds, once `enforce` is called."""

    def __init__(self) -> None:
        version = abi()
        self._files, self._network, scopes = handled_rights(version)
        attributes = struct.pack("=3Q", self._files, self._network, scopes)
        # An older kernel refuses an argument longer than the structure it knows.
        size = 8 if version < _ABI_WITH_NETWORK else 16 if version < _ABI_WITH_SCOPES else 24
        with needed_for(Layer.LANDLOCK, _ADVICE):
            self._descriptor = libc.syscall("landlock_create_ruleset", attributes[:size], size, 0)

    def allow(self, path: str, rights: int) -> None:
        """Grant rights to a file, or to a folder and all below it, mounts included."""
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            argument = struct.pack("=Qi", rights & self._files, parent)
            with needed_for(Layer.LANDLOCK, _ADVICE):
                libc.syscall("landlock_add_rule", self._descriptor, _RULE_PATH_BENEATH, argument, 0)
        finally:
            os.close(parent)

    def allow_connect(self, port: int) -> None:
        """Let TCP sockets connect to this port, of any address. A kernel that knows no such rules refuses none."""
        if self._network:
            argument = struct.pack("=2Q", _NET_CONNECT_TCP, port)
            with needed_for(Layer.LANDLOCK, _ADVICE):
                libc.syscall("landlock_add_rule", self._descriptor, _RULE_NET_PORT, argument, 0)

    def enforce(self) -> None:
        """For this thread and its children, for ever. Needs no-new-privileges, and forbids mount and pivot_root."""
        with needed_for(Layer.LANDLOCK, _ADVICE):
            libc.syscall("landlock_restrict_self", self._descriptor, 0)
        os.close(self._descriptor)
