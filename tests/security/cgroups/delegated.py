"""A host in a cgroup that is delegated to it: `delegated.py CGROUP LEVEL FOLDER` prints what it saw, as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tenantry.doctor.arena import open_arena
from tenantry.doctor.attacks.model import Attack
from tenantry.sandbox import CgroupTree, Isolation, SandboxedProcess, SandboxPolicy, Zygote
from tenantry.sandbox.cgroups import find_delegated

MIB = 1 << 20

_SHELL = '''
def run(channel, assignment):
    """Does what the channel says, one line of Python at a time, and answers each."""
    for line in channel.makefile("rb"):
        exec(line.decode())
        channel.sendall(b"done")
'''


async def _seen_in_a_worker(level: str) -> dict[str, Any]:
    """A real Worker: where its process is, what the cgroup says, and what comes of too much memory."""
    async with open_arena(level) as arena:
        attacker = arena.deploy(Attack(id="", name="hungry"))
        await arena.outcome(attacker, "result = 1")
        (pid,) = arena.pids(attacker)
        folder = _cgroup_of(pid)
        seen = {
            "members": (folder / "cgroup.procs").read_text().split() == [str(pid)],
            "host": _cgroup_of(os.getpid()).name,
            "memory.max": int((folder / "memory.max").read_text()),
            "swap": _read(folder / "memory.swap.max"),
            "pids.max": (folder / "pids.max").read_text().strip(),
            "weights": [_read(each / "cpu.weight") for each in (folder, _cgroup_of(os.getpid()))],
            "outcome": await arena.outcome(attacker, "held = []\nwhile True: held.append(b'x' * (8 << 20))"),
            "logs": [text for event in arena.logs if event.worker == attacker.name for text in event.messages],
        }
        while folder.exists():
            await asyncio.sleep(0.01)
        return seen


async def _killed_by_the_kernel(level: str, folder: Path) -> dict[str, Any]:
    """Processes with no host that watches them: the kernel alone ends the one that is too large."""
    for name in ("bundles/mine", "site", "preload"):
        (folder / name).mkdir(parents=True)
    (folder / "preload" / "shell.py").write_text(_SHELL)
    policy = SandboxPolicy(
        isolation=Isolation(level),
        bundles=folder / "bundles",
        site=folder / "site",
        entry="shell:run",
        preload_path=(folder / "preload",),
    )
    tree = CgroupTree(_parent_of(_cgroup_of(os.getpid())))
    zygote = await Zygote.start(policy, tree)
    try:
        hungry, other = [await zygote.spawn("mine", b"") for _ in range(2)]
        for process in (hungry, other):
            process.limit_memory(32 * MIB)
        await _tell(hungry, "x = b'x' * (16 << 20)")
        await _tell(hungry, "x = b'x' * (160 << 20)")
        code = await hungry.exited
        await _tell(other, "x = b'x' * (16 << 20)")
        other.kill()
        await other.exited
        return {
            "code": code,
            "for memory": hungry.was_out_of_memory(),
            "the other for memory": other.was_out_of_memory(),
        }
    finally:
        await zygote.aclose()
        tree.close()


async def _tell(process: SandboxedProcess, line: str) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(process.channel, f"{line}\n".encode())
    await loop.sock_recv(process.channel, 100)


def _cgroup_of(pid: int) -> Path:
    line = next(line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    root = next(
        cells[1] for cells in map(str.split, Path("/proc/mounts").read_text().splitlines()) if cells[2] == "cgroup2"
    )
    return Path(root) / line[4:]


def _parent_of(host: Path) -> Path:
    assert host.name == "host"
    return host.parent


def _read(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def main(cgroup: str, level: str, folder: str) -> None:
    (Path(cgroup) / "cgroup.procs").write_text(str(os.getpid()))
    found = find_delegated() == Path(cgroup)
    worker = asyncio.run(_seen_in_a_worker(level))
    killed = asyncio.run(_killed_by_the_kernel(level, Path(folder)))
    left = [path.name for path in (Path(cgroup) / "workers").iterdir() if path.is_dir()]
    print(json.dumps({"found": found, "worker": worker, "killed": killed, "left": left}))


main(*sys.argv[1:])
