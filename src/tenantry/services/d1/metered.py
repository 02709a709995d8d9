"""The account's quota around calls. What one database may hold is the engine's own limit.

Nobody knows what a statement will add before it ran. So a call runs within what is left to the account, and asks for
what it added before that is committed: of two that would both fit, but not together, the second is undone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from tenantry.services.d1 import errors
from tenantry.services.d1.engine import Engine
from tenantry.services.d1.errors import QueryFailed
from tenantry.services.d1.model import Room
from tenantry.services.quota import Amount, Limit, Meter, Quota, QuotaPassed, Reservation

__all__ = ["MeteredCalls", "account_meter"]

_log = structlog.get_logger()


def account_meter(engine: Engine, quota: Quota, totals: Path, durable: bool) -> Meter | None:
    """None where the account has no limit. `totals` is the file for what its databases hold."""
    if quota.account.size_bytes is None:
        return None

    async def ask(resource_id: str) -> Amount:
        return Amount(await asyncio.to_thread(engine.usage, resource_id))

    return Meter.open(Quota(account=Limit(quota.account.size_bytes)), totals, ask, engine.resource_ids, durable=durable)


class MeteredCalls:
    """Lives on one event loop."""

    def __init__(self, engine: Engine, meter: Meter) -> None:
        self._engine = engine
        self._meter = meter

    @asynccontextmanager
    async def room(self, resource_id: str) -> AsyncIterator[Room]:
        """Around a call, from before it is queued until it has ended. Raises `QueryFailed`."""

        async def usage() -> Amount:
            try:
                return Amount(await asyncio.to_thread(self._engine.usage, resource_id))
            except Exception as error:
                _log.exception("a D1 database could not be measured", database=resource_id)
                raise QueryFailed(errors.STORAGE_FAILED) from error

        async with self._meter.writing(resource_id, usage) as reservation:
            yield _Room(reservation, self._meter.left_bytes, asyncio.get_running_loop())


class _Room:
    """See `model.Room`."""

    def __init__(self, reservation: Reservation, left_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self.left_bytes = left_bytes
        self._reservation = reservation
        self._loop = loop

    def take(self, size_bytes: int) -> None:
        more = size_bytes - self._reservation.amount.size_bytes
        if more > 0:
            try:
                asyncio.run_coroutine_threadsafe(self._reservation.grow(Amount(more)), self._loop).result()
            except QuotaPassed as error:
                raise QueryFailed(errors.ACCOUNT_FULL) from error
