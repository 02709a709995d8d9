"""Quotas and totals over a service that is a dictionary: no limit is passed, and a crash makes nothing forgotten."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tenantry.services.quota import Amount, Limit, Meter, Quota, QuotaPassed
from tenantry.services.totals import Totals


class Service:
    """Resources with values under keys. `begin` and `end` of a write are apart, as those of an upload are."""

    def __init__(self, folder: Path, quota: Quota, stored: dict[str, dict[str, int]]):
        self.stored = stored
        self.asked: list[str] = []

        async def ask(resource: str) -> tuple[int, int]:
            self.asked.append(resource)
            held = await self.usage(resource)
            return held.size_bytes, held.count

        self.totals = Totals(folder / "kv.totals", ask, lambda: list(stored), durable=False)
        self.meter = Meter(quota, self.totals)

    async def usage(self, resource: str) -> Amount:
        values = self.stored.get(resource, {})
        return Amount(sum(values.values()), len(values))

    async def put(self, resource: str, key: str, size: int, gate: asyncio.Event | None = None) -> None:
        async def replaced() -> Amount:
            before = self.stored.get(resource, {}).get(key)
            return Amount() if before is None else Amount(before, 1)

        async with self.meter.writing(resource, lambda: self.usage(resource), replaced) as room:
            await room.grow(Amount(size, 1))
            if gate is not None:
                await gate.wait()
            self.stored.setdefault(resource, {})[key] = size

    async def delete(self, resource: str) -> None:
        async with self.meter.writing(resource, lambda: self.usage(resource)):
            self.stored.pop(resource, None)
        await self.totals.forget(resource)


async def crash(totals: Totals) -> None:
    """What is left of one whose process is gone."""
    await totals._run(totals._disconnect)
    totals._executor.shutdown()


async def refused(service: Service, *write: object) -> tuple[str, str]:
    with pytest.raises(QuotaPassed) as caught:
        await service.put(*write)
    return caught.value.whose, caught.value.what


async def test_the_last_byte_fits_and_one_more_does_not(tmp_path: Path) -> None:
    service = Service(tmp_path, Quota(Limit(100, 2), Limit(150, 3)), {})
    await service.put("a", "x", 99)
    assert await refused(service, "a", "y", 2) == ("resource", "bytes")
    await service.put("a", "y", 1)
    assert await refused(service, "a", "z", 0) == ("resource", "count")
    await service.put("b", "x", 50)
    assert await refused(service, "b", "x", 51) == ("account", "bytes")
    assert await refused(service, "b", "y", 0) == ("account", "count")
    await service.delete("a")
    await service.put("b", "y", 50)
    await service.totals.aclose()


async def test_a_smaller_value_is_taken_where_the_quota_was_lowered(tmp_path: Path) -> None:
    service = Service(tmp_path, Quota(Limit(100)), {"a": {"x": 500}})
    assert await refused(service, "a", "x", 501) == ("resource", "bytes")
    await service.put("a", "x", 400)
    await service.totals.aclose()


async def test_uploads_in_progress_count(tmp_path: Path) -> None:
    service = Service(tmp_path, Quota(Limit(100), Limit(150)), {})
    gate = asyncio.Event()
    upload = asyncio.create_task(service.put("a", "x", 80, gate))
    while not service.meter._writing.get("a") or not service.meter._writing["a"].growing.count:
        await asyncio.sleep(0)
    assert await refused(service, "a", "y", 21) == ("resource", "bytes")
    assert await refused(service, "b", "y", 71) == ("account", "bytes")
    upload.cancel()
    await asyncio.wait([upload])
    await service.put("a", "y", 100)
    await service.totals.aclose()


async def test_a_write_whose_caller_leaves_as_it_ends_counts(tmp_path: Path) -> None:
    service = Service(tmp_path, Quota(Limit(100)), {})
    asked = asyncio.Event()
    gate = asyncio.Event()

    async def slow() -> Amount:
        if service.stored:
            asked.set()
            await gate.wait()
        return await Service.usage(service, "a")

    service.usage = lambda _: slow()  # type: ignore[method-assign]
    write = asyncio.create_task(service.put("a", "x", 80))
    await asked.wait()
    write.cancel()
    gate.set()
    await asyncio.wait([write])
    assert write.cancelled()
    assert service.totals.size_bytes == 80
    await service.totals.aclose()


async def test_a_start_asks_no_resource_and_a_crash_those_that_changed(tmp_path: Path) -> None:
    stored = {f"r{number}": {"x": number} for number in range(50)}
    service = Service(tmp_path, Quota(account=Limit(10_000)), stored)
    await service.put("r0", "x", 7)
    assert len(service.asked) == 50  # the file was new
    await service.totals.aclose()
    crashed = Service(tmp_path, Quota(account=Limit(10_000)), stored)
    await crashed.put("r1", "x", 9)
    assert crashed.asked == []
    await crashed.put("r2", "x", 9)
    after = Service(tmp_path, Quota(account=Limit(10_000)), stored)
    await after.put("r3", "x", 3)
    assert sorted(after.asked) == ["r1", "r2"]
    assert after.totals.size_bytes == sum(values["x"] for values in stored.values())
    await after.totals.aclose()
    await crash(crashed.totals)


RESOURCES = st.sampled_from("abc")


class QuotaMachine(RuleBasedStateMachine):
    """After any writes, deletions, ends and crashes the total is the sum, and no limit is passed."""

    quota = Quota(Limit(100, 3), Limit(180, 6))

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.stored: dict[str, dict[str, int]] = {}
        self.crashed: list[Totals] = []
        self.start()

    def start(self) -> None:
        self.service = Service(Path(self.folder.name), self.quota, self.stored)

    @rule(resource=RESOURCES, key=st.sampled_from("xyz"), size=st.sampled_from([0, 1, 30, 60]))
    def put(self, resource: str, key: str, size: int) -> None:
        values = self.stored.get(resource, {})
        grown = size - values.get(key, 0)
        new = key not in values
        everything = [size for values in self.stored.values() for size in values.values()]
        fits = (grown <= 0 or (sum(values.values()) + grown <= 100 and sum(everything) + grown <= 180)) and (
            not new or (len(values) < 3 and len(everything) < 6)
        )
        try:
            self.runner.run(self.service.put(resource, key, size))
        except QuotaPassed:
            assert not fits
        else:
            assert fits

    @rule(resource=RESOURCES)
    def delete(self, resource: str) -> None:
        self.runner.run(self.service.delete(resource))

    @rule()
    def end(self) -> None:
        self.runner.run(self.service.totals.aclose())
        self.start()

    @rule()
    def crash(self) -> None:
        self.crashed.append(self.service.totals)
        self.start()

    @invariant()
    def the_total_is_the_sum(self) -> None:
        totals = self.service.totals
        if totals._db is not None:
            held = [size for values in self.stored.values() for size in values.values()]
            assert (totals.size_bytes, totals.count) == (sum(held), len(held))

    def teardown(self) -> None:
        for totals in [*self.crashed, self.service.totals]:
            self.runner.run(crash(totals))
        self.runner.close()
        self.folder.cleanup()


def test_the_total_is_the_sum_after_any_writes_and_crashes() -> None:
    run_state_machine_as_test(QuotaMachine, settings=settings(max_examples=12, stateful_step_count=25, deadline=None))
