"""Chapter 4: CPU, memory, time, output. The host measures, and ends what goes too far."""

# ruff: noqa: E501 - a table, one attack a line

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.model import Attack, attack
from tenantry.doctor.drives import (
    clock_turned_on,
    cold_starts,
    compressed_answer,
    cpu_after_the_answer,
    endless_answer,
    many_requests,
    memory_seen_from_outside,
    recursion,
    swap,
    unread_body,
)

__all__ = ["RESOURCES"]

_ENDED: Final = "! LimitExceeded"
_CPU_MS: Final = 60

_SPINS: Final = [
    ("R1", "a loop in Python", "while True: pass"),
    ("R1", "a loop that swallows exceptions", "while True:\n    try: 1 / 0\n    except BaseException: pass"),
    ("R1", "a loop that never lets go of its tasks", "import asyncio\nwhile True: await asyncio.sleep(0)"),
    ("R2", "a power", "10 ** 10 ** 8"),
    ("R2", "a regular expression", "import re; re.match(r'(a+)+$', 'a' * 64 + 'b')"),
    ("R2", "a sum", "sum(range(10 ** 15))"),
    ("R2", "a string of digits", "sys.set_int_max_str_digits(0); int('9' * 10 ** 7)"),
    (
        "R2",
        "a membership test",
        "range(10 ** 18).index(object()) if False else (10 ** 15 + 0.5) in map(float, range(10 ** 15))",
    ),
    ("R2", "a hash that is iterated", "import hashlib; hashlib.pbkdf2_hmac('sha512', b'x', b'y', 2 ** 31 - 1)"),
    (
        "R2",
        "compression of the same again",
        "import zlib, itertools; c = zlib.compressobj(9); any(c.compress(bytes(1 << 20)) == 0 for _ in itertools.repeat(0))",
    ),
    (
        "R22",
        "work in threads",
        "import threading, asyncio\ndef burn():\n    while True: pass\nfor _ in range(8): threading.Thread(target=burn).start()\nawait asyncio.sleep(10 ** 6)",
    ),
    (
        "R21",
        "lies about the clock",
        "import time; time.process_time = time.perf_counter = time.monotonic = time.thread_time = lambda: 0.0\nwhile True: pass",
    ),
]

_FOR_EVER: Final = [
    ("R4", "sleep in Python", "import time; time.sleep(10 ** 6)"),
    ("R4", "wait for what never comes", "import threading; threading.Event().wait()"),
    ("R4", "an await that never ends", "import asyncio; await asyncio.Event().wait()"),
    (
        "R4",
        "an await that ignores being told to stop",
        "import asyncio\nwhile True:\n    try: await asyncio.Event().wait()\n    except BaseException: pass",
    ),
]

