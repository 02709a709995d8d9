"""Capabilities: what is left of root's powers, and taking them all away."""

from __future__ import annotations

import contextlib
import ctypes
import struct

from tenantry.sandbox import libc
from tenantry.sandbox.layers import Layer, needed_for

CAP_SYS_ADMIN = 21
# Above the last one that any kernel has today (CAP_CHECKPOINT_RESTORE, 40): the loop ends where the kernel says EINVAL.
_CAPABILITIES_MAX = 63
_HEADER = struct.pack("=Ii", 0x2008_0522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread


def set_capabilities(permitted: int) -> None:
    """Make `permitted` (a bit mask) the permitted and effective set; nothing is inheritable."""
    low, high = permitted & 0xFFFF_FFFF, permitted >> 32
    libc.syscall("capset", _HEADER, struct.pack("=6I", low, low, 0, high, high, 0))


def drop_bounding_set() -> None:
    """No exec, no set-uid file can ever give a capability back.

    The bounding set says nothing about what the process holds already, so this may come before the last privileged
    step. Without CAP_SETPCAP the set stays as it is, which no-new-privileges makes harmless.
    """
    libc.prctl(libc.PR_CAP_AMBIENT, libc.PR_CAP_AMBIENT_CLEAR_ALL)
    with contextlib.suppress(OSError):
        for capability in range(_CAPABILITIES_MAX):
            libc.prctl(libc.PR_CAPBSET_DROP, capability)


def drop_all() -> None:
    with needed_for(Layer.CAPABILITIES, "capset refused to give them up."):
        set_capabilities(0)


def effective() -> int:
    """The effective set of this process, as a bit mask."""
    data = ctypes.create_string_buffer(24)
    libc.syscall("capget", _HEADER, data)
    low, _, _, high, _, _ = struct.unpack("=6I", data)
    return int(low) | int(high) << 32
