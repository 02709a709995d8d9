"""seccomp: which system calls the kernel answers at all. An allow-list; what is not on it fails with EPERM.

Written for what CPython, an event loop and ordinary C extensions need, and read against what takes a tenant further
than its own process: no new process or program, no new socket, no look at another process, no change to mounts,
namespaces or clocks, no io_uring (which would walk around this filter), nothing that allocates memory which
RLIMIT_DATA and the size of /tmp do not count. Calls that the list does not name fail closed, those of kernels to come
included.

The filter is our own few hundred instructions and not libseccomp's: see docs/design/decisions/0002.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import struct
from dataclasses import dataclass

from tenantry.sandbox import bpf, libc
from tenantry.sandbox.layers import Layer, needed_for
from tenantry.sandbox.syscalls import Machine

_SET_MODE_FILTER = 1
_KILL_PROCESS = 0x8000_0000
_ERRNO = 0x0005_0000
_ALLOW = 0x7FFF_0000
_X32_BIT = 0x4000_0000  # x86_64 kernels answer a second set of numbers, for the x32 ABI
_U32 = 0xFFFF_FFFF

_ALWAYS = frozenset(
    """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range
    open openat creat access faccessat faccessat2 stat lstat fstat newfstatat statx readlink readlinkat getdents64
    getcwd chdir fchdir umask dup dup2 dup3 flock fsync fdatasync fallocate fadvise64 truncate ftruncate
    mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 link linkat symlink symlinkat
    chmod fchmod fchmodat fchmodat2 utimensat futimesat utime utimes
    pipe pipe2 eventfd2 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    poll ppoll select pselect6
    recvfrom recvmsg sendto sendmsg shutdown getsockname getpeername
    munmap mprotect mremap madvise msync brk
    exit exit_group wait4 waitid set_robust_list set_tid_address rseq membarrier sched_yield sched_getaffinity
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigpending rt_sigtimedwait sigaltstack pause
    restart_syscall alarm setitimer getitimer
    getpid getppid gettid getpgrp getpgid getsid getuid geteuid getgid getegid getresuid getresgid getgroups
    uname sysinfo getrusage times getcpu getrandom getpriority capget
    clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
    """.split()  # noqa: SIM905 - a list of two hundred strings is read by nobody
)

# Where libraries take another way when a call does not exist, and give up when it is forbidden.
_ERRNOS = {
    "clone3": errno.ENOSYS,  # its flags lie in memory, where a filter cannot read: glibc then calls clone
    "openat2": errno.ENOSYS,
    "sendfile": errno.ENOSYS,  # shutil copies by hand
    "copy_file_range": errno.ENOSYS,
    "getxattr": errno.EOPNOTSUPP,
    "lgetxattr": errno.EOPNOTSUPP,
    "fgetxattr": errno.EOPNOTSUPP,
    "listxattr": errno.EOPNOTSUPP,  # shutil.copystat lets pass only what says "not supported"
    "llistxattr": errno.EOPNOTSUPP,
    "flistxattr": errno.EOPNOTSUPP,
}


@dataclass(frozen=True, slots=True)
class Match:
    """True when (argument & mask) == value, in the low 32 bits: all that the kernel reads of these arguments."""

    argument: int
    value: int
    mask: int = _U32


Rule = tuple[tuple[Match, ...], ...]  # allowed when all matches of any of the tuples are true


def _one_of(argument: int, *values: int) -> Rule:
    return tuple((Match(argument, value),) for value in values)


# clone(2): what pthread_create asks for, with or without the bits about thread ids and TLS; never a process of its own.
_CLONE_NEEDED = 0x100 | 0x200 | 0x400 | 0x800 | 0x1_0000 | 0x4_0000  # VM FS FILES SIGHAND THREAD SYSVSEM
_CLONE_OPTIONAL = 0x8_0000 | 0x10_0000 | 0x20_0000 | 0x40_0000 | 0x100_0000  # SETTLS *_SETTID *_CLEARTID DETACHED

# mmap(2), flags. A shared anonymous mapping, a growing stack and huge pages are memory that RLIMIT_DATA does not count.
_MAP_TYPE = 0x0F
_MAP_PRIVATE = 0x02
_MAP_ANONYMOUS = 0x20
_MAP_REFUSED = 0x0100 | 0x2000 | 0x4_0000  # GROWSDOWN LOCKED HUGETLB

_CONDITIONAL: dict[str, Rule] = {
    "clone": ((Match(0, _CLONE_NEEDED, _U32 & ~_CLONE_OPTIONAL),),),
    "mmap": (
        (Match(3, 0, _MAP_REFUSED | _MAP_ANONYMOUS),),
        (Match(3, _MAP_ANONYMOUS | _MAP_PRIVATE, _MAP_REFUSED | _MAP_ANONYMOUS | _MAP_TYPE),),
    ),
    # GET_PDEATHSIG GET_DUMPABLE SET_NAME GET_NAME GET_SECCOMP GET_NO_NEW_PRIVS
    "prctl": _one_of(0, 2, 3, 15, 16, 21, 39),
    # TCGETS TIOCGWINSZ FIONREAD FIONBIO FIONCLEX FIOCLEX
    "ioctl": _one_of(1, 0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451),
    # DUPFD GETFD SETFD GETFL SETFL GETLK SETLK SETLKW, the same locks by open file, DUPFD_CLOEXEC GETPIPE_SZ
    "fcntl": _one_of(1, 0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032),
    # WAIT WAKE REQUEUE CMP_REQUEUE WAKE_OP WAIT_BITSET WAKE_BITSET, private or not, on either clock. No priority
    # inheritance.
    "futex": tuple((Match(1, operation, 0x7F),) for operation in (0, 1, 3, 4, 5, 9, 10)),
    # TYPE ERROR SNDBUF RCVBUF ACCEPTCONN PROTOCOL DOMAIN of SOL_SOCKET. Not PEERPIDFD, which is a handle on the host.
    "getsockopt": tuple((Match(1, 1), Match(2, option)) for option in (3, 4, 7, 8, 30, 38, 39)),
    # Its own limits, which it cannot raise.
    "prlimit64": _one_of(0, 0),
    "getrlimit": ((),),
}

# A worker with sockets makes TCP clients and nothing else. No bind, listen or accept; nothing that makes of a socket
# more than that (MPTCP, TCP_ULP, TCP_REPAIR, SO_ATTACH_FILTER, SO_ZEROCOPY), or lets it hold more than its namespace
# allows (SO_SNDBUF, SO_RCVBUF).
_SOCKET_FLAGS = 0x800 | 0x8_0000  # SOCK_NONBLOCK SOCK_CLOEXEC
_SOL_SOCKET = 1
_IPPROTO_TCP = 6
_TCP_CLIENTS: dict[str, Rule] = {
    "socket": tuple(
        (Match(0, family), Match(1, 1, _U32 & ~_SOCKET_FLAGS), Match(2, protocol))
        for family in (2, 10)  # AF_INET AF_INET6; of type SOCK_STREAM
        for protocol in (0, _IPPROTO_TCP)
    ),
    # To where, no filter can see: the address lies in memory. The namespace has nothing but the proxy; and Landlock.
    "connect": ((),),
    "setsockopt": (
        # REUSEADDR KEEPALIVE OOBINLINE LINGER RCVTIMEO SNDTIMEO
        *((Match(1, _SOL_SOCKET), Match(2, option)) for option in (2, 9, 10, 13, 20, 21)),
        # NODELAY KEEPIDLE KEEPINTVL KEEPCNT QUICKACK USER_TIMEOUT
        *((Match(1, _IPPROTO_TCP), Match(2, option)) for option in (1, 4, 5, 6, 12, 18)),
    ),
    "getsockopt": (
        *_CONDITIONAL["getsockopt"],
        *((Match(1, _SOL_SOCKET), Match(2, option)) for option in (2, 9, 10, 13, 20, 21)),
        *((Match(1, _IPPROTO_TCP), Match(2, option)) for option in (1, 4, 5, 6, 12, 18)),
    ),
}


def build(machine: Machine, process_id: int, *, sockets: bool = False) -> bytes:
    """The filter for a process that knows itself as `process_id`, which is the only one it may signal.

    `sockets`: whether it may make TCP clients.
    """
    conditional = {**_CONDITIONAL, "kill": _one_of(0, process_id), "tgkill": _one_of(0, process_id)}
    if sockets:
        conditional |= _TCP_CLIENTS
    program = bpf.Program()
    program.load(bpf.ARCH_OFFSET)
    program.unless_equal(machine.audit, "kill")
    program.load(bpf.NUMBER_OFFSET)
    if machine.name == "x86_64":
        program.if_at_least(_X32_BIT, "kill")
    for name in sorted(conditional.keys() & machine.numbers.keys()):
        program.if_equal(machine.numbers[name], f"check {name}")
    for name in sorted(_ERRNOS.keys() & machine.numbers.keys()):
        program.if_equal(machine.numbers[name], f"errno {_ERRNOS[name]}")
    _search(program, _ranges({machine.numbers[name] for name in _ALWAYS if name in machine.numbers}), "always")
    for name in sorted(conditional.keys() & machine.numbers.keys()):
        _check(program, name, conditional[name])
    for code in sorted({*_ERRNOS.values()}):
        program.label(f"errno {code}")
        program.give(_ERRNO | code)
    program.label("refuse")
    program.give(_ERRNO | errno.EPERM)
    program.label("allow")
    program.give(_ALLOW)
    program.label("kill")
    program.give(_KILL_PROCESS)
    return program.assemble()


def install(program: bytes) -> None:
    """Put the filter on this thread, for ever. Needs no-new-privileges."""
    _, argument = _as_argument(program)
    with needed_for(Layer.SECCOMP, "The kernel needs CONFIG_SECCOMP_FILTER."):
        libc.syscall("seccomp", _SET_MODE_FILTER, 0, argument)


@functools.cache
def _as_argument(program: bytes) -> tuple[object, bytes]:
    """A struct sock_fprog, and what it points to. Of the zygote's programs, children find it made."""
    instructions = ctypes.create_string_buffer(program, len(program))
    return instructions, struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))


def _ranges(numbers: set[int]) -> list[tuple[int, int]]:
    """Numbers as half-open runs, in order."""
    runs: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


def _search(program: bpf.Program, runs: list[tuple[int, int]], path: str) -> None:
    """A binary search: the kernel runs the filter once for each number to cache what is always allowed."""
    if len(runs) == 1:
        first, end = runs[0]
        program.if_at_least(end, "refuse")
        program.if_at_least(first, "allow")
        program.jump("refuse")
        return
    middle = len(runs) // 2
    program.if_at_least(runs[middle][0], f"{path}+")
    _search(program, runs[:middle], f"{path}-")
    program.label(f"{path}+")
    _search(program, runs[middle:], f"{path}+ ")


def _check(program: bpf.Program, name: str, rule: Rule) -> None:
    program.label(f"check {name}")
    for index, alternative in enumerate(rule):
        otherwise = f"{name} {index + 1}"
        for match in alternative:
            program.load(bpf.argument_offset(match.argument))
            if match.mask != _U32:
                program.mask(match.mask)
            program.unless_equal(match.value, otherwise)
        program.jump("allow")
        program.label(otherwise)
    program.jump("refuse")