RESOURCES: Final[tuple[Attack, ...]] = (
    *(attack(row, name, code, _ENDED, cpu_ms=_CPU_MS) for row, name, code in _SPINS),
    attack("R2", "nested JSON", "import json; json.loads('[' * 10 ** 6)", "RecursionError|! LimitExceeded", cpu_ms=1000),
    attack("R2", "a decompression bomb of its own", "import zlib; c = zlib.compressobj(1); data = b''.join(c.compress(bytes(1 << 20)) for _ in range(300)) + c.flush(); zlib.decompress(data)", "MemoryError|! LimitExceeded|! WorkerCrashed", cpu_ms=3000),
    attack("R3", "a loop at import", "", "! LimitExceeded|! WorkerCrashed", at_import="while True: pass", cpu_ms=_CPU_MS, drive=clock_turned_on, alone=True),
    attack("R3", "a sleep at import", "", "! LimitExceeded|! WorkerCrashed", at_import="import time; time.sleep(10 ** 6)", drive=clock_turned_on, alone=True),
    attack("R3", "an end at import", "", "! WorkerCrashed", at_import="os._exit(0)"),
    attack("R3", "an exception at import", "", "! WorkerCrashed", at_import="raise SystemExit(0)"),
    *(attack(row, name, code, "! LimitExceeded|! WorkerCrashed|= answered", drive=clock_turned_on, alone=True) for row, name, code in _FOR_EVER),
    attack("R6", "memory that forks would share", "import mmap; mmap.mmap(-1, 1 << 20)", "EPERM"),
    attack("R6", "a stack that grows", "syscall('mmap', 0, 1 << 20, 3, 0x122, -1, 0)", "EPERM"),
    attack("R6", "huge pages", "syscall('mmap', 0, 1 << 21, 3, 0x40022, -1, 0)", "EPERM"),
    attack("R6", "locked memory", "syscall('mmap', 0, 1 << 20, 3, 0x2022, -1, 0)", "EPERM"),
    attack("R6", "memory in pipes", "import fcntl\nheld = 0\ntry:\n    while True:\n        r, w = os.pipe(); os.set_blocking(w, False)\n        try:\n            while True: held += os.write(w, bytes(1 << 16))\n        except BlockingIOError: pass\nexcept OSError: result = held <= 256 << 16", "= True", outside=memory_seen_from_outside),
    attack("R6", "more memory than allowed", "result = bytearray(600 << 20)", "MemoryError", outside=memory_seen_from_outside),
    attack("R6", "all the memory that there is", "held = []\nwhile True: held.append(bytearray(1 << 20))", "MemoryError|! LimitExceeded|! WorkerCrashed", outside=memory_seen_from_outside),
    attack("R6", "memory made writable later", "a = syscall('mmap', 0, 600 << 20, 1, 0x22, -1, 0); syscall('mprotect', a, 600 << 20, 3)", "ENOMEM"),
    attack("R6", "the heap by brk", "libc = ctypes.CDLL(None, use_errno=True); libc.sbrk.restype = ctypes.c_long; result = libc.sbrk(ctypes.c_long(600 << 20))", "= -1"),
    attack("R7", "be swapped out", "held = bytearray(60 << 20)", "= None", drive=swap),
    attack("R8", "write every page that is inherited", "import gc; gc.unfreeze(); gc.collect(); held = [gc.get_objects() for _ in range(3)]", "= None", outside=memory_seen_from_outside),
    attack("R10", "thousands of requests at once", "import asyncio; await asyncio.sleep(10 ** 6)", "! Overloaded", drive=many_requests, alone=True),
    attack("R11", "many tenants woken at once", "result = 1", "= 1", drive=cold_starts, alone=True),
    attack("R13", "a body that is never read", "result = 'not read'", "= 'not read'", drive=unread_body),
    attack("R13", "a body that is never read while the Worker waits", "import asyncio; await asyncio.sleep(0.3); result = 'not read'", "= 'not read'", drive=unread_body),
    attack("R13", "an answer without end", "def forever():\n    while True: yield bytes(1 << 16)\nresponse = Response(forever())", "= 'ended'", drive=endless_answer),
    attack("R14", "a compression bomb as an answer", "import gzip, zlib; c = zlib.compressobj(9, wbits=31); response = Response(b''.join([*(c.compress(bytes(1 << 20)) for _ in range(32)), c.flush()]), headers={'content-encoding': 'gzip'})", "= 'passed on as it is'", drive=compressed_answer),
    attack("R17", "a Worker that calls itself without end", "from workers import Request\nanswer = await env.NS.get('NAME').fetch(Request('http://arena.test/', method='POST', headers={'x-code': request.headers.get('x-code')}))\nresponse = Response(await answer.text())", ".* deep.*", drive=recursion),
    attack("R18", "ten thousand binding calls", "for _ in range(10_000): await env.KV.get('k')", ".*Too many API requests.*", subrequests=50),
    attack("R18", "a thousand binding calls at once", "import asyncio; await asyncio.gather(*(env.KV.get('k') for _ in range(1000)))", ".*Too many API requests.*", subrequests=50),
    attack("R22", "work that goes on after the answer", "import threading\ndef burn():\n    while True: pass\nthreading.Thread(target=burn).start()", "= 'ended'", drive=cpu_after_the_answer, cpu_ms=100),
)  # fmt: skip
