"""A try: a Worker is started in a sandbox of its own, asked whether it could be imported, and ended.

It gets the environment that it will have, and nothing that it calls answers: a module that is being imported belongs to
no invocation. What it prints meanwhile is nobody's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from tenantry.channel import ChannelClosed, Peer
from tenantry.config.deployment import DeployedWorker
from tenantry.config.plans import Plans
from tenantry.errors import ProtocolError, StartRefused, TenantryError
from tenantry.host.bindings import CapabilityTable
from tenantry.host.limits import REFUSED_CALLS_MAX, TRIAL_LOG_CHARACTERS_MAX, TRIALS_MAX
from tenantry.host.redaction import redactor
from tenantry.host.runtime import Process, Runtime
from tenantry.wire.assignment import WORKER_ROOT, encode_assignment
from tenantry.wire.events import (
    CallReceived,
    InvocationKind,
    LogLost,
    LogReceived,
    PeerError,
    StreamExport,
    StubExport,
)
from tenantry.wire.values import encode

__all__ = ["Trials"]

_LOOK_SECONDS: Final = 0.02


class Trials:
    """A few at a time; the others wait. Made and used on one event loop.

    `table_of` makes the capability table of a Worker, as it will be when it is deployed.
    """

    def __init__(self, runtime: Runtime, table_of: Callable[[DeployedWorker], CapabilityTable], plans: Plans) -> None:
        self._runtime = runtime
        self._table_of = table_of
        self._plans = plans
        self._places = asyncio.Semaphore(TRIALS_MAX)

    async def start_once(self, worker: DeployedWorker) -> int:
        """How long the import took, in ms. Raises StartRefused."""
        async with self._places:
            return await self._start_once(worker)

    async def _start_once(self, worker: DeployedWorker) -> int:
        plan = self._plans.of(worker.namespace, worker.name)
        assignment = self._table_of(worker).assignment
        assignment.trial = True
        assignment.proxy = ""
        try:
            process = await self._runtime.start(worker.bundle, encode_assignment(assignment))
        except (TenantryError, OSError) as error:
            raise TenantryError("no process could be started to try the Worker") from error
        loop = asyncio.get_running_loop()
        redact = redactor(worker) or _as_it_is
        log = _Log(redact)
        log.peer = peer = Peer(process.channel, log, loop)
        for target in range(len(assignment.bindings) + 2):
            peer.session.export(StubExport(target))
        began = loop.time()
        watch = loop.create_task(_end_at_limit(process, plan.startup_cpu_ms / 1000, began + plan.startup_seconds))
        try:
            _, future = peer.call(WORKER_ROOT, InvocationKind.RPC, "", encode([]))
            await future
        except PeerError as error:
            raise StartRefused(log.text or redact(str(error))) from error
        except ChannelClosed as error:
            if watch.done():
                raise StartRefused(
                    f"Its import took more than {plan.startup_cpu_ms} ms of CPU time or {plan.startup_seconds:g} s. "
                    "Do less while the module is imported, for instance on the first request instead."
                ) from error
            raise StartRefused(f"{log.text}\nIts process ended while it was imported.".strip()) from error
        finally:
            watch.cancel()
            process.kill()
            await peer.wait_closed()
        return round((loop.time() - began) * 1000)


async def _end_at_limit(process: Process, cpu_seconds_max: float, deadline: float) -> None:
    loop = asyncio.get_running_loop()
    before = process.cpu_seconds()
    while loop.time() < deadline and process.cpu_seconds() - before < cpu_seconds_max:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_SECONDS)
    process.kill()


def _as_it_is(text: str) -> str:
    return text


class _Log:
    """The handler of the channel: what the Worker says of its failure, and no to all that it calls."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self.text = ""
        self.peer: Peer | None = None
        self._refused = 0

    def call_received(self, event: CallReceived) -> None:
        assert self.peer is not None, "it is made before anything arrives"
        self._refused += 1
        if self._refused > REFUSED_CALLS_MAX:
            self.peer.close(ProtocolError("calls without end"))
            return
        self.peer.discard(event.capabilities)
        self.peer.error(event.call, PeerError("Error", "A module that is being imported belongs to no request."))

    def call_canceled(self, call: int) -> None: ...

    def call_closed(self, call: int) -> None: ...

    def export_over(self, export: StubExport | StreamExport) -> None: ...

    def stream_failed(self, export: StreamExport, error: BaseException) -> None: ...

    def log_received(self, event: LogReceived) -> None:
        if event.level == "error":
            self.text = self._redact(event.messages[-1])[:TRIAL_LOG_CHARACTERS_MAX]

    def logs_lost(self, event: LogLost) -> None: ...

    def closed(self, error: Exception | None) -> None: ...
