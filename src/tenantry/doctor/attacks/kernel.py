"""Chapter 3: processes, signals, kernel surface. Single system calls are in `syscalls`."""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import crash_loop, killed_from_outside, nothing_left, posture, threads_seen_from_outside

__all__ = ["KERNEL"]

_CRASHED: Final = "! WorkerCrashed"

# socket(2) as machine code in memory that is writable and executable: a compiler inside the sandbox gains nothing.
_MACHINE_CODE: Final = """
codes = {'x86_64': 'b829000000bf02000000be0100000031d20f05c3', 'aarch64': '400080d2210080d2020080d2c81880d2010000d4c0035fd6'}
code = bytes.fromhex(codes[os.uname().machine])
page = syscall('mmap', 0, 4096, 7, 0x22, -1, 0)
ctypes.memmove(page, code, len(code))
result = ctypes.CFUNCTYPE(ctypes.c_long)(page)()
"""

_IGNORE_EVERYTHING: Final = """
import faulthandler, signal, threading, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
for _ in range(20): threading.Thread(target=time.sleep, args=(10 ** 6,)).start()
"""

_SOCKETS: Final = [
    ("K19", "netlink", 16, 3),
    ("K19", "packet", 17, 3),
    ("K22", "inet", 2, 1),
    ("K22", "inet udp", 2, 2),
    ("K22", "inet6", 10, 1),
    ("K22", "raw", 2, 3),
    ("K22", "unix", 1, 1),
    ("K22", "vsock", 40, 1),
    ("K22", "alg", 38, 5),
    ("K22", "nf_tables by netlink", 16, 3),
    ("K22", "tipc", 30, 1),
    ("K22", "xdp", 44, 3),
]

