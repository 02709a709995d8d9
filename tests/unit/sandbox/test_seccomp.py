"""The filter, run by an interpreter of its own on made-up calls: also for the machine that the tests do not run on."""

from __future__ import annotations

import errno
import struct

import pytest

from tenantry.errors import IsolationError
from tenantry.sandbox import bpf, seccomp
from tenantry.sandbox.syscalls import Machine, machine

_ALLOW = "allow"
_KILL = "kill"
_MACHINES = [machine("x86_64"), machine("aarch64")]
both = pytest.mark.parametrize("of", _MACHINES, ids=lambda of: of.name)


def _interpret(program: bytes, number: int, audit: int, arguments: tuple[int, ...]) -> str:
    """What the kernel would do: classic BPF over `struct seccomp_data`."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=iIQ6Q", number, audit, 0, *(value & 0xFFFF_FFFF_FFFF_FFFF for value in padded))
    accumulator = position = 0
    while True:
        code, if_true, if_false, operand = struct.unpack_from("=HBBI", program, position * 8)
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x54:
                accumulator &= operand
            case 0x05:
                position += operand
            case 0x15:
                position += if_true if accumulator == operand else if_false
            case 0x35:
                position += if_true if accumulator >= operand else if_false
            case 0x06:
                if operand == 0x7FFF_0000:
                    return _ALLOW
                if operand == 0x8000_0000:
                    return _KILL
                assert operand >> 16 == 0x0005
                return errno.errorcode[operand & 0xFFFF]
            case _:
                raise AssertionError(f"no such instruction: {code:#x}")


def _verdict(of: Machine, name: str, *arguments: int, process: int = 1, sockets: bool = False) -> str:
    return _interpret(seccomp.build(of, process, sockets=sockets), of.numbers[name], of.audit, arguments)


_CALLS = [
    # call, arguments, verdict
    ("read", (0,), _ALLOW),
    ("exit_group", (0,), _ALLOW),
    ("execve", (), "EPERM"),
    ("socket", (2, 1), "EPERM"),
    ("ptrace", (), "EPERM"),
    ("io_uring_setup", (), "EPERM"),
    ("clone3", (), "ENOSYS"),
    ("openat2", (), "ENOSYS"),
    ("listxattr", (), "ENOTSUP"),
    # pthread_create by glibc, by musl, and by Go; then a fork, a vfork, a thread with a namespace, half a thread
    ("clone", (0x3D0F00,), _ALLOW),
    ("clone", (0x7D0F00,), _ALLOW),
    ("clone", (0x050F00,), _ALLOW),
    ("clone", (0x1200011,), "EPERM"),
    ("clone", (0x4111,), "EPERM"),
    ("clone", (0x3D0F00 | 0x1000_0000,), "EPERM"),
    ("clone", (0x3D0F00 | 0x2000_0000,), "EPERM"),
    ("clone", (0x3D0F00 & ~0x10000,), "EPERM"),
    ("clone", (0x3D0F00 | 17,), "EPERM"),
    # a private file, private memory, a shared file; then shared memory, a growing stack, huge pages
    ("mmap", (0, 1, 1, 0x02), _ALLOW),
    ("mmap", (0, 1, 3, 0x22), _ALLOW),
    ("mmap", (0, 1, 3, 0x20022), _ALLOW),
    ("mmap", (0, 1, 3, 0x01), _ALLOW),
    ("mmap", (0, 1, 3, 0x21), "EPERM"),
    ("mmap", (0, 1, 3, 0x23), "EPERM"),
    ("mmap", (0, 1, 3, 0x122), "EPERM"),
    ("mmap", (0, 1, 3, 0x40022), "EPERM"),
    ("mmap", (0, 1, 3, 0x2022), "EPERM"),
    ("kill", (1, 9), _ALLOW),
    ("kill", (-1, 9), "EPERM"),
    ("kill", (0, 9), "EPERM"),
    ("tgkill", (1, 1, 6), _ALLOW),
    ("tgkill", (2, 2, 6), "EPERM"),
    ("prctl", (15,), _ALLOW),
    ("prctl", (22,), "EPERM"),
    ("prctl", (1,), "EPERM"),
    ("ioctl", (0, 0x5421), _ALLOW),
    ("ioctl", (0, 0x5412), "EPERM"),
    # The kernel reads 32 bits of a command, so what stands above them must not matter.
    ("ioctl", (0, 0x1_0000_5421), _ALLOW),
    ("ioctl", (0, 0x1_0000_5412), "EPERM"),
    ("fcntl", (0, 1030), _ALLOW),
    ("fcntl", (0, 1031), "EPERM"),
    ("fcntl", (0, 8), "EPERM"),
    ("futex", (0, 0x80 | 9 | 256), _ALLOW),
    ("futex", (0, 6), "EPERM"),
    ("getsockopt", (4, 1, 4), _ALLOW),
    ("getsockopt", (4, 1, 77), "EPERM"),
    ("getsockopt", (4, 6, 4), "EPERM"),
    ("prlimit64", (0, 7), _ALLOW),
    ("prlimit64", (1234, 7), "EPERM"),
]


@both
@pytest.mark.parametrize(("name", "arguments", "verdict"), _CALLS)
def test_verdict_on_a_call(of: Machine, name: str, arguments: tuple[int, ...], verdict: str) -> None:
    assert _verdict(of, name, *arguments) == verdict


_CALLS_WITH_SOCKETS = [
    # inet and inet6, of no protocol and of TCP, with the flags that Python and asyncio set
    ("socket", (2, 1), _ALLOW),
    ("socket", (10, 1), _ALLOW),
    ("socket", (2, 0x80801, 6), _ALLOW),
    ("socket", (10, 0x80001, 6), _ALLOW),
    # datagrams, raw, another protocol, a flag that there may be one day; local, netlink, packets
    ("socket", (2, 2), "EPERM"),
    ("socket", (2, 3, 6), "EPERM"),
    ("socket", (2, 1, 262), "EPERM"),
    ("socket", (2, 1, 17), "EPERM"),
    ("socket", (2, 0x100001), "EPERM"),
    ("socket", (1, 1), "EPERM"),
    ("socket", (0x1_0000_0001, 1), "EPERM"),
    ("socket", (16, 3), "EPERM"),
    ("socket", (17, 3), "EPERM"),
    ("socket", (0, 1), "EPERM"),
    ("socketpair", (1, 1), "EPERM"),
    ("connect", (3,), _ALLOW),
    ("bind", (3,), "EPERM"),
    ("listen", (3,), "EPERM"),
    ("accept4", (3,), "EPERM"),
    ("setsockopt", (3, 6, 1), _ALLOW),
    ("setsockopt", (3, 1, 9), _ALLOW),
    ("setsockopt", (3, 6, 19), "EPERM"),
    ("setsockopt", (3, 1, 26), "EPERM"),
    ("setsockopt", (3, 1, 8), "EPERM"),
    ("setsockopt", (3, 0, 1), "EPERM"),
    ("setsockopt", (3, 41, 1), "EPERM"),
    ("getsockopt", (3, 1, 4), _ALLOW),
    ("getsockopt", (3, 6, 1), _ALLOW),
    ("getsockopt", (3, 1, 77), "EPERM"),
]


@both
@pytest.mark.parametrize(("name", "arguments", "verdict"), _CALLS_WITH_SOCKETS)
def test_verdict_on_a_call_of_a_worker_with_sockets(
    of: Machine, name: str, arguments: tuple[int, ...], verdict: str
) -> None:
    assert _verdict(of, name, *arguments, sockets=True) == verdict


@both
def test_sockets_change_no_other_verdict(of: Machine) -> None:
    changed = {"socket", "connect", "setsockopt", "getsockopt"}
    for name in of.numbers.keys() - changed:
        for first in (0, 1, 0x1200011):
            assert _verdict(of, name, first, sockets=True) == _verdict(of, name, first)


@both
def test_another_machines_calls_kill(of: Machine) -> None:
    other = 0x4000_0003  # i386
    assert _interpret(seccomp.build(of, 1), of.numbers["read"], other, ()) == _KILL


def test_numbers_of_the_x32_abi_kill() -> None:
    of = machine("x86_64")
    for number in (0x4000_0000, 0x4000_0000 | of.numbers["read"], 0x4000_0000 | 520, -1):
        assert _interpret(seccomp.build(of, 1), number, of.audit, ()) == _KILL


@both
def test_a_process_outside_of_a_pid_namespace_may_signal_only_itself(of: Machine) -> None:
    assert _verdict(of, "kill", 4711, 15, process=4711) == _ALLOW
    assert _verdict(of, "kill", 1, 15, process=4711) == "EPERM"


@both
def test_every_number_is_judged_by_the_list_and_unknown_ones_are_refused(of: Machine) -> None:
    program = seccomp.build(of, 1)
    names = {number: name for name, number in of.numbers.items()}
    for number in range(1200):
        name = names.get(number, "")
        verdict = _interpret(program, number, of.audit, ())
        if name in seccomp._ALWAYS:
            assert verdict == _ALLOW, name
        elif name in seccomp._ERRNOS:
            assert verdict == errno.errorcode[seccomp._ERRNOS[name]], name
        elif name not in seccomp._CONDITIONAL and name not in {"kill", "tgkill"}:
            assert verdict == "EPERM", name or number


def test_every_name_of_the_lists_is_a_system_call() -> None:
    known = set().union(*(of.numbers for of in _MACHINES))
    assert seccomp._ALWAYS | seccomp._ERRNOS.keys() | seccomp._CONDITIONAL.keys() <= known


def test_no_call_is_on_two_lists() -> None:
    assert not seccomp._ALWAYS & (seccomp._ERRNOS.keys() | seccomp._CONDITIONAL.keys())
    assert not seccomp._ERRNOS.keys() & seccomp._CONDITIONAL.keys()


def test_a_machine_without_a_table_is_named() -> None:
    with pytest.raises(IsolationError, match="riscv64"):
        machine("riscv64")


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"),
    [
        ("read", 0, 63),
        ("openat", 257, 56),
        ("clone", 56, 220),
        ("seccomp", 317, 277),
        ("landlock_restrict_self", 446, 446),
    ],
)
def test_numbers_are_the_kernels(name: str, x86_64: int, aarch64: int) -> None:
    assert [of.numbers[name] for of in _MACHINES] == [x86_64, aarch64]


def test_the_assembler_jumps_further_than_a_byte_reaches() -> None:
    program = bpf.Program()
    program.load(bpf.NUMBER_OFFSET)
    program.if_equal(1, "far")
    for _ in range(600):
        program.give(0x8000_0000)
    program.label("far")
    program.give(0x7FFF_0000)
    assert _interpret(program.assemble(), 1, 0, ()) == _ALLOW
    assert _interpret(program.assemble(), 2, 0, ()) == _KILL
