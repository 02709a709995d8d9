"""Canaries: every customer has a token, and it must never be seen where another customer can see.

A whole platform is started as its users start it. Its customers run one Worker each, which has its token in a binding,
in its KV, R2 and D1, in the bodies and headers of its requests, in its log and in its exceptions. Under load, with
random kills of worker processes and of the zygote, every answer is searched for tokens; then every line of the log and
every file of storage is.

A short one is part of every test run; `make canary` asks for CANARY_REQUESTS of them. The seed is printed, and
CANARY_SEED sets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest

HERE = Path(__file__).parent / "canary"
REQUESTS = int(os.environ.get("CANARY_REQUESTS", "2000"))
CUSTOMERS = 20
CLIENTS = 48
KEYS = 12
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
ANSWER_SECONDS_MAX = 60.0
RECOVERY_SECONDS_MAX = 60.0
"""The platform holds a Worker that crashes back for at most half of that."""
REQUESTS_PER_KILL = 200
KILLS_AT_ONCE = 10
KILL_SECONDS = 0.5
KILLS_PER_ZYGOTE = 30
"""After the first few kills no more than so many in a time: a Worker whose processes crash is held back, longer each
time, and one that only says so has nothing to give away.
"""
FAILED_SECONDS = 0.02
"""What a client waits after an answer that is no good, as clients do."""

TOKEN = re.compile(rb"canary-[0-9a-f]{32}")
LOG_LINE = re.compile(rb"^\[([\w-]+)\] ")

OPERATIONS = {
    "echo": 6,
    "text": 4,
    "put_kv": 5,
    "get_kv": 5,
    "put_r2": 4,
    "get_r2": 4,
    "d1": 3,
    "log": 3,
    "seen": 3,
    "throw": 1,
    "rpc": 4,
    "crash": 0.01,
}
"""How often each is asked for, relative to the others."""


@dataclass(frozen=True)
class Customer:
    worker: str
    token: bytes


@dataclass
class Platform:
    """`tenantry dev`, in a group of its own."""

    process: subprocess.Popen[bytes]
    about: dict[str, Any]
    data: Path
    log: Path

    def living(self, name: str) -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if process.name() == name:
                    found.append(process)
        return found

    def kill(self, name: str, chance: random.Random) -> bool:
        found = self.living(name)
        if not found:
            return False
        with suppress(psutil.NoSuchProcess):
            chance.choice(found).kill()
        return True


@dataclass
class Tally:
    done: int = 0
    good: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)


@pytest.fixture
def customers() -> list[Customer]:
    return [
        Customer(f"customer-{number:02}", f"canary-{secrets.token_hex(16)}".encode()) for number in range(CUSTOMERS)
    ]


@pytest.fixture
def platform(tmp_path: Path, customers: list[Customer]) -> Iterator[Platform]:
    folder, data, log = tmp_path / "platform", tmp_path / "data", tmp_path / "log"
    write_platform(folder, customers)
    command = [str(Path(sys.executable).with_name("tenantry")), "dev", str(folder), "--data", str(data)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", "0", "--control-port", "0", "--s3-port", "0", "--durability", "process"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until(lambda: process.poll() is not None or (data / "dev.json").exists(), START_SECONDS_MAX)
        assert process.poll() is None, log.read_text()[-4000:]
        yield Platform(process, json.loads((data / "dev.json").read_text()), data, log)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_until(condition: Callable[[], Any], seconds_max: float) -> None:
    deadline = time.monotonic() + seconds_max
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds_max:.0f} s"
        time.sleep(0.02)


def write_platform(folder: Path, customers: list[Customer]) -> None:
    common = {"main": "entry.py", "compatibility_date": "2026-05-01", "compatibility_flags": ["python_workers"]}
    dispatcher = {"dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "customers"}]}
    write_worker(folder / "dispatcher", "dispatcher", {"name": "dispatcher", **common, **dispatcher})
    entries = ['[gateway]\nworker = "dispatcher"\n\n[[worker]]\npath = "dispatcher"\n']
    for customer in customers:
        bindings = {
            "vars": {"TOKEN": customer.token.decode()},
            "kv_namespaces": [{"binding": "KV"}],
            "r2_buckets": [{"binding": "BUCKET", "bucket_name": f"{customer.worker}-files"}],
            "d1_databases": [{"binding": "DB", "database_name": f"{customer.worker}-database"}],
        }
        write_worker(folder / customer.worker, "customer", {"name": customer.worker, **common, **bindings})
        name = customer.worker
        entries.append(f'\n[[worker]]\npath = "{name}"\nnamespace = "customers"\ncustomer = "{name}"\n')
    (folder / "tenantry.toml").write_text("".join(entries))


def write_worker(folder: Path, source: str, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(HERE / f"{source}.py", folder / "entry.py")
    (folder / "wrangler.jsonc").write_text(json.dumps(config))


class Load:
    """Clients that ask for random things in the name of random customers, and who kills meanwhile."""

    def __init__(self, platform: Platform, customers: list[Customer], chance: random.Random) -> None:
        self.platform = platform
        self.customers = customers
        self.chance = chance
        self.tally = Tally()

    async def run(self, requests: int) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
        connector = aiohttp.TCPConnector(limit=CLIENTS)
        async with aiohttp.ClientSession(
            self.platform.about["gateway"], timeout=timeout, connector=connector
        ) as session:
            async with asyncio.TaskGroup() as group:
                for _ in range(CLIENTS):
                    group.create_task(self._client(session, requests))
                group.create_task(self._kill(requests))
            for customer in self.customers:
                await self._recover(session, customer)

    async def _client(self, session: aiohttp.ClientSession, requests: int) -> None:
        names, weights = list(OPERATIONS), list(OPERATIONS.values())
        while self.tally.done < requests:
            self.tally.done += 1
            what = self.chance.choices(names, weights)[0]
            if await self._ask(session, self.chance.choice(self.customers), what) != 200:
                await asyncio.sleep(FAILED_SECONDS)

    async def _ask(self, session: aiohttp.ClientSession, customer: Customer, what: str) -> int:
        # Mostly short; now and then longer than what travels inline, so that it is a stream.
        size = self.chance.choice((1, 1, 1, 1, 2, 2, 20, 3000))
        body = b" ".join([customer.token] * size)
        url = f"/{customer.worker}/{what}?key={self.chance.randrange(KEYS)}"
        try:
            async with session.post(url, data=body, headers={"x-token": customer.token.decode()}) as response:
                answer = await response.read()
                status = response.status
                heads = b"\n".join(name + b": " + value for name, value in response.raw_headers)
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # The Worker was killed in the middle of its answer, and the connection cut, as it should be.
            self.tally.statuses[0] += 1
            return 0
        self.tally.statuses[status] += 1
        seen = set(TOKEN.findall(answer)) | set(TOKEN.findall(heads))
        if seen - {customer.token}:
            self._leak(customer, f"{what}, status {status}: {answer[:500]!r} {heads!r}")
        if status == 200:
            self.tally.good[customer.worker] += 1
            if customer.token not in seen:
                self._leak(customer, f"{what} answered without the customer's own token: {answer[:500]!r}")
            if what in ("echo", "text") and answer != body:
                self._leak(customer, f"{what} answered something else than was sent: {answer[:500]!r}")
        return status

    def _leak(self, customer: Customer, text: str) -> None:
        self.tally.leaks.append(f"{customer.worker} {customer.token.decode()}: {text}")
        assert len(self.tally.leaks) < 20, "\n".join(self.tally.leaks)

    async def _kill(self, requests: int) -> None:
        """A worker process after every so many requests, and now and then the zygote with all of them."""
        kills = 0
        while self.tally.done < requests:
            if self.tally.done < (kills + 1) * REQUESTS_PER_KILL:
                await asyncio.sleep(0.005)
                continue
            kills += 1
            if kills > KILLS_AT_ONCE:
                await asyncio.sleep(KILL_SECONDS)
            name = "tenantry-zygote" if kills % KILLS_PER_ZYGOTE == 3 else "tenantry-worker"
            if await asyncio.to_thread(self.platform.kill, name, self.chance):
                self.tally.kills[name] += 1

    async def _recover(self, session: aiohttp.ClientSession, customer: Customer) -> None:
        """Every customer is served again in the end, and has logged something, whatever it was asked for before."""
        async with asyncio.timeout(RECOVERY_SECONDS_MAX):
            for what in ("get_kv", "log"):
                while await self._ask(session, customer, what) != 200:
                    await asyncio.sleep(0.1)


def leaks_in_log(log: Path, customers: list[Customer]) -> tuple[list[str], set[bytes]]:
    """Lines with a token that their Worker must not know, and the Workers that had a line with their own."""
    tokens = {customer.worker.encode(): customer.token for customer in customers}
    leaks, own = [], set()
    with log.open("rb") as lines:
        for line in lines:
            seen = set(TOKEN.findall(line))
            if not seen:
                continue
            found = LOG_LINE.match(line)
            worker = found[1] if found else b""
            if worker == b"dispatcher":
                continue  # the vendor's own, through which all of them go
            if seen != {tokens.get(worker)}:
                leaks.append(repr(line[:500]))
            own.add(worker)
    return leaks, own


def leaks_in_ring(ring: Path, customers: list[Customer]) -> tuple[list[str], set[str]]:
    """Entries of the ring of logs with a token that is not their Worker's, and the Workers that had their own there."""
    tokens = {customer.worker: customer.token for customer in customers}
    leaks, own = [], set()
    with contextlib.closing(sqlite3.connect(ring)) as connection:
        for worker, document in connection.execute("SELECT worker, document FROM entries WHERE worker <> 'dispatcher'"):
            seen = set(TOKEN.findall(document))
            if seen - {tokens.get(worker)}:
                leaks.append(f"{worker}: {document[:500]!r}")
            elif seen:
                own.add(worker)
    return leaks, own