KERNEL: Final[tuple[Attack, ...]] = (
    attack("K1", "a bomb of forks", "while True: os.fork()", "EPERM"),
    attack("K1", "a process by clone", "syscall('clone', 17, 0, 0, 0, 0)", "EPERM"),
    attack("K1", "a sharing process by clone", "syscall('clone', 0x100 | 17, 0, 0, 0, 0)", "EPERM"),
    attack("K1", "run a program", "import subprocess; subprocess.run(['/bin/true'])", "EPERM"),
    attack("K1", "posix_spawn", "os.posix_spawn('/bin/true', ['true'], {})", "EPERM"),
    attack("K1", "multiprocessing", "import multiprocessing; multiprocessing.Process(target=print).start()", "EPERM"),
    attack("K1", "a bomb of threads", "import threading, time\nfor _ in range(200): threading.Thread(target=time.sleep, args=(10 ** 6,), daemon=True).start()", "RuntimeError", outside=threads_seen_from_outside),
    attack("K2", "a daemon that outlives the request", "os.setsid(); os.fork()", "EPERM"),
    attack("K2", "outlive the zygote", "syscall('prctl', 1, 0, 0, 0, 0)", "EPERM"),
    attack("K2", "threads that go on when the process is ended", "import threading, time; [threading.Thread(target=time.sleep, args=(10 ** 6,)).start() for _ in range(40)]", "= None, gone", drive=killed_from_outside),
    attack("K3", "kill everyone", "os.kill(-1, 9)", "EPERM"),
    attack("K3", "kill the group", "os.kill(0, 9)", "EPERM"),
    attack("K3", "kill by guessed numbers", "result = set()\nfor n in {*range(2, 400)} - {os.getpid()}:\n    try: os.kill(n, 9)\n    except OSError as e: result.add(e.errno)", "= {1}"),
    attack("K3", "kill the host", "os.kill(host_pid, 9)", "EPERM"),
    attack("K3", "one's own number", "result = os.getpid()", "= 1", None),
    attack("K4", "ignore every signal", _IGNORE_EVERYTHING, "= None, gone", drive=killed_from_outside),
    attack("K4", "a fault handler that never returns", "import faulthandler; null = open('/dev/null', 'w'); faulthandler.enable(null); faulthandler.dump_traceback_later(0.01, repeat=True, file=null)", "= None, gone", drive=killed_from_outside),
    attack("K6", "children never waited for", "for _ in range(100): os.fork() or os._exit(0)", "EPERM"),
    attack("K7", "trace the host", "syscall('ptrace', 16, host_pid, 0, 0)", "EPERM"),
    attack("K9", "clone3, where a filter cannot see the flags", "syscall('clone3', 0, 0)", "ENOSYS"),
    attack("K9", "a thread with a user namespace", "syscall('clone', 0x50F00 | 0x10000000, 0, 0, 0, 0)", "EPERM"),
    attack("K9", "a user namespace", "syscall('unshare', 0x10000000)", "EPERM"),
    attack("K9", "namespaces, seen from outside", "", "= None", None, drive=posture("namespaces")),
    attack("K13", "another filter", "syscall('prctl', 22, 2, 0, 0, 0)", "EPERM"),
    attack("K13", "the memory map by prctl", "syscall('prctl', 35, 8, 0, 0, 0)", "EPERM"),
    attack("K13", "ambient capabilities", "syscall('prctl', 47, 2, 21, 0, 0)", "EPERM"),
    attack("K13", "another process's name", "b = ctypes.create_string_buffer(b'systemd'); result = syscall('prctl', 15, ctypes.addressof(b), 0, 0, 0)", "= 0, gone", drive=killed_from_outside),
    attack("K13", "the mode of seccomp", "result = syscall('prctl', 21, 0, 0, 0, 0)", "= 2"),
    attack("K14", "machine code that asks for a socket", _MACHINE_CODE, "= -1"),
    attack("K14", "a number of the x32 ABI", "libc = ctypes.CDLL(None); libc.syscall(ctypes.c_long(0x40000000 + 39)) if os.uname().machine == 'x86_64' else os.kill(os.getpid(), 9)", _CRASHED),
    attack("K14", "a call of the 32-bit ABI", "page = syscall('mmap', 0, 4096, 7, 0x22, -1, 0)\nif os.uname().machine != 'x86_64': os._exit(1)\ncode = bytes.fromhex('b814000000cd80c3'); ctypes.memmove(page, code, len(code)); result = ctypes.CFUNCTYPE(ctypes.c_long)(page)()", _CRASHED),
    *(attack(row, f"a socket: {name}", f"import socket; socket.socket({number}, {kind})", "EPERM") for row, name, number, kind in _SOCKETS),
    attack("K19", "interfaces by ioctl", "import fcntl; fcntl.ioctl(channel_of(peer), 0x8912, bytes(16))".replace("channel_of(peer)", "peer._socket.fileno()"), "EPERM"),
    attack("K19", "the host's name", "result = os.uname().nodename", "= 'worker'", None),
    attack("K22", "a pair of sockets", "import socket; socket.socketpair()", "EPERM"),
    attack("K22", "connect the channel", "peer._socket.connect('/x')", "EPERM"),
    attack("K22", "a second event loop", "import asyncio; asyncio.new_event_loop()", "EPERM"),
    attack("K22", "resolve a name", "import socket; socket.getaddrinfo('localhost', 80)", "gaierror|EAI.*|EPERM|ENOENT|E.*"),
    attack("K22", "type into a terminal", "import fcntl; fcntl.ioctl(0, 0x5412, b'x')", "EPERM"),
    attack("K22", "signals from a folder", "import fcntl; fcntl.fcntl(os.open('.', 0), 1026, 1)", "EPERM"),
    attack("K22", "signals by a descriptor's owner", "import fcntl; fcntl.fcntl(peer._socket.fileno(), 8, 1)", "EPERM"),
    attack("K22", "a larger pipe", "import fcntl; fcntl.fcntl(os.pipe()[0], 1031, 1 << 20)", "EPERM"),
    attack("K22", "dirty pipe: splice a file into a pipe", "r, w = os.pipe(); f = os.open('entry.py', 0); syscall('splice', f, 0, w, 0, 1, 0)", "EPERM"),
    attack("K22", "a handle on the host", "peer._socket.getsockopt(1, 77)", "EPERM"),
    attack("K22", "the host's user", "peer._socket.getsockopt(1, 17, 12)", "EPERM"),
    attack("K22", "a filter on the channel", "peer._socket.setsockopt(1, 26, b'x' * 16)", "EPERM"),
    attack("K22", "a priority-inheriting futex", "syscall('futex', 0, 6, 0, 0, 0, 0)", "EPERM"),
    attack("K22", "limits of others", "syscall('prlimit64', host_pid, 7, 0, 0)", "EPERM"),
    attack("K22", "raise a limit", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9999, 9999))", "ValueError"),
    attack("K23", "read address 0", "ctypes.string_at(0)", _CRASHED),
    attack("K23", "an instruction that is none", "page = syscall('mmap', 0, 4096, 7, 0x22, -1, 0); ctypes.memmove(page, b'\\x0f\\x0b\\x00\\x00', 4); ctypes.CFUNCTYPE(ctypes.c_long)(page)()", _CRASHED),
    attack("K23", "endless recursion", "sys.setrecursionlimit(10 ** 9)\ndef f(): return [f() for _ in (1,)]\nf()", f"{_CRASHED}|! LimitExceeded|MemoryError|RecursionError|SystemError", cpu_ms=500),
    attack("K23", "a deep repr", "import functools; sys.setrecursionlimit(10 ** 9); repr(functools.reduce(lambda a, _: [a], range(3 * 10 ** 5)))", _CRASHED),
    attack("K24", "a loop of crashes", "os._exit(1)", "! WorkerCrashed: .*held back.*", drive=crash_loop),
    attack("K6", "what is left when every attack is over", "", "= None", drive=nothing_left, alone=True),
)  # fmt: skip
