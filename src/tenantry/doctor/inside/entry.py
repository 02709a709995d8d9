"""The Worker of the attack suite: it runs the snippet that a request carries, sealed, and says how that ended.

The answer is one line: the name of an errno, an exception's class and text, or `= ` and the repr of `result`. A snippet
that makes a `response` of its own answers with that instead.
"""

from __future__ import annotations

import ctypes
import errno
import inspect
import json
import os
import sys
from typing import Any

from workers import Response, WorkerEntrypoint

_TOP_LEVEL_AWAIT = 0x2000  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

with open("attack.json") as _file:
    _ATTACK = json.load(_file)
_LIBC = ctypes.CDLL(None, use_errno=True)


def syscall(name: str, *arguments: Any) -> int:  # integers, bytes and buffers
    """A raw system call, past everything that Python or glibc would say."""
    ctypes.set_errno(0)
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result: int = _LIBC.syscall(ctypes.c_long(_ATTACK["numbers"][name]), *values)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


_LIBC.syscall.restype = ctypes.c_long


class Default(WorkerEntrypoint):
    async def fetch(self, request: Any) -> Any:
        names: dict[str, Any] = {
            "syscall": syscall,
            "ctypes": ctypes,
            "os": os,
            "sys": sys,
            "env": self.env,
            "ctx": self.ctx,
            "request": request,
            "peer": self.ctx._invocation.worker.peer,  # its own channel is within every tenant's reach
            "Response": Response,
            **_ATTACK["given"],
        }
        code = compile(json.loads(request.headers.get("x-code")), "snippet", "exec", flags=_TOP_LEVEL_AWAIT)
        try:
            running = eval(code, names)  # noqa: S307 - what it is for
            if inspect.iscoroutine(running):
                await running
            if "response" in names:
                return names["response"]
            outcome = f"= {names.get('result')!r}"
        except OSError as error:
            outcome = errno.errorcode.get(error.errno or 0, f"{type(error).__name__}: {error}")
        except BaseException as error:  # noqa: BLE001 - any is an outcome
            outcome = f"{type(error).__name__}: {error}"
        return Response(outcome)


# Where the suite puts what is to happen at import.
