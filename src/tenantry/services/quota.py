"""What a resource, and all of an account's resources of a service, may hold; and whether a write fits.

    used       what a resource holds, exactly, as its engine counts it
    growing    writes and uploads in progress: reserved before the first byte, given back when they end
    total      `used` of all resources of the account

A write reserves what it will add, and is refused if `used + growing + it` is more than the resource may hold, or
`total + growing + it` more than the account may. Between the moment that a write is done and the moment that it gives
back its reservation it counts twice: a quota is never passed, and a write may be refused that a moment later fits.

`total` is not counted anew at a start. `Totals` keeps what each resource holds in a file of its own, and notes a
resource down as changing before the first write to it: after a crash only those are asked again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from tenantry.errors import TenantryError
from tenantry.services.totals import Totals

__all__ = ["UNLIMITED", "Amount", "Limit", "Meter", "Quota", "QuotaPassed", "Reservation"]


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


class Reservation:
    """Room for one write. `grow` asks for it, at once or as its body comes."""

    __slots__ = ("_meter", "_resource_id", "amount")

    def __init__(self, meter: Meter, resource_id: str) -> None:
        self._meter = meter
        self._resource_id = resource_id
        self.amount = Amount()

    def grow(self, growth: Amount) -> None:
        """Raises QuotaPassed, and is then as it was."""
        self._meter.reserve(self._resource_id, growth)
        self.amount += growth


@dataclass(slots=True)
class _Writing:
    """A resource that is being written to: what it holds, what is on its way, and by how many."""

    used: Amount
    growing: Amount = field(default_factory=Amount)
    writes: int = 0


class Meter:
    """The quota of one service of one account. Lives on one event loop. A limit of the account needs `totals`."""

    def __init__(self, quota: Quota, totals: Totals | None = None) -> None:
        assert quota.account.is_none or totals is not None
        self._quota = quota
        self._totals = totals
        self._writing: dict[str, _Writing] = {}
        self._growing = Amount()

    @asynccontextmanager
    async def writing(self, resource_id: str, usage: Callable[[], Awaitable[Amount]]) -> AsyncIterator[Reservation]:
        """Around whatever may change what a resource holds. `usage` asks the engine, before and after."""
        reservation = Reservation(self, resource_id)
        if self._totals is not None:
            await self._totals.begin(resource_id)
        used = await usage()
        if self._totals is not None:
            self._totals.learn(resource_id, used.size_bytes, used.count)
        writing = self._writing.setdefault(resource_id, _Writing(used))
        writing.used = used
        writing.writes += 1
        try:
            yield reservation
        finally:
            try:
                writing.used = await usage()
                if self._totals is not None:
                    self._totals.learn(resource_id, writing.used.size_bytes, writing.used.count)
            finally:
                writing.growing -= reservation.amount
                self._growing -= reservation.amount
                writing.writes -= 1
                if not writing.writes:
                    del self._writing[resource_id]

    def reserve(self, resource_id: str, growth: Amount) -> None:
        """Values in, decision out. Raises QuotaPassed."""
        writing = self._writing[resource_id]
        if what := self._quota.resource.passed_by(writing.used + writing.growing + growth, growth):
            raise QuotaPassed("resource", what)
        if self._totals is not None:
            total = Amount(self._totals.size_bytes, self._totals.count)
            if what := self._quota.account.passed_by(total + self._growing + growth, growth):
                raise QuotaPassed("account", what)
        writing.growing += growth
        self._growing += growth
