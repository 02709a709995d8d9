"""A process that writes to all services at once until it is killed, and says on stdout what it began and what was done.

    begin SERVICE KEY NUMBER SIZE        SIZE is - for a deletion
    done SERVICE KEY NUMBER SIZE

Run as `python driver.py FOLDER DURABILITY SEED`; its values are `subjects.payload(key, number, size)`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from injection.subjects import SUBJECTS, Store, payload

WRITERS = 5
KEYS_EACH = 12
SIZES = {"kv": (0, 200, 3_000, 70_000, 600_000), "r2": (0, 200, 30_000, 300_000), "d1": (0, 200, 3_000, 40_000)}


async def write_for_ever(store: Store, name: str, chance: random.Random) -> None:
    service = store.subject.name
    number = 0
    while True:
        number += 1
        key = f"{name}{chance.randrange(KEYS_EACH)}"
        size = None if chance.random() < 0.2 else chance.choice(SIZES[service])
        line = f"{service} {key} {number} {'-' if size is None else size}\n"
        os.write(1, f"begin {line}".encode())
        await (store.delete(key) if size is None else store.put(key, payload(key, number, size)))
        os.write(1, f"done {line}".encode())


async def main(folder: Path, durability: str, seed: str) -> None:
    async with asyncio.TaskGroup() as group:
        for service, subject in SUBJECTS.items():
            store = Store(subject, folder, durability)
            for writer in range(WRITERS):
                # Another name in each round: a number under it is never used twice.
                name = f"{'abcdefgh'[writer]}-"
                group.create_task(write_for_ever(store, name, random.Random(f"{seed}/{service}/{writer}")))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