def leaks_in_storage(platform: Platform, customers: list[Customer]) -> tuple[list[str], set[tuple[str, str]]]:
    """Files with a token that is not their owner's, and which kinds of storage held whose own."""
    owners: dict[str, tuple[str, Customer]] = {}
    for customer in customers:
        resources = platform.about["customers"][customer.worker]
        for kind in ("kv", "r2", "d1"):
            owners[resources[kind]] = (kind, customer)
    # In what SQLite has freed of a page a token of the owner's may lie that is written over in part.
    whole = {customer.token for customer in customers}
    leaks, own = [], set()
    for file in platform.data.rglob("*"):
        # The store holds the bindings of all, the ring of logs what all said: they are the vendor's.
        if not file.is_file() or file.name.startswith(("control.db", "logs.sqlite")):
            continue
        seen = set(TOKEN.findall(file.read_bytes())) & whole
        path = str(file.relative_to(platform.data))
        owner = next((found for resource, found in owners.items() if resource in path), None)
        if owner is None:
            if seen:
                leaks.append(f"{path} is nobody's and holds {seen}")
        elif seen:
            kind, customer = owner
            own.add((kind, customer.worker))
            if seen != {customer.token}:
                leaks.append(f"{path} of {customer.worker} holds {seen - {customer.token}}")
    return leaks, own


