"""A power cut at random moments: with `full`, an acknowledged write had been synced, its bytes and its names.

What `process` loses then shows that the check would notice.
"""

from __future__ import annotations

import asyncio
import copy
import random
from pathlib import Path

import pytest
from injection.disk import Disk
from injection.effort import randomness, rounds
from injection.subjects import SUBJECTS, Ledger, Store, Subject

WRITERS = 4
WRITES_EACH = 12
CUTS_FEW = 6
WRITERS_AT_ONCE = 200


async def write_and_cut(
    subject: Subject, folder: Path, durability: str, chance: random.Random
) -> list[tuple[Path, Ledger]]:
    """Writers side by side; now and then, what a power cut would leave, and what had been promised by then."""
    ledger = Ledger()
    cuts: list[tuple[Path, Ledger]] = []

    async def writer(store: Store, disk: Disk, name: str) -> None:
        for number in range(WRITES_EACH):
            key = f"{name}{chance.randrange(3)}"
            value = None if number and chance.random() < 0.2 else subject.value(key, number, chance)
            ledger.begun(key, value)
            await (store.delete(key) if value is None else store.put(key, value))
            ledger.done(key, value)
            if chance.random() < 0.25:
                left = folder.with_name(f"{folder.name}-cut-{len(cuts)}")
                cuts.append((left, copy.deepcopy(ledger)))
                # Some files may be further than their last sync.
                disk.survivors(left, luck=lambda path: chance.random() < 0.3)

    with Disk(folder) as disk:
        async with subject.opened(folder, durability) as store:
            await asyncio.gather(*(writer(store, disk, name) for name in "abcd"[:WRITERS]))
    return cuts


async def broken_promises(subject: Subject, cuts: list[tuple[Path, Ledger]]) -> list[str]:
    broken = []
    for left, ledger in cuts:
        try:
            async with subject.opened(left) as store:
                ledger.check(await store.everything(), left.name)
            subject.integrity(left, orphans=True)
        except AssertionError as error:
            broken.append(str(error))
    return broken


@pytest.mark.parametrize("name", SUBJECTS)
async def test_a_power_cut_takes_nothing_that_was_acknowledged(name: str, tmp_path: Path) -> None:
    chance = randomness(f"power cut {name}")
    cut = 0
    while cut < rounds(CUTS_FEW):
        cuts = await write_and_cut(SUBJECTS[name], tmp_path / f"data{cut}", "full", chance)
        assert await broken_promises(SUBJECTS[name], cuts) == []
        cut += len(cuts)
    print(f"{name}: {cut} power cuts, nothing lost")


@pytest.mark.parametrize("name", SUBJECTS)
async def test_writers_who_wait_for_the_disk_share_a_sync(name: str, tmp_path: Path) -> None:
    subject = SUBJECTS[name]
    with Disk(tmp_path / "data") as disk:
        async with subject.opened(tmp_path / "data") as store:
            await store.put("first", b"")
            syncs = disk.counts["sync"]
            await store.put("alone", b"value")
            assert disk.counts["sync"] > syncs, "acknowledged without a sync"
            syncs = disk.counts["sync"]
            await asyncio.gather(*(store.put(f"k{number}", b"value") for number in range(WRITERS_AT_ONCE)))
            together = disk.counts["sync"] - syncs
    assert 0 < together <= WRITERS_AT_ONCE // 10
    print(f"{name}: {WRITERS_AT_ONCE} writes at once, {together} syncs")


@pytest.mark.parametrize("name", SUBJECTS)
async def test_durability_process_trades_the_power_cut(name: str, tmp_path: Path) -> None:
    """The same writes and the same cuts: what is lost here would have been seen there."""
    cuts = await write_and_cut(SUBJECTS[name], tmp_path / "data", "process", randomness(f"process {name}"))
    assert await broken_promises(SUBJECTS[name], cuts) != []
