"""A deploy from commit to effect: the store says it, then the data plane is told, in that order and to the end.

The data plane hears of changes in the order of their commits, whoever waits for the answers and whoever gives up: a
client that leaves between commit and effect must not leave the two apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import structlog

from tenantry.config.deployment import DeployedWorker
from tenantry.control.scripts import Deploy
from tenantry.control.store import Store
from tenantry.control.threads import Threads
from tenantry.control.upload import Upload

__all__ = ["Deployer", "Deployments"]

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Deployments(Protocol):
    """The data plane, as the control plane knows it. Called on the event loop, after the commit; must not block."""

    def deployed(self, worker: DeployedWorker) -> None:
        """From now on new requests to this Worker run this version; those in flight finish on the old one."""

    def removed(self, namespace: str | None, name: str) -> None:
        """From now on there is no such Worker."""


class Deployer:
    """Changes what is deployed."""

    def __init__(self, store: Store, deployments: Deployments, threads: Threads) -> None:
        self._store = store
        self._deployments = deployments
        self._threads = threads
        self._order = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()  # Any: results of several kinds

    async def deploy(
        self, account_id: str, namespace: str | None, name: str, upload: Upload, *, strict_inherit: bool
    ) -> Deploy:
        """See `Scripts.deploy`. Once it returns, the version is durable and gets the next request."""

        async def change() -> Deploy:
            async with self._order:
                deploy = await self._threads.run(
                    self._store.scripts.deploy, account_id, namespace, name, upload, strict_inherit=strict_inherit
                )
                # The same upload again must not cost the Worker its warm processes.
                if deploy.changed:
                    self._deployments.deployed(deploy.script.worker)
                return deploy

        return await self._to_its_end(change())

    async def delete(self, account_id: str, namespace: str | None, name: str) -> None:
        """See `Scripts.delete`."""

        async def change() -> None:
            async with self._order:
                await self._threads.run(self._store.scripts.delete, account_id, namespace, name)
                self._deployments.removed(namespace, name)

        await self._to_its_end(change())

    async def aclose(self) -> None:
        """Wait for the changes that are under way."""
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(change)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_orphan)
            raise


def _log_orphan(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("change_failed_after_its_client_left", exc_info=error)
