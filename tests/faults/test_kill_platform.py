"""`kill -9` of a whole platform at random moments, while customers write over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from injection.effort import ROUNDS, SEED, randomness, rounds
from injection.example_platform import Platform, wait_until
from injection.subjects import Ledger, payload

USERS = ("user1", "user2")
WRITERS = 3
KEYS_EACH = 8
RECOVERY_SECONDS_MAX = 2.0


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    made = Platform(tmp_path / "data")
    try:
        yield made
    finally:
        made.kill()


class Customer:
    """Writes under its keys over HTTP, and keeps the ledger. One for each writer, so that a key has one writer."""

    def __init__(self, user: str, writer: int) -> None:
        self.user = user
        self.prefix = f"w{writer}-"
        self.ledger = Ledger()
        self.number = 0

    def write(self, client: httpx.Client, chance: float) -> None:
        """One write; a value that was not acknowledged stays in doubt."""
        self.number += 1
        key = f"{self.prefix}{self.number % KEYS_EACH}"
        size = (40, 3_000, 30_000)[self.number % 3]
        text = payload(key, self.number, size).hex()
        as_file = chance < 0.5
        name = f"files/{key}" if as_file else f"data/{key}"
        if chance < 0.15:
            self._send(f"data/{key}", None, client.delete, "/data", params={"key": key})
        elif as_file:
            self._send(name, text, client.post, "/files", data={"key": key}, files={"file": ("f", text.encode())})
        else:
            self._send(name, text, client.post, "/data", json={"key": key, "value": text})

    def _send(
        self, name: str, text: str | None, send: Callable[..., httpx.Response], *args: Any, **options: Any
    ) -> None:
        value = None if text is None else text.encode()
        self.ledger.begun(name, value)
        response = send(*args, **options)
        if response.status_code == 404:  # there was nothing to delete
            assert value is None, response.text
        else:
            response.raise_for_status()
        self.ledger.done(name, value)

    def check(self, client: httpx.Client, where: str) -> None:
        found: dict[str, bytes] = {}
        for key in client.get("/data").raise_for_status().json()["keys"]:
            if key.startswith(self.prefix):
                found[f"data/{key}"] = client.get("/data", params={"key": key}).json()["value"].encode()
        for file in client.get("/files").raise_for_status().json()["files"]:
            if file["key"].startswith(self.prefix):
                found[f"files/{file['key']}"] = client.get("/files", params={"key": file["key"]}).content
        self.ledger.check(found, where)


def write_until_killed(platform: Platform, customers: list[Customer], writes: int, seed: str) -> int:
    """Kills everything when `writes` were acknowledged. Returns how many were by the end."""
    before = sum(customer.ledger.acknowledged for customer in customers)

    def acknowledged() -> int:
        return sum(customer.ledger.acknowledged for customer in customers) - before

    failures: list[BaseException] = []

    def work(customer: Customer) -> None:
        chance = randomness(f"{seed}/{customer.user}/{customer.prefix}")
        try:
            with platform.client(customer.user) as client:
                while True:
                    customer.write(client, chance.random())
        except httpx.TransportError:
            return
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(customer,)) for customer in customers]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: failures or acknowledged() >= writes, f"{writes} acknowledged writes")
    finally:
        platform.kill()
        for thread in threads:
            thread.join()
    assert not failures, failures
    return acknowledged()


def test_kill_9_of_a_platform_loses_nothing_that_was_acknowledged(platform: Platform) -> None:
    customers = [Customer(user, writer) for user in USERS for writer in range(WRITERS)]
    chance = randomness("kill platform")
    count = rounds(1)
    acknowledged = 0
    slowest = 0.0
    platform.start()
    for number in range(count):
        acknowledged += write_until_killed(platform, customers, chance.randrange(5, 150), f"{SEED}/{number}")
        # The platform that shows what is there is the one that is killed next.
        platform.start()
        for user in USERS:
            with platform.client(user) as client:
                began = time.monotonic()
                client.get("/stats").raise_for_status()
                slowest = max(slowest, time.monotonic() - began)
                for customer in customers:
                    if customer.user == user:
                        customer.check(client, f"{user}, round {number} of seed {SEED}")
        if number % 25 == 24:
            print(
                f"kill -9 of a platform: {number + 1} rounds, {acknowledged} acknowledged writes, none lost", flush=True
            )
    print(
        f"kill -9 of a platform, seed {SEED}: {count} rounds, {acknowledged} acknowledged writes, none lost, "
        f"nothing torn; slowest first answer from recovered data {slowest * 1000:.0f} ms"
    )
    if ROUNDS:
        assert slowest < RECOVERY_SECONDS_MAX
