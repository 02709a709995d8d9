"""`kill -9` at random moments under load, round after round on the same data."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from injection import driver
from injection.effort import ROUNDS, SEED, randomness, rounds
from injection.subjects import SUBJECTS, Ledger, payload

LINES_MAX = 400
RECOVERY_SECONDS_MAX = 2.0


def run_until_killed(folder: Path, durability: str, seed: str, lines_max: int, ledgers: dict[str, Ledger]) -> int:
    """How many writes were acknowledged."""
    command = [sys.executable, driver.__file__, str(folder), durability, seed]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(lines_max)]
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, b"".join(lines[-3:])
    done = 0
    for line in lines:
        if not line.endswith(b"\n"):
            continue
        word, service, key, number, size = line.decode().split()
        value = None if size == "-" else payload(key, int(number), int(size))
        if word == "begin":
            ledgers[service].begun(key, value)
        else:
            ledgers[service].done(key, value)
            done += 1
    return done


@pytest.mark.parametrize("durability", ["full", "process"])
async def test_kill_9_under_load_loses_nothing_that_was_acknowledged(durability: str, tmp_path: Path) -> None:
    chance = randomness(f"kill {durability}")
    ledgers = {name: Ledger() for name in SUBJECTS}
    folder = tmp_path / "data"
    acknowledged = 0
    slowest: Counter[str] = Counter()
    count = rounds(2)
    for number in range(count):
        done = run_until_killed(folder, durability, f"{SEED}/{number}", chance.randrange(20, LINES_MAX), ledgers)
        acknowledged += done
        for name, subject in SUBJECTS.items():
            where = f"{name}, round {number} of seed {SEED}"
            began = time.monotonic()
            async with subject.opened(folder, durability) as store:
                await store.get("probe")
                await store.put("probe", b"")
                ledgers[name].done("probe", b"")
                slowest[name] = max(slowest[name], int((time.monotonic() - began) * 1000))
                ledgers[name].check(await store.everything(), where)
            subject.integrity(folder / name)
    found = ", ".join(f"{name} {milliseconds} ms" for name, milliseconds in slowest.items())
    print(
        f"kill -9, durability {durability}, seed {SEED}: {count} rounds, {acknowledged} acknowledged writes, none "
        f"lost, nothing torn; slowest recovery up to the first write: {found}"
    )
    assert acknowledged > 0
    if ROUNDS:
        assert max(slowest.values()) < RECOVERY_SECONDS_MAX * 1000
