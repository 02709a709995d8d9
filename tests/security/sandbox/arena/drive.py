"""A host of its own process: starts a zygote, runs every attack in a worker of its own, prints the outcomes as JSON.

python drive.py ARENA ISOLATION [NAME OF ONE ATTACK]
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]) / "packages"))
sys.path.insert(1, str(Path(__file__).parent))

from attacks import ATTACKS, FORBIDDEN_CALLS, SWEEP

from tenantry.sandbox import Isolation, SandboxPolicy, Zygote, process
from tenantry.sandbox.syscalls import this_machine


def make_policy(arena: Path, isolation: str) -> SandboxPolicy:
    level, _, sockets = isolation.partition("+")  # "strict+sockets"
    return SandboxPolicy(
        isolation=Isolation(level),
        sockets=bool(sockets),
        bundles=arena / "bundles",
        site=arena / "site",
        entry="attacker:run",
        prepare="attacker:prepare",
        preload=("json", "asyncio"),
        preload_path=(Path(__file__).parent,),
    )


async def attack(zygote: Zygote, arena: Path, code: str) -> str:
    worker = await zygote.spawn("mine", assignment(arena, code))
    answer = await read_line(worker)
    code_of_exit = await worker.exited
    worker.channel.close()
    return json.loads(answer) if answer else f"died {code_of_exit}"


def assignment(arena: Path, code: str, stay: bool = False) -> bytes:
    numbers = this_machine().numbers
    given = {
        "forbidden_calls": [name for name in FORBIDDEN_CALLS if name in numbers],
        "host_pid": os.getpid(),
        "bundles": str(arena / "bundles"),
        "other_bundle": str(arena / "bundles" / "other"),
        "source": str(arena / "packages"),
        "secret": str(arena / "secret.txt"),
    }
    return json.dumps({"code": code, "numbers": numbers, "given": given, "stay": stay}).encode()


async def read_line(worker: process.SandboxedProcess) -> bytes:
    loop = asyncio.get_running_loop()
    answer = b""
    while not answer.endswith(b"\n"):
        chunk = await loop.sock_recv(worker.channel, 65536)
        if not chunk:
            break
        answer += chunk
    return answer


def seen_from_outside(pid: int) -> dict[str, object]:
    """What the host's /proc says of a worker."""
    proc = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines() if ":\t" in line)
    wanted = ("NoNewPrivs", "Seccomp", "CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb", "Uid", "Groups", "NSpid")
    seen: dict[str, object] = {name: status[name].strip() for name in wanted}
    try:
        ours = {name.name: os.readlink(name) for name in Path("/proc/self/ns").iterdir()}
        seen["shared_namespaces"] = sorted(name for name in ours if os.readlink(proc / "ns" / name) == ours[name])
        seen["environ"] = (proc / "environ").read_text()
    except PermissionError:
        seen["shared_namespaces"] = None  # not dumpable: an ordinary user may not look
    return seen


async def main(arena: Path, isolation: str, only: str | None) -> dict[str, object]:
    zygote = await Zygote.start(make_policy(arena, isolation))
    try:
        outcomes: dict[str, str] = {}
        limit = asyncio.Semaphore(4)

        async def one(name: str) -> None:
            async with limit:
                outcomes[name] = await attack(zygote, arena, ATTACKS[name].code)

        async with asyncio.TaskGroup() as group:
            for name in [only] if only else ATTACKS:
                group.create_task(one(name))
        swept = await attack(zygote, arena, SWEEP)
        worker = await zygote.spawn("mine", assignment(arena, "result = 1", stay=True))
        await read_line(worker)
        outside = seen_from_outside(worker.pid)
        worker.channel.close()
        return {"outcomes": outcomes, "calls": ast.literal_eval(swept.removeprefix("= ")), "outside": outside}
    finally:
        await zygote.aclose()


if __name__ == "__main__":
    found = asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None))
    print(json.dumps(found))
