"""An I/O error at the n-th write, sync, rename and open, for every n until none fails.

Whatever failed: the caller was told, what had been acknowledged is there, and the resource works afterwards, in the
same process and in the next one.
"""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest
from injection.disk import KINDS, Disk
from injection.effort import SEED, STRIDE
from injection.subjects import SUBJECTS, Ledger, Store, Subject, payload

from tenantry.errors import BindingError

CODES = {"write": (errno.EIO, errno.ENOSPC), "sync": (errno.EIO,), "rename": (errno.EIO,), "open": (errno.EMFILE,)}
STEPS_MAX = 2000


async def workload(store: Store, ledger: Ledger) -> list[str]:
    """First writes, replacements and deletions in every size. Returns what the caller was told of failures."""
    told: list[str] = []

    async def attempt(key: str, value: bytes | None) -> None:
        ledger.begun(key, value)
        try:
            await (store.delete(key) if value is None else store.put(key, value))
        except BindingError as error:
            told.append(error.message)
        else:
            ledger.done(key, value)

    for number, size in enumerate(store.subject.sizes):
        await attempt(f"k{number}", payload(f"k{number}", 0, size))
    for number, size in enumerate(reversed(store.subject.sizes)):
        await attempt(f"k{number}", payload(f"k{number}", 1, size))
    await attempt("k0", None)
    await attempt("k1", None)
    return told


async def round_with_fault(subject: Subject, folder: Path, kind: str, nth: int, code: int) -> str | None:
    """What was injected, or None when there are no more than n - 1 operations of that kind."""
    ledger = Ledger()
    with Disk(folder) as disk:
        disk.fail(kind, nth, code)
        async with subject.opened(folder) as store:
            told = await workload(store, ledger)
            injected = disk.injected
            disk.mend()
            where = f"{subject.name}, {injected}"
            assert injected is not None or not told, told
            for message in told:
                assert str(folder) not in message, f"{where}: told the tenant {message}"
            ledger.check(await store.everything(), where)
            await store.put("after", payload("after", nth, 20_000))
            ledger.done("after", payload("after", nth, 20_000))
            ledger.check(await store.everything(), where)
    async with subject.opened(folder) as store:
        ledger.check(await store.everything(), f"{where}, opened again")
    subject.integrity(folder)
    return injected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SUBJECTS)
async def test_an_io_error_anywhere_loses_nothing_that_was_acknowledged(name: str, kind: str, tmp_path: Path) -> None:
    for code in CODES[kind]:
        count = 0
        for nth in itertools.count(1 + (SEED - 1) % STRIDE, STRIDE):
            assert nth < STEPS_MAX
            injected = await round_with_fault(SUBJECTS[name], tmp_path / f"{code}-{nth}", kind, nth, code)
            if injected is None:
                break
            count += 1
        print(
            f"{name}: {errno.errorcode[code]} at {count} operations of kind {kind}, one of every {STRIDE}: nothing lost"
        )
        assert count or SEED > 1, "the disk saw next to nothing: is the engine still going through it?"
