"""The sweep: carries out the lifecycle of every bucket of an account, now and then, one bucket after the other."""

from __future__ import annotations

import asyncio
from dataclasses import astuple

import structlog

from tenantry.services.r2.engine import Engine
from tenantry.services.r2.errors import BucketGone
from tenantry.services.r2.limits import SWEEP_HOURS, SWEEP_PAUSE_SECONDS, SWEEP_START_SECONDS
from tenantry.services.r2.service import BucketRules, Clock, Swept, system_clock

__all__ = ["Sweeper"]

_log = structlog.get_logger()


class Sweeper:
    """Sweeps until it is cancelled. Whoever starts `run` owns the task."""

    def __init__(self, engine: Engine, clock: Clock = system_clock) -> None:
        self._engine = engine
        self._clock = clock

    async def run(self) -> None:
        # Not at once: a host that starts has customers waiting.
        await asyncio.sleep(SWEEP_START_SECONDS)
        while True:
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - a sweep that fails is tried again; the operator reads why
                _log.exception("the R2 buckets could not be listed for the sweep")
            await asyncio.sleep(SWEEP_HOURS * 3600)

    async def sweep(self) -> Swept:
        """All buckets once. One that fails is logged, and does not keep the others from it."""
        total = Swept()
        for name in await self._engine.bucket_names():
            try:
                swept = await BucketRules(self._engine.bucket(name), self._clock).sweep()
            except BucketGone:  # meanwhile
                continue
            except Exception:  # noqa: BLE001 - one broken bucket is no reason to leave the others
                _log.exception("an R2 bucket could not be swept", bucket=name)
                continue
            if swept.orphaned_bodies:
                _log.warning("an R2 bucket had bodies that no object names", bucket=name, count=swept.orphaned_bodies)
            total = Swept(*(before + more for before, more in zip(astuple(total), astuple(swept), strict=True)))
            await asyncio.sleep(SWEEP_PAUSE_SECONDS)
        return total
