"""The few calls of the kernel that Python 3.11 has no function for, by ctypes.

Each raises OSError with the kernel's errno. Where glibc lacks a wrapper (or an old one may), the call goes through
`syscall(2)` with the number from our own table.
"""

from __future__ import annotations

import ctypes
import os

from tenantry.sandbox.syscalls import this_machine

_NUMBERS = this_machine().numbers
_LIBC = ctypes.CDLL(None, use_errno=True)

_syscall = _LIBC.syscall
_syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None, use_errno=True).fork

# Of linux/prctl.h.
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_NAME = 15
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4


def syscall(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """One system call by name. A str never goes in: what is a path is bytes."""
    # Variadic: ctypes would pass a bare int as 32 bits, and the upper half of the register would be whatever it was.
    converted = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result: int = _syscall(ctypes.c_long(_NUMBERS[name]), *converted)
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{name}: {os.strerror(errno)}")
    return result


def fork() -> int:
    """fork(2) without what `os.fork` does around it: locks made anew, the handlers of `os.register_at_fork`.

    All of that is for locks that other threads may have held. In a process with one thread there is nothing to mend,
    and it would make a quarter of what a blank worker writes to. What has to differ in each child, the state of
    `random` for one, is the caller's to see to.
    """
    process: int = _fork()
    if process == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, f"fork: {os.strerror(errno)}")
    return process


def prctl(option: int, argument: int = 0) -> int:
    # The kernel demands that the arguments an option does not use are zero.
    return syscall("prctl", option, argument, 0, 0, 0)


def set_process_name(name: str) -> None:
    """The name in `ps` (at most 15 bytes)."""
    syscall("prctl", PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def close_descriptors_from(first: int) -> None:
    """Close every descriptor from `first` on."""
    syscall("close_range", first, 0x7FFF_FFFF, 0)
