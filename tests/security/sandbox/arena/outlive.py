"""A host to be killed: starts a zygote and two workers, prints the process ids of its whole tree, and waits."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import drive


def children_of(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


async def main(arena: Path, isolation: str) -> None:
    zygote = await drive.Zygote.start(drive.make_policy(arena, isolation))
    for _ in range(2):
        await zygote.spawn("mine", drive.assignment(arena, "while True: __import__('time').sleep(60)"))
    print(json.dumps(children_of(os.getpid())), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
