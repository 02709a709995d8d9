"""A host on a machine that lacks a layer: seccomp makes one system call fail, then the zygote is started.

python crippled.py ARENA ISOLATION CALL ERRNO    prints the layer that the IsolationError names
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import drive

from tenantry.errors import IsolationError
from tenantry.sandbox import bpf, libc, seccomp
from tenantry.sandbox.syscalls import this_machine


def forbid(name: str, errno: int) -> None:
    program = bpf.Program()
    program.load(bpf.NUMBER_OFFSET)
    program.if_equal(this_machine().numbers[name], "forbidden")
    program.give(0x7FFF_0000)
    program.label("forbidden")
    program.give(0x0005_0000 | errno)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(program.assemble())


async def main(arena: Path, isolation: str) -> None:
    try:
        zygote = await drive.Zygote.start(drive.make_policy(arena, isolation))
    except IsolationError as error:
        print(error.layer)
    else:
        await zygote.aclose()
        print("nothing was missed")


forbid(sys.argv[3], int(sys.argv[4]))
asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
