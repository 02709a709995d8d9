"""A deploy from commit to effect: the store says it, then the data plane is told, in that order and to the end.

The data plane hears of changes in the order of their commits, whoever waits for the answers and whoever gives up: a
client that leaves between commit and effect must not leave the two apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from tenantry.config.deployment import DeployedWorker
from tenantry.control.scripts import Change
from tenantry.control.threads import Threads

__all__ = ["Deployer", "Deployments"]

_log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Deployments(Protocol):
    """The data plane, as the control plane knows it. Called on the event loop, after the commit; must not block."""

    def deployed(self, *versions: DeployedWorker) -> None:
        """From now on new requests to this Worker run these versions, each its share; those in flight finish where they
        are."""

    def removed(self, namespace: str | None, name: str) -> None:
        """From now on there is no such Worker."""


class Deployer:
    """Changes what is deployed."""

    def __init__(self, deployments: Deployments, threads: Threads) -> None:
        self._deployments = deployments
        self._threads = threads
        self._order = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()  # Any: results of several kinds

    async def apply(self, function: Callable[P, Change[T]], *arguments: P.args, **named: P.kwargs) -> T:
        """Make a change of the store, in a thread, and have the data plane hear of it.

        Once this returns, the change is durable and holds for the next request. Raises what `function` raises.
        """

        async def change() -> T:
            async with self._order:
                made = await self._threads.run(function, *arguments, **named)
                # In one turn of the loop: no request sees a part of it.
                for versions in made.deployed:
                    self._deployments.deployed(*versions)
                for namespace, name in made.removed:
                    self._deployments.removed(namespace, name)
                return made.result

        return await self._to_its_end(change())

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