def stop(platform: Platform) -> int:
    platform.process.send_signal(signal.SIGINT)
    return platform.process.wait(STOP_SECONDS_MAX)


async def test_no_customer_ever_sees_the_token_of_another(platform: Platform, customers: list[Customer]) -> None:
    seed = int(os.environ.get("CANARY_SEED", "0")) or secrets.randbits(32)
    print(f"CANARY_SEED={seed}")
    load = Load(platform, customers, random.Random(seed))
    started = time.monotonic()
    await load.run(REQUESTS)
    seconds = time.monotonic() - started
    assert stop(platform) == 0
    tally = load.tally
    print(f"{tally.done} requests in {seconds:.0f} s; {dict(tally.statuses)}; kills: {dict(tally.kills)}")
    assert not tally.leaks, "\n".join(tally.leaks)

    leaks, logged = leaks_in_log(platform.log, customers)
    assert not leaks, "\n".join(leaks[:20])
    leaks, kept = leaks_in_ring(platform.data / "logs" / "logs.sqlite", customers)
    assert not leaks, "\n".join(leaks[:20])
    leaks, stored = leaks_in_storage(platform, customers)
    assert not leaks, "\n".join(leaks[:20])

    # That nothing was found means something: there was something to find, everywhere, and the kills did happen.
    assert tally.statuses[200] > REQUESTS / 2
    assert tally.kills["tenantry-zygote"] > 0
    assert tally.kills["tenantry-worker"] > 2
    assert set(tally.good) == {customer.worker for customer in customers}
    assert logged == {customer.worker.encode() for customer in customers}
    assert kept == {customer.worker for customer in customers}
    assert {kind for kind, _ in stored} == {"kv", "r2", "d1"}
    assert len(stored) > 2 * CUSTOMERS
