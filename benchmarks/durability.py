"""Acknowledged writes a second, beside what the disk itself does.

    python -m benchmarks.durability [--seconds 3] [--folder DIR]

The disk's figure is a loop that appends 4 KiB to one file and calls fdatasync, alone: with `full`, one writer of a
service cannot be faster than that, and many are because they share a sync. Writes results/durability.json. Exit
status: 0 measured, 1 something could not be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from tenantry.services import Binding, ServiceSettings
from tenantry.services.installed import InstalledServices

__all__ = ["main"]

_RESULTS: Final = Path(__file__).with_name("results")
_CONCURRENCY: Final = (1, 32, 256)
_VALUE: Final = b"x" * 100
_BLOCK: Final = b"x" * 4096

_Put = Callable[[Binding, str], Awaitable[Any]]  # Any: what the service answers


class Row(msgspec.Struct, frozen=True):
    """One entry of results/durability.json. `of_disk` is `per_second` in units of the disk's own syncs."""

    service: str
    durability: str
    concurrency: int
    per_second: float
    of_disk: float


class Results(msgspec.Struct, frozen=True):
    date: str
    disk_syncs_per_second: float
    rows: list[Row]


def disk_syncs(folder: Path, seconds: float) -> float:
    """How often a second a block can be appended and synced."""
    descriptor = os.open(folder / "disk", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            os.write(descriptor, _BLOCK)
            os.fdatasync(descriptor)
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


async def _kv(binding: Binding, key: str) -> Any:
    return await binding.call("put", [key, _VALUE])


async def _r2(binding: Binding, key: str) -> Any:
    return await binding.call("put", [key, _VALUE])


async def _d1(binding: Binding, key: str) -> Any:
    request = {"statements": [["INSERT OR REPLACE INTO t VALUES (?, ?)", [key, _VALUE.decode()]]]}
    return await binding.call("query", [json.dumps(request).encode()])


_PUTS: Final[dict[str, _Put]] = {"kv": _kv, "r2": _r2, "d1": _d1}


async def rate(binding: Binding, put: _Put, concurrency: int, seconds: float) -> float:
    """Writers that each wait for their acknowledgement before the next write."""
    done = 0
    began = time.perf_counter()

    async def writer(name: int) -> None:
        nonlocal done
        number = 0
        while time.perf_counter() - began < seconds:
            await put(binding, f"{name}-{number % 1000}")
            number += 1
            done += 1

    await asyncio.gather(*(writer(name) for name in range(concurrency)))
    return done / (time.perf_counter() - began)


async def measure(folder: Path, seconds: float) -> Results:
    disk = disk_syncs(folder, seconds)
    rows = []
    for durability in ("full", "process"):
        services = InstalledServices(ServiceSettings(folder / durability, durability))
        for name, put in _PUTS.items():
            for concurrency in _CONCURRENCY:
                binding = services.by_name[name].open(f"resource-{concurrency}")
                if name == "d1":
                    create = {"statements": [["CREATE TABLE t (key TEXT PRIMARY KEY, value TEXT)", []]]}
                    await binding.call("query", [json.dumps(create).encode()])
                await put(binding, "first")
                per_second = await rate(binding, put, concurrency, seconds)
                rows.append(Row(name, durability, concurrency, round(per_second, 1), round(per_second / disk, 2)))
        await services.aclose()
    return Results(datetime.now(UTC).isoformat(timespec="seconds"), round(disk, 1), rows)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Acknowledged writes a second, beside what the disk itself does.")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    parser.add_argument("--folder", type=Path, help="where to write; the disk under it is what is measured")
    options = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="tenantry-durability-", dir=options.folder))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            results = runner.run(measure(work, options.seconds))
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"the disk alone: {results.disk_syncs_per_second:,.0f} syncs/s")
    print(f"{'':<12}{'writers':>8}{'puts/s':>12}{'of the disk':>14}")
    for row in results.rows:
        label = f"{row.service} {row.durability}"
        print(f"{label:<12}{row.concurrency:>8}{row.per_second:>12,.0f}{row.of_disk:>13,.1f}x")
    (_RESULTS / "durability.json").write_bytes(msgspec.json.format(msgspec.json.encode(results)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
