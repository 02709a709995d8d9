"""`kill -9` in the middle of writing: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tenantry.services import ServiceSettings
from tenantry.services.kv import SERVICE
from tenantry.streams import read_all

# Small puts, large puts and deletes at once, each acknowledged on a line of its own once it is done.
WRITER = """
import asyncio, os, sys
from pathlib import Path
from tenantry.services import ServiceSettings
from tenantry.services.kv import SERVICE

async def work(kv, worker):
    for index in range(1_000_000):
        key = f"{worker}-{index}"
        size = 70_000 + index if worker == 0 else index % 500
        await kv.call("put", [key, (key.encode() * (size // len(key) + 1))])
        lines = f"put {key}\\n"
        if index % 3 == 2:
            await kv.call("delete", [f"{worker}-{index - 1}"])
            lines += f"delete {worker}-{index - 1}\\n"
        os.write(1, lines.encode())

async def main():
    kv = SERVICE(ServiceSettings(Path(sys.argv[1]), sys.argv[2])).open("n")
    await asyncio.gather(*(work(kv, worker) for worker in range(6)))

asyncio.run(main())
"""


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_every_acknowledged_write_is_there_after_kill_9(tmp_path: Path, durability: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), durability], stdout=subprocess.PIPE)
    assert process.stdout is not None
    acknowledged = [process.stdout.readline() for _ in range(400)]
    os.kill(process.pid, signal.SIGKILL)
    acknowledged += process.stdout.readlines()
    process.stdout.close()
    process.wait()

    state: dict[str, str] = {}
    # The last key of each worker: its next step, which nobody acknowledged, may have deleted it.
    doubtful: dict[str, str] = {}
    for line in acknowledged:
        if line.endswith(b"\n"):
            operation, key = line.decode().split()
            state[key] = operation
            if operation == "put":
                doubtful[key.partition("-")[0]] = key
    assert len(state) >= 300

    service = SERVICE(ServiceSettings(tmp_path, durability))
    kv = service.open("n")
    listed: set[str] = set()
    cursor = None
    while True:
        body = await kv.call("list", [None, None, cursor])
        page = json.loads(body if isinstance(body, bytes) else await read_all(body, 2**24))
        listed |= {key["name"] for key in page["keys"]}
        if page["list_complete"]:
            break
        cursor = page["cursor"]
    for key, operation in state.items():
        if key in doubtful.values():
            continue
        assert (key in listed) == (operation == "put"), (key, operation)
    for key in listed:
        value = await kv.call("get", [key])
        value = value if isinstance(value, bytes) else await read_all(value, 2**24)
        worker, index = (int(part) for part in key.split("-"))
        size = 70_000 + index if worker == 0 else index % 500
        assert value == key.encode() * (size // len(key) + 1)
    # And the survivor takes writes.
    await kv.call("put", ["after", b"value"])
    await service.aclose()
