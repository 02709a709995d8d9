"""A fair queue of who is read next: by what each tenant has had, and not by how many processes it sends from."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest

from tenantry.channel import Lane, Turns
from tenantry.channel.turns import _CALM_SECONDS


@dataclass
class Sender:
    """A socket on which there is always something to read: `turns` readings cost `seconds` each."""

    lane: Lane
    seconds: float
    turns: int
    name: str = ""
    order: list[str] = field(default_factory=list)
    in_background: bool = False

    def readable(self) -> None:
        """What a loop says again and again while it may."""
        if self.turns and self.lane.may_read(self):
            self._read()
            asyncio.get_running_loop().call_soon(self.readable)

    def take_turn(self) -> None:
        self._read()
        self.readable()

    def _read(self) -> None:
        self.turns -= 1
        self.order.append(self.name)
        self.lane.charge(self.seconds, 0)


async def until_over(*senders: Sender) -> None:
    for sender in senders:
        sender.readable()
    async with asyncio.timeout(10):
        while any(sender.turns for sender in senders):
            await asyncio.sleep(0)


async def test_one_alone_is_read_as_fast_as_it_sends() -> None:
    turns = Turns(asyncio.get_running_loop())
    lane = turns.lane()
    sender = Sender(lane, 0.01, 1000)
    await until_over(sender)
    assert not lane.waiting


async def test_a_tenant_with_many_processes_gets_no_more_than_one_with_one() -> None:
    turns = Turns(asyncio.get_running_loop())
    order: list[str] = []
    many, one = turns.lane(), turns.lane()
    senders = [Sender(many, 0.001, 100, "many", order) for _ in range(4)] + [Sender(one, 0.001, 100, "one", order)]
    await until_over(*senders)
    both = Counter(order[: 2 * order.index("one") + 180])
    assert 0.7 < both["one"] / both["many"] < 1.4


async def test_what_is_cheap_is_read_more_often_than_what_is_dear() -> None:
    turns = Turns(asyncio.get_running_loop())
    order: list[str] = []
    await until_over(Sender(turns.lane(), 0.01, 50, "dear", order), Sender(turns.lane(), 0.001, 500, "cheap", order))
    assert 7 < Counter(order[100:400])["cheap"] / Counter(order[100:400])["dear"] < 13


async def test_a_heavier_lane_gets_its_multiple() -> None:
    turns = Turns(asyncio.get_running_loop())
    order: list[str] = []
    await until_over(
        Sender(turns.lane(4), 0.001, 400, "heavy", order), Sender(turns.lane(), 0.001, 100, "light", order)
    )
    assert 3 < Counter(order[100:400])["heavy"] / Counter(order[100:400])["light"] < 5


async def test_a_quiet_one_is_read_at_once_beside_a_flood() -> None:
    turns = Turns(asyncio.get_running_loop())
    order: list[str] = []
    floods = [Sender(turns.lane(), 0.001, 300, "flood", order) for _ in range(8)]
    quiet = Sender(turns.lane(), 0.0001, 0, "quiet", order)
    for sender in floods:
        sender.readable()
    waited = []
    while len(waited) < 50:
        for _ in range(3):  # it thinks before it speaks
            await asyncio.sleep(0)
        before, quiet.turns = len(order), 1
        quiet.readable()
        while quiet.turns:
            await asyncio.sleep(0)
        waited.append(order.index("quiet", before) - before)
    assert max(waited[1:]) <= 2  # until the first has been served, all have had the same: nothing
    await until_over(*floods)


async def test_who_had_the_loop_to_itself_is_not_made_to_pay_for_it() -> None:
    turns = Turns(asyncio.get_running_loop())
    order: list[str] = []
    old, new = turns.lane(), turns.lane()
    await until_over(Sender(old, 1.0, 100, "old", order))
    order.clear()
    await until_over(Sender(old, 0.001, 300, "old", order), Sender(new, 0.001, 300, "new", order))
    assert order.index("old") <= 100
    assert Counter(order[-400:])["old"] >= 150


async def test_who_was_woken_gets_the_processor_of_a_loop_that_does_not_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: list[int] = []
    monkeypatch.setattr("os.sched_yield", lambda: offered.append(1))
    turns = Turns(asyncio.get_running_loop())
    await until_over(Sender(turns.lane(), 0.00001, 20))
    assert not offered, "it is about to sleep"
    await until_over(Sender(turns.lane(), 0.001, 20))
    assert 18 <= len(offered) <= 20, "once for each turn that was used up"


async def test_who_speaks_beside_another_tenant_has_company_for_a_while() -> None:
    turns = Turns(asyncio.get_running_loop())
    one, other, operator = turns.lane(), turns.lane(), turns.lane(8)
    assert not one.begin(100.0, in_background=False)
    assert not one.begin(100.0, in_background=False)
    assert not operator.begin(100.01, in_background=False)
    assert not one.begin(100.02, in_background=False)  # what the operator's passes on is no company
    assert other.begin(100.03, in_background=False)
    assert one.begin(100.04, in_background=False)
    assert one.begin(100.08, in_background=False)
    assert not one.begin(100.10, in_background=False)


class Clock:
    """Of `Turns`, for what it measures itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("tenantry.channel.turns.perf_counter", lambda: self.now)


async def looks(times: int) -> None:
    """So many looks at who waits behind the others."""
    for _ in range(times):
        looked = asyncio.Event()
        asyncio.get_running_loop().call_later(_CALM_SECONDS, looked.set)
        await looked.wait()
    await asyncio.sleep(0)


async def until_read(sender: Sender) -> None:
    async with asyncio.timeout(10):
        while sender.turns:
            await asyncio.sleep(0)


async def test_one_in_the_background_is_read_when_no_other_tenant_is_at_a_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    turns = Turns(asyncio.get_running_loop())
    loud, quiet = turns.lane(), turns.lane()
    behind = Sender(loud, 0.001, 2, in_background=True)
    behind.readable()
    assert behind.order == [""]  # nobody else is there

    quiet.is_asked()
    await looks(3)
    assert behind.turns == 1
    clock.now += 0.0009
    await looks(3)
    assert behind.turns == 1
    quiet.is_asked()
    clock.now += 0.0009
    await looks(3)
    assert behind.turns == 1
    clock.now += 0.0002
    await until_read(behind)


async def test_one_in_the_background_waits_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    turns = Turns(asyncio.get_running_loop())
    loud, quiet = turns.lane(), turns.lane()
    behind = Sender(loud, 0.001, 1, in_background=True)
    quiet.is_asked()
    behind.readable()
    for _ in range(5):
        await looks(1)
        assert behind.turns == 1
        clock.now += 0.001
        quiet.is_asked()
    clock.now += 0.0001
    await until_read(behind)


async def test_one_in_the_background_waits_neither_for_its_own_worker_nor_for_the_operators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Clock(monkeypatch)
    turns = Turns(asyncio.get_running_loop())
    loud, operator = turns.lane(), turns.lane(8)
    behind = Sender(loud, 0.001, 1, in_background=True)
    operator.is_asked()
    loud.is_asked()
    behind.readable()
    assert not behind.turns
