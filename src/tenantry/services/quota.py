"""What a resource, and all of an account's resources of a service, may hold; and whether a write fits.

    used       what a resource holds, exactly, as its engine counts it
    growing    writes and uploads in progress: reserved before the first byte, given back when they end
    total      `used` of all resources of the account

A write reserves all that it brings, and is refused if `used + growing + it` is more than the resource may hold, or
`total + growing + it` more than the account may. What it replaces is taken off in that sum, but not in what it
reserves: others may delete that meanwhile. So a write counts twice for as long as it takes: a quota is never passed,
and a write may be refused that a moment later fits.

`total` is not counted anew at a start. `Totals` keeps what each resource holds in a file of its own, and notes a
resource down as changing before the first write to it: after a crash only those are asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from tenantry.errors import TenantryError
from tenantry.services.totals import Totals
from tenantry.streams import ByteStream

__all__ = ["UNLIMITED", "Amount", "CountedStream", "Limit", "Meter", "Quota", "QuotaPassed", "Reservation"]

_LOOKS_MAX: Final = 8
"""How often a write looks at what it replaces, while others change the resource, until it counts as nothing."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes, and how many keys, objects or databases."""

    size_bytes: int = 0
    count: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.size_bytes + other.size_bytes, self.count + other.count)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.size_bytes - other.size_bytes, self.count - other.count)


