"""A hundred thousand of each kind of resource registered, a thousand of them active.

    python -m benchmarks.scale [--registered 100000] [--active 1000]

Registers KV namespaces, R2 buckets and D1 databases in the control store of a new data folder, in bulk; writes into the
active ones; gives each a Worker. Then it starts the platform on the folder, reads every active resource cold, in turns
that never find one still open, and counts the descriptors. Writes results/scale.json. Exit status: 0 measured (whether
or not a target is met), 1 something could not be.
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
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, insert, select

from benchmarks.failure import BenchmarkError
from benchmarks.ours import running_platform
from benchmarks.percentile import percentile
from tenantry.control import VAULT_FILE, Vault
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.schema import (
    d1_databases,
    deployment_versions,
    deployments,
    kv_namespaces,
    r2_buckets,
    scripts,
    versions,
)
from tenantry.services import Binding, ServiceSettings
from tenantry.services.installed import InstalledServices

__all__ = ["main"]

_RESULTS: Final = Path(__file__).with_name("results")
_WORKER: Final = Path(__file__).with_name("hello")
_ROWS: Final = 10_000
_START_SECONDS_MAX: Final = 3.0
_COLD_MS_MAX: Final = 5.0
_ROUNDS: Final = 2


class Figure(msgspec.Struct, frozen=True):
    """One entry of results/scale.json. `met` says whether `value` is at most `target`; both null: there is none."""

    name: str
    unit: str
    value: float
    target: float | None = None
    met: bool | None = None


def figure(name: str, unit: str, value: float, target: float | None = None) -> Figure:
    return Figure(name, unit, round(value, 3), target, None if target is None else value <= target)


def register(database: Database, account_id: str, count: int) -> None:
    """Rows as the REST API would write them."""
    made = now()
    for table, row in (
        (kv_namespaces, lambda number: {"id": f"{number:032x}", "title": f"kv-{number}"}),
        (
            r2_buckets,
            lambda number: {"name": f"bucket-{number}", "storage_class": "Standard", "jurisdiction": "default"},
        ),
        (d1_databases, lambda number: {"id": str(uuid.UUID(int=number)), "name": f"d1-{number}"}),
    ):
        for first in range(0, count, _ROWS):
            rows = [
                {**row(number), "account_id": account_id, "created_on": made}
                for number in range(first, min(first + _ROWS, count))
            ]
            with database.write() as connection:
                connection.execute(insert(table), rows)


def deploy(connection: Connection, count: int) -> str:
    """A Worker for each of the active resources, which are its bindings. They are the one that is there once more.

    Returns the account.
    """
    script = connection.execute(select(scripts)).one()._asdict()
    version = connection.execute(select(versions).where(versions.c.script_id == script["id"])).first()._asdict()
    deployment = (
        connection.execute(select(deployments).where(deployments.c.script_id == script["id"])).first()._asdict()
    )
    metadata = json.loads(version["metadata"])
    for number in range(count):
        named = names(number)
        metadata["bindings"] = [
            {"name": "KV", "type": "kv_namespace", "fields": {"namespace_id": named["kv"]}},
            {"name": "R2", "type": "r2_bucket", "fields": {"bucket_name": named["r2"]}},
            {"name": "D1", "type": "d1", "fields": {"id": named["d1"]}},
        ]
        ids = [f"{kind}{number:031x}" for kind in "abc"]
        row = {"id": ids[0], "name": f"worker-{number}", "deployment_id": ids[2]}
        connection.execute(insert(scripts).values(**{**script, **row}))
        row = {"id": ids[1], "script_id": ids[0], "metadata": json.dumps(metadata)}
        connection.execute(insert(versions).values(**{**version, **row}))
        connection.execute(insert(deployments).values(**{**deployment, "id": ids[2], "script_id": ids[0]}))
        connection.execute(insert(deployment_versions).values(deployment_id=ids[2], version_id=ids[1], percentage=100))
    return str(script["account_id"])


def names(number: int) -> dict[str, str]:
    return {"kv": f"{number:032x}", "r2": f"bucket-{number}", "d1": str(uuid.UUID(int=number))}


async def _kv_write(binding: Binding) -> None:
    await binding.call("put", ["key", b"value" * 20])


async def _kv_read(binding: Binding) -> None:
    assert await binding.call("get", ["key"]) is not None


async def _r2_write(binding: Binding) -> None:
    await binding.call("put", ["key", b"value" * 20])


async def _r2_read(binding: Binding) -> None:
    assert await binding.call("get", ["key"]) is not None


async def _d1_query(binding: Binding, *statements: str) -> Any:  # Any: JSON
    request = {"statements": [[sql, []] for sql in statements]}
    return json.loads(await binding.call("query", [json.dumps(request).encode()]))


async def _d1_write(binding: Binding) -> None:
    await _d1_query(binding, "CREATE TABLE t (key TEXT PRIMARY KEY, value TEXT)", "INSERT INTO t VALUES ('key', 'v')")


async def _d1_read(binding: Binding) -> None:
    assert (await _d1_query(binding, "SELECT value FROM t WHERE key = 'key'"))["results"][0]["rows"] == [["v"]]


_Use = Callable[[Binding], Awaitable[None]]
_USES: Final[dict[str, tuple[_Use, _Use]]] = {
    "kv": (_kv_write, _kv_read),
    "r2": (_r2_write, _r2_read),
    "d1": (_d1_write, _d1_read),
}


async def fill(folder: Path, active: int) -> None:
    services = InstalledServices(ServiceSettings(folder, "process"))
    for number in range(active):
        for name, resource in names(number).items():
            await _USES[name][0](services.by_name[name].open(resource))
    await services.aclose()


async def read_cold(folder: Path, active: int) -> AsyncIterator[Figure]:
    """Resources in turn, more than may be open at once: each read finds its resource closed."""
    services = InstalledServices(ServiceSettings(folder))
    figures = []
    open_before = _descriptors()
    counts = []
    for _ in range(_ROUNDS):
        for name, (_, read) in _USES.items():
            milliseconds = []
            for number in range(active):
                began = time.perf_counter()
                await read(services.by_name[name].open(names(number)[name]))
                milliseconds.append((time.perf_counter() - began) * 1000)
            figures.append((name, milliseconds))
        counts.append(_descriptors())
    for name in _USES:
        milliseconds = [figure for of, some in figures if of == name for figure in some]
        yield figure(f"read from a cold {name}, p50", "ms", percentile(milliseconds, 50), _COLD_MS_MAX)
        yield figure(f"read from a cold {name}, p99", "ms", percentile(milliseconds, 99))
    yield figure(f"descriptors for {active} of each, after a round", "descriptors", counts[0] - open_before)
    yield figure("the same, more after another round", "descriptors", max(counts[-1] - counts[0], 0), 16)
    await services.aclose()
    yield figure("descriptors left when all is closed", "descriptors", max(_descriptors() - open_before, 0), 0)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def start_seconds(work: Path) -> tuple[float, int]:
    """From the command to a deployed and answering platform, and the descriptors that it then has."""
    began = time.perf_counter()
    with running_platform("data", _WORKER, work) as platform:
        seconds = time.perf_counter() - began
        return seconds, len(os.listdir(f"/proc/{platform.child.pid}/fd"))


async def measure(work: Path, registered: int, active: int) -> list[Figure]:
    first, _ = start_seconds(work)
    empty, descriptors_empty = start_seconds(work)
    vault = Vault.open(work / "data" / VAULT_FILE, new=False)
    database = Database(work / "data" / "control.db", vault, durable=False)
    with database.write() as connection:
        account_id = deploy(connection, active)
    began = time.perf_counter()
    register(database, account_id, registered)
    database.close()
    figures = [
        figure("first start, nothing there", "s", first),
        figure("start, one Worker", "s", empty),
        figure(f"registering {registered} of each in bulk", "s", time.perf_counter() - began),
    ]
    account = work / "data" / "accounts" / account_id
    await fill(account, active)
    seconds, descriptors = start_seconds(work)
    figures.append(
        figure(f"start, {registered} of each registered, {active} Workers", "s", seconds, _START_SECONDS_MAX)
    )
    figures.append(figure("descriptors more than with one Worker", "descriptors", descriptors - descriptors_empty, 16))
    return figures + [each async for each in read_cold(account, active)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Many resources registered, some of them active.")
    parser.add_argument("--registered", type=int, default=100_000)
    parser.add_argument("--active", type=int, default=1_000)
    options = parser.parse_args(arguments)
    work = Path(tempfile.mkdtemp(prefix="tenantry-scale-"))
    try:
        figures = asyncio.run(measure(work, options.registered, options.active))
    except BenchmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(work, ignore_errors=True)
    for each in figures:
        target = "" if each.target is None else f"   at most {each.target:g}: {'yes' if each.met else 'NO'}"
        print(f"{each.name:<60} {each.value:>12,.2f} {each.unit}{target}")
    document = msgspec.json.format(msgspec.json.encode({"date": now(), "figures": figures}))
    (_RESULTS / "scale.json").write_bytes(document + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
