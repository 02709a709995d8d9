"""Fills a small disk with each service in turn. Run as `python crowded.py FOLDER`, with the disk mounted on FOLDER.

Prints what happened, a line for each service, and fails if a promise is broken.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import structlog

from injection.subjects import SUBJECTS, Ledger, Subject, payload
from tenantry.errors import StorageFull

WRITES_MAX = 2000
ROOM_BYTES = 3 * 1024 * 1024
WORDS = {
    "kv": "KV PUT failed: 507",
    "r2": "Insufficient storage",
    "d1": "D1_ERROR: database or disk is full: SQLITE_FULL",
}


def leave_room(folder: Path, room_bytes: int) -> Path:
    """A file that takes all of the disk but this much."""
    ballast = folder / "ballast"
    free = os.statvfs(folder)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - room_bytes, 4096))
    return ballast


async def crowd(subject: Subject, folder: Path) -> str:
    ledger = Ledger()
    async with subject.opened(folder / "data") as store:

        async def put(key: str, number: int, size: int) -> None:
            value = payload(key, number, size)
            ledger.begun(key, value)
            await store.put(key, value)
            ledger.done(key, value)

        await put("first", 0, 30_000)
        ballast = leave_room(folder, ROOM_BYTES)
        told: StorageFull | None = None
        written = 0
        for number in range(WRITES_MAX):
            try:
                await put(f"k{number}", number, 30_000)
                written += 1
            except StorageFull as error:
                told = error
                break
        assert told is not None, f"{subject.name}: {written} writes on a full disk"
        assert WORDS[subject.name] in told.message, told.message
        assert str(folder) not in told.message
        # What fails now is what needs room; reading needs none.
        ledger.check(await store.everything(), f"{subject.name}, full")
        for number in range(3):
            try:
                await put("more", number, 60_000)
            except StorageFull:
                continue
        ledger.check(await store.everything(), f"{subject.name}, still full")
        ballast.unlink()
        await put("after", 1, 60_000)
        ledger.check(await store.everything(), f"{subject.name}, with room again")
    async with subject.opened(folder / "data") as store:
        ledger.check(await store.everything(), f"{subject.name}, opened again")
    subject.integrity(folder / "data")
    return f"{subject.name}: full after {written} writes: {told.message!r}; read on, and wrote again with room"


async def main(folder: Path) -> None:
    for subject in SUBJECTS.values():
        print(await crowd(subject, folder))


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1])))
