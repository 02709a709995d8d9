"""A host whose workers have sockets: runs every attack in one of its own, and tells what it saw as JSON.

python drive_sockets.py ARENA
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(sys.argv[1]) / "packages"))
sys.path.insert(1, str(Path(__file__).parent))

from socket_attacks import ATTACKS

from tenantry.sandbox import Isolation, SandboxedProcess, SandboxPolicy, Zygote
from tenantry.sandbox.syscalls import this_machine

_AT_ONCE = 4


class Driver:
    def __init__(self, zygote: Zygote, host_port: int) -> None:
        self._zygote = zygote
        self._given = {"host_port": host_port, "abstract": "tenantry-arena"}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def run(self, code: str, *, sockets: bool = True) -> str:
        """The outcome of a snippet in a worker of its own, which nobody accepts from."""
        async with self._room:
            worker = await self.start(code, sockets=sockets)
            answer = await _read_line(worker)
            code_of_exit = await worker.exited
            close(worker)
            return json.loads(answer) if answer else f"died {code_of_exit}"

    async def start(self, code: str, *, sockets: bool = True, stay: bool = False) -> SandboxedProcess:
        order = {"code": code, "numbers": this_machine().numbers, "given": self._given, "stay": stay}
        return await self._zygote.spawn("mine", json.dumps(order).encode(), sockets=sockets)

    async def neighbours(self) -> dict[str, object]:
        """What arrives at the listeners of two workers when one of them connects."""
        quiet = await self.start("result = 1", stay=True)
        await _read_line(quiet)
        loud = await self.start(
            "import socket; socket.create_connection(('127.0.0.1', 3128)).sendall(b'loud')", stay=True
        )
        await _read_line(loud)
        seen: dict[str, object] = {}
        for name, worker in (("quiet", quiet), ("loud", loud)):
            try:
                with worker.listener.accept()[0] as accepted:
                    seen[name] = accepted.recv(100).decode()
            except BlockingIOError:
                seen[name] = None
            close(worker)
        return seen


def close(worker: SandboxedProcess) -> None:
    worker.channel.close()
    if worker.listener is not None:
        worker.listener.close()


async def _read_line(worker: SandboxedProcess) -> bytes:
    loop = asyncio.get_running_loop()
    answer = b""
    while not answer.endswith(b"\n"):
        chunk = await loop.sock_recv(worker.channel, 65536)
        if not chunk:
            break
        answer += chunk
    return answer


async def main(arena: Path) -> dict[str, object]:
    policy = SandboxPolicy(
        isolation=Isolation.STRICT,
        bundles=arena / "bundles",
        site=arena / "site",
        entry="attacker:run",
        prepare="attacker:prepare",
        preload=("json", "asyncio"),
        preload_path=(Path(__file__).parent,),
        sockets=True,
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        zygote = await Zygote.start(policy)
        try:
            driver = Driver(zygote, server.getsockname()[1])
            async with asyncio.TaskGroup() as group:
                running = {name: group.create_task(driver.run(code)) for name, (code, _) in ATTACKS.items()}
            server.setblocking(False)
            try:
                server.accept()[0].close()
                reached = True
            except BlockingIOError:
                reached = False
            return {
                "outcomes": {name: task.result() for name, task in running.items()},
                "host was reached": reached,
                "neighbours": await driver.neighbours(),
                # A zygote that can give sockets gives none to whom they were not promised.
                "without": await driver.run("import socket; socket.socket()", sockets=False),
            }
        finally:
            await zygote.aclose()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1])))))
