"""A Worker is started once before it is stored: one whose import fails is refused, with its own traceback."""

from __future__ import annotations

from typing import Protocol

from tenantry.config.deployment import DeployedWorker
from tenantry.control.errors import Invalid
from tenantry.errors import StartRefused

__all__ = ["Starter", "check_start"]


class Starter(Protocol):
    """Whoever can start a Worker in a sandbox and end it again."""

    async def start_once(self, worker: DeployedWorker) -> int:
        """How long its import took, in ms. Raises StartRefused with what the Worker's author has to read."""


async def check_start(starter: Starter | None, worker: DeployedWorker) -> int:
    """Raises Invalid (10021), as Cloudflare does. Without a starter, or without code, nothing is checked."""
    if starter is None or not worker.main_module:
        return 0
    try:
        return await starter.start_once(worker)
    except StartRefused as error:
        # Not the word "startup": wrangler would profile the bundle with its own runtime then.
        raise Invalid(10021, f"The Worker cannot be imported.\n{error}") from error
