"""Runs inside the sandbox: the entry of the attack tests. It executes the snippet it is assigned and tells the outcome.

The outcome is one line of JSON: the name of an errno, of an exception's class, or `= ` and the repr of `result`.
"""

import asyncio
import ctypes
import errno
import json
import os
import sys


def prepare():
    asyncio.set_event_loop(asyncio.new_event_loop())


def run(channel, assignment):
    order = json.loads(assignment)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long  # some give an address, of which an int is half

    def syscall(name, *arguments):
        """A raw system call, past everything that Python or glibc would say."""
        ctypes.set_errno(0)
        values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        result = libc.syscall(ctypes.c_long(order["numbers"][name]), *values)
        if result == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result

    names = {"syscall": syscall, "channel": channel, "ctypes": ctypes, "os": os, "sys": sys, **order["given"]}
    try:
        exec(order["code"], names)
        outcome = f"= {names.get('result')!r}"
    except OSError as error:
        outcome = errno.errorcode.get(error.errno, type(error).__name__)
    except BaseException as error:
        outcome = type(error).__name__
    channel.sendall(json.dumps(outcome).encode() + b"\n")
    if order["stay"]:
        channel.recv(1)
