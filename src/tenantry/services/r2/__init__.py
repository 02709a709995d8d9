"""R2: buckets of objects.

`R2Service.open` is a bucket as a Worker's binding. Other edges (the REST API, the S3 endpoint) take `R2Service.bucket`:
the same rules as methods, with the values of `options.py`, `model.py` and `settings.py`.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from tenantry.errors import ConfigError
from tenantry.services import Binding, ServiceSettings
from tenantry.services.quota import UNLIMITED, Amount, Meter
from tenantry.services.r2.backup import back_up
from tenantry.services.r2.binding import R2Binding
from tenantry.services.r2.engine import Engine
from tenantry.services.r2.engines.files import FilesEngine
from tenantry.services.r2.metered import MeteredEngine, amount_of
from tenantry.services.r2.service import BucketRules, Clock, system_clock
from tenantry.services.r2.sweeper import Sweeper
from tenantry.services.snapshot import Snapshot

__all__ = ["SERVICE", "R2Service", "R2ServiceFactory", "metered"]

_RESOURCE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)


class R2Service:
    """The buckets of one account."""

    def __init__(self, engine: Engine, clock: Clock = system_clock) -> None:
        self.engine = engine
        self._clock = clock
        self.sweeper = Sweeper(engine, clock)
        self._sweeping: asyncio.Task[None] | None = None

    def start_sweeping(self) -> None:
        """From now on, and until `aclose`, lifecycles are carried out. Raises RuntimeError outside of an event loop."""
        loop = asyncio.get_running_loop()
        if self._sweeping is None:
            self._sweeping = loop.create_task(self.sweeper.run())

    def open(self, resource_id: str) -> Binding:
        return R2Binding(self.engine.bucket(_checked(resource_id)), self._clock)

    def bucket(self, resource_id: str) -> BucketRules:
        """The bucket under R2's rules, without the wire's values around it."""
        return BucketRules(self.engine.bucket(_checked(resource_id)), self._clock)

    async def delete(self, resource_id: str) -> None:
        await self.engine.delete_bucket(_checked(resource_id))

    async def delete_if_empty(self, resource_id: str) -> bool:
        """Removes a bucket that holds no object; False, and no effect, where it does."""
        return await self.engine.delete_bucket(_checked(resource_id), if_empty=True)

    async def aclose(self) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.wait([self._sweeping])
            self._sweeping = None
        await self.engine.aclose()


def _checked(resource_id: str) -> str:
    if not isinstance(resource_id, str) or _RESOURCE_ID.fullmatch(resource_id) is None:
        raise ConfigError(
            f"the bucket name {resource_id!r} cannot be used: it begins with a letter or a digit, has letters, digits, "
            "'.', '_' and '-', and at most 128 of them"
        )
    return resource_id


def metered(engine: Engine, settings: ServiceSettings) -> Engine:
    """The engine under the account's quota, if it has one. Whoever has it closes it."""
    quota = settings.quotas.get("r2", UNLIMITED)
    if quota == UNLIMITED:
        return engine

    async def ask(name: str) -> Amount:
        return amount_of(await engine.bucket(name).usage())

    folder = settings.folder / "r2"
    meter = Meter.open(
        quota,
        settings.folder / "r2.totals",
        ask,
        lambda: [each.name for each in folder.glob("[!.]*") if each.is_dir()],
        durable=settings.durability == "full",
    )
    return MeteredEngine(engine, meter)


class R2ServiceFactory:
    """What the entry point names."""

    name = "r2"
    binding_types: dict[str, str] = {"r2_bucket": "bucket_name"}  # noqa: RUF012 - the protocol says dict

    def __call__(self, settings: ServiceSettings) -> R2Service:
        engine = FilesEngine(settings.folder / self.name, durable=settings.durability == "full")
        service = R2Service(metered(engine, settings))
        # Who makes services without a loop, as a generator of documents does, wants to look at them only.
        with suppress(RuntimeError):
            service.start_sweeping()
        return service

    def back_up(self, folder: Path, target: Path, snapshot: Snapshot) -> None:
        back_up(folder, target, snapshot)


SERVICE: Final = R2ServiceFactory()
