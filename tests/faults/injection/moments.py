"""The moments at which a process changes its files or answers, seen from outside, and its end by `kill -9` at one.

The kernel stops a thread of the process before each call that writes, syncs, renames, removes or makes a file, or that
sends on a socket, and asks us whether it may go on (seccomp_unotify(2)). So a kill comes at the n-th change of a folder
exactly, whichever library asks for it: Python, either SQLite, or what is written in Rust. The process is not told, and
runs as it is. What is sent over TCP are answers: a kill before one comes when all is done, and nobody was told. The
process may think that the answer is out as soon as it gave it to a thread: everything that it does then is let go on.

Run as a program, `moments.py DESCRIPTOR PROGRAM ARGUMENT…`, this puts itself under such a filter, waits until its
parent has fetched the other end of it, and becomes PROGRAM. Its children are under the filter too; their calls go on,
uncounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Final

from tenantry.sandbox import bpf, libc
from tenantry.sandbox.syscalls import Machine, this_machine

__all__ = ["ANSWER", "Moments", "why_not"]

ANSWER: Final = "answer"

_ON_DESCRIPTOR: Final = {
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "pwritev2", "ftruncate", "fallocate"), 0),
    **dict.fromkeys(("fsync", "fdatasync", "sendfile"), 0),
    "copy_file_range": 2,
}
"""Call → which of its arguments is the file that changes."""
_ON_SOCKET: Final = ("sendto", "sendmsg")
"""Besides `write` and `writev`."""
_ON_PATH: Final = dict.fromkeys(("rename", "unlink", "rmdir", "mkdir", "link", "truncate", "open", "creat"), 0)
_ON_PATH_IN_FOLDER: Final = dict.fromkeys(("renameat", "renameat2", "unlinkat", "mkdirat", "linkat", "openat"), 0)
"""The argument behind is the path."""
_OPENING: Final = {"open": 1, "openat": 2}
"""Which argument has the flags: to open what is there changes nothing."""

# linux/seccomp.h
_SET_MODE_FILTER: Final = 1
_FLAG_NEW_LISTENER: Final = 1 << 3
_ASK: Final = 0x7FC0_0000
_ALLOW: Final = 0x7FFF_0000
_RECEIVE: Final = 0xC050_2100
_SEND: Final = 0xC018_2101
_CONTINUE: Final = 1
_QUESTION: Final = struct.Struct("=QIIiIQ6Q")
_ANSWER: Final = struct.Struct("=QqiI")

_PATH_BYTES_MAX: Final = 4096
_QUIET_MS: Final = 200
"""Whoever changes nothing for so long has done what there was to do."""
_HELD_SECONDS_MAX: Final = 2.0
_AT_FDCWD: Final = 0xFFFF_FF9C


class Moments:
    """Starts a program, and counts its changes below `folder` while armed. One use; `close` it when it has ended."""

    def __init__(self, folder: Path, command: Sequence[str], environment: Mapping[str, str], output: IO[bytes]) -> None:
        self._folder = str(folder)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno()), *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
            theirs.close()
            ours.recv(1)  # it writes nothing from now on: nobody would let it
            self._listener = self._copy_of(self._listener_there())
            ours.send(b".")
        self._names = {number: name for name, number in this_machine().numbers.items()}
        self._lock = threading.Lock()
        self._left = 0
        self._of = ""
        self.names: list[str] = []
        """The moments since it was armed: the call, and the file below the folder; or `answer`."""
        self.killed_at: str | None = None
        """The moment that it was killed before."""
        self._thread = threading.Thread(target=self._answer_all, name="moments")
        self._thread.start()

    def arm(self, nth: int, of: str = "") -> None:
        """Kill it before its nth moment from now on, counting those only whose name begins with `of`."""
        with self._lock:
            self._left = nth
            self._of = of
            self.names = []
            self.killed_at = None

    def disarm(self) -> None:
        with self._lock:
            self._left = 0

    def close(self) -> None:
        """After the end of the process and of all its children."""
        self._thread.join()
        os.close(self._listener)

    def _answer_all(self) -> None:
        try:
            self._answer_each()
        except BaseException:
            # Nobody would answer any more: it would stand still for ever.
            self.process.kill()
            raise

    def _answer_each(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        held_until: float | None = None
        while True:
            ready = poll.poll(None if held_until is None else _QUIET_MS)
            if held_until is not None and (not ready or time.monotonic() >= held_until):
                held_until = None
                os.kill(self.process.pid, signal.SIGKILL)
                continue
            [(_, events)] = ready
            if not events & select.POLLIN:  # nobody is under the filter any more
                return
            question = bytearray(_QUESTION.size)
            # One that was killed meanwhile is asked for no more.
            with contextlib.suppress(FileNotFoundError):
                fcntl.ioctl(self._listener, _RECEIVE, question)
                key, thread, _, number, _, _, *arguments = _QUESTION.unpack(question)
                if not self._is_the_end(thread, self._names[number], arguments):
                    fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(key, 0, 0, _CONTINUE))
                elif self.killed_at == ANSWER:
                    held_until = time.monotonic() + _HELD_SECONDS_MAX
                else:
                    os.kill(self.process.pid, signal.SIGKILL)

    def _is_the_end(self, thread: int, name: str, arguments: Sequence[int]) -> bool:
        with self._lock:
            if not self._left or not os.path.exists(f"/proc/{self.process.pid}/task/{thread}"):
                return False
            path = _path_of(thread, name, arguments)
            if path.startswith(self._folder):
                moment = f"{name} {path.removeprefix(self._folder)}"
            elif path.startswith("socket:") and self._is_tcp(arguments[0]):
                moment = ANSWER
            else:
                return False
            self.names.append(moment)
            if not moment.startswith(self._of):
                return False
            self._left -= 1
            if self._left:
                return False
            self.killed_at = self.names[-1]
            return True

    def _is_tcp(self, descriptor: int) -> bool:
        try:
            with socket.socket(fileno=self._copy_of(descriptor)) as copy:
                return copy.family in (socket.AF_INET, socket.AF_INET6)
        except OSError:  # it was closed meanwhile
            return False

    def _listener_there(self) -> int:
        folder = f"/proc/{self.process.pid}/fd"
        for name in os.listdir(folder):
            if "seccomp" in os.readlink(f"{folder}/{name}"):
                return int(name)
        raise AssertionError("the launcher ended before it was under the filter: its words are in the log")

    def _copy_of(self, descriptor: int) -> int:
        process = os.pidfd_open(self.process.pid)
        try:
            return libc.syscall("pidfd_getfd", process, descriptor, 0)
        finally:
            os.close(process)


def _path_of(thread: int, name: str, arguments: Sequence[int]) -> str:
    """What a call would change. Empty for what is no file, or gone."""
    try:
        if name in _ON_DESCRIPTOR or name in _ON_SOCKET:
            return os.readlink(f"/proc/{thread}/fd/{arguments[_ON_DESCRIPTOR.get(name, 0)]}")
        if name in _ON_PATH:
            return os.path.join(os.readlink(f"/proc/{thread}/cwd"), _text(thread, arguments[0]))
        folder = arguments[0] & 0xFFFF_FFFF
        where = "cwd" if folder == _AT_FDCWD else f"fd/{folder}"
        return os.path.join(os.readlink(f"/proc/{thread}/{where}"), _text(thread, arguments[1]))
    except OSError:
        return ""


def _text(thread: int, address: int) -> str:
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        # The page behind it may not be there: a short read then.
        return os.fsdecode(memory.read(_PATH_BYTES_MAX).partition(b"\0")[0])


# In the process.


def _filter(machine: Machine) -> bytes:
    numbers = machine.numbers
    program = bpf.Program()
    program.load(bpf.ARCH_OFFSET)
    program.unless_equal(machine.audit, "go on")
    program.load(bpf.NUMBER_OFFSET)
    for name in (*_ON_DESCRIPTOR, *_ON_SOCKET, *_ON_PATH, *_ON_PATH_IN_FOLDER):
        if name in numbers:
            program.if_equal(numbers[name], f"flags of {name}" if name in _OPENING else "ask")
    program.jump("go on")
    for name, argument in _OPENING.items():
        if name in numbers:
            program.label(f"flags of {name}")
            program.load(bpf.argument_offset(argument))
            program.mask(os.O_CREAT)
            program.if_equal(os.O_CREAT, "ask")
            program.jump("go on")
    program.label("ask")
    program.give(_ASK)
    program.label("go on")
    program.give(_ALLOW)
    return program.assemble()


def _listen() -> int:
    """Puts this process under the filter. Gives the descriptor that its questions come from."""
    if os.geteuid() != 0:
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    program = _filter(this_machine())
    instructions = ctypes.create_string_buffer(program, len(program))
    argument = struct.pack("@HP", len(program) // 8, ctypes.addressof(instructions))
    return libc.syscall("seccomp", _SET_MODE_FILTER, _FLAG_NEW_LISTENER, argument)


@cache
def why_not() -> str | None:
    """Why this machine cannot, or None."""
    tried = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    return None if tried.returncode == 0 else f"no seccomp notifications here: {tried.stderr.strip()[-200:]}"


def main(arguments: list[str]) -> None:
    _listen()  # the descriptor is closed by what comes next
    if not arguments:
        os._exit(0)  # asked only whether it can; nobody would answer what an orderly end writes
    channel, *command = arguments
    parent = socket.socket(fileno=int(channel))
    parent.shutdown(socket.SHUT_WR)
    parent.recv(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