@dataclass(frozen=True, slots=True)
class Limit:
    """The most there may be; None: as much as there is room."""

    size_bytes: int | None = None
    count: int | None = None

    def passed_by(self, amount: Amount, growth: Amount) -> Literal["bytes", "count"] | None:
        """What of an amount would be too much. What does not grow never is: a quota that was lowered takes nothing."""
        if self.size_bytes is not None and growth.size_bytes > 0 and amount.size_bytes > self.size_bytes:
            return "bytes"
        if self.count is not None and growth.count > 0 and amount.count > self.count:
            return "count"
        return None

    @property
    def is_none(self) -> bool:
        return self.size_bytes is None and self.count is None


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one service: for each resource, and for all of them together."""

    resource: Limit = field(default_factory=Limit)
    account: Limit = field(default_factory=Limit)


UNLIMITED: Final = Quota()


class QuotaPassed(TenantryError):
    """A write does not fit. A service says so in its own words."""

    def __init__(self, whose: Literal["resource", "account"], what: Literal["bytes", "count"]) -> None:
        super().__init__(f"more {what} than the {whose} may hold")
        self.whose = whose
        self.what = what


Replaced = Callable[[], Awaitable[Amount]]
"""What is there now that a write would take the place of."""


class Reservation:
    """Room for one write. `grow` asks for it, at once or as its body comes."""

    __slots__ = ("_meter", "_replaced", "amount", "resource_id")

    def __init__(self, meter: Meter, resource_id: str, replaced: Replaced | None) -> None:
        self._meter = meter
        self.resource_id = resource_id
        self._replaced = replaced
        self.amount = Amount()

    async def grow(self, growth: Amount) -> None:
        """Raises QuotaPassed, and is then as it was."""
        await self._meter.reserve(self.resource_id, growth, self.amount, self._replaced)
        self.amount += growth


class CountedStream:
    """A body of unknown length: room is asked for with every piece."""

    def __init__(self, inner: ByteStream, room: Reservation) -> None:
        self._inner = inner
        self._room = room
        self.length: int | None = None

    async def read(self, size_max: int) -> bytes:
        data = await self._inner.read(size_max)
        await self._room.grow(Amount(len(data)))
        return data

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(slots=True)
class _Writing:
    """A resource that is being written to: what it holds, what is on its way, and by how many."""

    used: Amount = field(default_factory=Amount)
    growing: Amount = field(default_factory=Amount)
    writes: int = 0
    looks: int = 0
    """How often `used` was asked for."""
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Meter:
    """The quota of one service of one account. Lives on one event loop. Owns `totals`, which a limit of the account
    needs."""

    def __init__(self, quota: Quota, totals: Totals | None = None) -> None:
        assert quota.account.is_none or totals is not None
        self._quota = quota
        self._totals = totals
        self._writing: dict[str, _Writing] = {}
        self._growing = Amount()
        self._ending: set[asyncio.Future[None]] = set()

    @classmethod
    def open(
        cls,
        quota: Quota,
        file: Path,
        ask: Callable[[str], Awaitable[Amount]],
        resources: Callable[[], Iterable[str]],
        *,
        durable: bool,
    ) -> Meter:
        """With `file` for the totals where the quota needs them. `ask` says what a resource holds, nothing where it is
        gone, and `resources` which there are: see `Totals`."""

        async def held(resource_id: str) -> tuple[int, int]:
            amount = await ask(resource_id)
            return amount.size_bytes, amount.count

        return cls(quota, None if quota.account.is_none else Totals(file, held, resources, durable=durable))

    @property
    def left_bytes(self) -> int:
        """What the account may still hold, at this moment. The quota has a limit for it."""
        assert self._totals is not None
        assert self._quota.account.size_bytes is not None
        return max(0, self._quota.account.size_bytes - self._totals.size_bytes - self._growing.size_bytes)

    async def removing(self, resource_id: str) -> None:
        """Before a resource is removed: after a crash in between it is asked, and holds nothing."""
        if self._totals is not None:
            await self._totals.begin(resource_id)

    async def removed(self, resource_id: str) -> None:
        if self._totals is not None:
            await self._totals.forget(resource_id)

    async def aclose(self) -> None:
        """When nobody writes any more."""
        if self._ending:
            await asyncio.wait(self._ending)
        if self._totals is not None:
            await self._totals.aclose()

    @asynccontextmanager
    async def writing(
        self, resource_id: str, usage: Callable[[], Awaitable[Amount]], replaced: Replaced | None = None
    ) -> AsyncIterator[Reservation]:
        """Around whatever may change what a resource holds. `usage` asks the engine, before and after."""
        reservation = Reservation(self, resource_id, replaced)
        if self._totals is not None:
            await self._totals.begin(resource_id)
        writing = self._writing.setdefault(resource_id, _Writing())
        writing.writes += 1
        try:
            await self._look(resource_id, writing, usage)
            yield reservation
        finally:
            # What was written counts also where its caller leaves now: it is asked for to the end.
            ending = asyncio.ensure_future(self._end(reservation, writing, usage))
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                await asyncio.wait([ending])
                raise

    async def _end(self, reservation: Reservation, writing: _Writing, usage: Callable[[], Awaitable[Amount]]) -> None:
        resource_id = reservation.resource_id
        try:
            await self._look(resource_id, writing, usage)
        finally:
            writing.growing -= reservation.amount
            self._growing -= reservation.amount
            writing.writes -= 1
            if not writing.writes:
                del self._writing[resource_id]

    async def _look(self, resource_id: str, writing: _Writing, usage: Callable[[], Awaitable[Amount]]) -> None:
        # One at a time: an answer must not be learned after a newer one.
        async with writing.looking:
            writing.used = await usage()
            writing.looks += 1
            if self._totals is not None:
                self._totals.learn(resource_id, writing.used.size_bytes, writing.used.count)

    async def reserve(self, resource_id: str, growth: Amount, before: Amount, replaced: Replaced | None) -> None:
        """Room for `growth` more of a write that has `before`. Raises QuotaPassed."""
        writing = self._writing[resource_id]
        try:
            self._check(writing, growth, growth)
        except QuotaPassed:
            if replaced is None:
                raise
            freed = await self._freed(writing, replaced)
            self._check(writing, growth - freed, before + growth - freed)
        writing.growing += growth
        self._growing += growth

    async def _freed(self, writing: _Writing, replaced: Replaced) -> Amount:
        """What a write replaces, which is sure to be part of `used` at the moment of the return."""
        for _ in range(_LOOKS_MAX):
            looks = writing.looks
            freed = await replaced()
            if writing.looks == looks:
                return freed
        return Amount()

    def _check(self, writing: _Writing, growth: Amount, net: Amount) -> None:
        """Values in, decision out. `net`: what the write adds in all, less what it replaces. Raises QuotaPassed."""
        if what := self._quota.resource.passed_by(writing.used + writing.growing + growth, net):
            raise QuotaPassed("resource", what)
        if self._totals is not None:
            total = Amount(self._totals.size_bytes, self._totals.count)
            if what := self._quota.account.passed_by(total + self._growing + growth, net):
                raise QuotaPassed("account", what)
