"""The host: every deployed Worker, its pool, and the way in for whoever has an event to deliver."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from tenantry.channel import Lane, Turns
from tenantry.config.deployment import DeployedWorker
from tenantry.config.egress import PUBLIC, EgressPolicies
from tenantry.config.plans import DEFAULT_PLANS, Plans
from tenantry.errors import ConfigError, ProtocolError, WorkerNotFound, WorkerThrew
from tenantry.host.admission import Admission
from tenantry.host.bindings import CapabilityTable
from tenantry.host.egress import Egress, EgressNetwork, Lookup
from tenantry.host.egress.proxies import Proxies
from tenantry.host.forms import FormsTarget
from tenantry.host.limits import IDLE_SECONDS_MAX, OPERATOR_WEIGHT, STARTS_PER_PROCESSOR_MAX
from tenantry.host.live import LiveProcesses, evict, memory_budget_bytes
from tenantry.host.logs import LogSink
from tenantry.host.namespaces import NamespaceTarget
from tenantry.host.outbound import FetchTarget
from tenantry.host.pool import WorkerPool
from tenantry.host.process import WorkerProcess
from tenantry.host.runtime import Runtime
from tenantry.host.starts import Starts
from tenantry.host.targets import Thing, close_streams, give_back
from tenantry.host.watchdog import Watchdog
from tenantry.services.installed import InstalledServices
from tenantry.streams import ByteStream, is_byte_stream
from tenantry.wire.events import InvocationKind, PeerError
from tenantry.wire.values import RequestValue, ResponseValue, capability, decode_untrusted, encode

__all__ = ["Answer", "Host"]

_log = structlog.get_logger()
_FORM_THREADS: Final = 2


@dataclass(slots=True)
class Answer:
    """A Worker's response. `stream` is its body where `response.body` is not; whoever has the answer closes it."""

    response: ResponseValue
    stream: ByteStream | None = None
    begun: bool = False
    """Whether whoever has the answer has passed any of it on."""


class Host:
    """All of the data plane behind its listeners, for one account. Made and used on one event loop."""

    def __init__(
        self,
        data: Path,
        services: InstalledServices,
        runtime: Runtime,
        log_sink: LogSink,
        egress: EgressPolicies = PUBLIC,
        lookup: Lookup | None = None,
        plans: Plans = DEFAULT_PLANS,
        memory_bytes_max: int | None = None,
    ) -> None:
        """`services` stay the caller's to close, after the host.

        `lookup` resolves names for `fetch()`; None: as the machine does. `memory_bytes_max` is what all worker
        processes may hold together; None: most of what this machine has.
        """
        self._runtime = runtime
        self._log_sink = log_sink
        self._loop = asyncio.get_running_loop()
        self._pools: dict[tuple[str | None, str], WorkerPool] = {}
        self._live = LiveProcesses(memory_budget_bytes() if memory_bytes_max is None else memory_bytes_max)
        self._starts = Starts(STARTS_PER_PROCESSOR_MAX * (os.cpu_count() or 1), lambda: self._live.is_full)
        self._watchdog = Watchdog(self._live.measured)
        self.processes_started = self.processes_ended = 0
        """Since the start, for whoever watches."""
        self._executor = ThreadPoolExecutor(_FORM_THREADS, thread_name_prefix="forms")
        self._services = services
        self._plans = plans
        self._admissions: dict[tuple[str | None, str], Admission] = {}
        self._turns = Turns(self._loop)
        self._lanes: dict[tuple[str | None, str], Lane] = {}
        self._policies = egress
        self._network = EgressNetwork(lookup)
        self._proxies = Proxies(self._network, egress)
        self._egress: dict[tuple[str | None, str], Egress] = {}
        self._forms = FormsTarget(data / "spool", self._executor)
        self._reaper = self._loop.call_later(IDLE_SECONDS_MAX, self._reap)

    # Deployments ---------------------------------------------------------------------------------------------------

    def deployed(self, worker: DeployedWorker) -> None:
        """From now on requests go to this version; what runs on the one before is finished there."""
        key = (worker.namespace, worker.name)
        egress = self._egress.get(key) or Egress(self._network, self._policies.of(*key))
        table = CapabilityTable(
            worker,
            self._services.by_binding_type,
            lambda namespace, outbound: NamespaceTarget(self, namespace, outbound),
            FetchTarget(egress, self.find),
            self._forms,
        )
        table.assignment.proxy = self._proxies.url(*key)
        self._egress[key] = egress
        plan = self._plans.of(*key)
        admission = self._admissions.get(key)
        if admission is None:
            admission = self._admissions[key] = Admission(plan.concurrent_invocations, plan.queued_invocations)
        pool = WorkerPool(
            worker,
            table,
            self._runtime,
            self._log_sink,
            self._watchdog.watch,
            self._process_started,
            self._ended,
            plan,
            admission,
            self._starts,
            self._lane(*key),
        )
        before = self._pools.get(key)
        self._pools[key] = pool
        if before is not None:
            before.retire(pool)

    def _lane(self, namespace: str | None, name: str) -> Lane:
        """In which all versions of a Worker wait to be read."""
        lane = self._lanes.get((namespace, name))
        if lane is None:
            # What is in no dispatch namespace is the operator's own, and passes on what all tenants are asked.
            weight = OPERATOR_WEIGHT if namespace is None else 1
            lane = self._lanes[(namespace, name)] = self._turns.lane(weight)
        return lane

    def removed(self, namespace: str | None, name: str) -> None:
        self._egress.pop((namespace, name), None)
        self._admissions.pop((namespace, name), None)
        self._lanes.pop((namespace, name), None)
        pool = self._pools.pop((namespace, name), None)
        if pool is not None:
            pool.retire()

    def load(self, workers: Iterable[DeployedWorker]) -> None:
        """What was deployed before this start. A Worker that cannot be set up is left out, and said so."""
        for worker in workers:
            try:
                self.deployed(worker)
            except ConfigError as error:
                _log.error("a Worker is not served", worker=worker.name, reason=str(error))

    def find(self, namespace: str | None, name: str) -> WorkerPool | None:
        return self._pools.get((namespace, name))

    # Events --------------------------------------------------------------------------------------------------------

    async def fetch(self, worker: str, request: RequestValue, body: ByteStream | None = None) -> Answer:
        """Deliver an HTTP request to a Worker outside dispatch namespaces. `body` replaces the request's own.

        Raises InvocationError. Cancelling tells the Worker that its client left.
        """
        pool = self._pools.get((None, worker))
        things: list[Thing] = []
        if body is not None:
            request.body = 0
            things.append(body)
        if pool is None:
            await close_streams(things)
            raise WorkerNotFound
        try:
            reply = await pool.invoke(InvocationKind.FETCH, "fetch", encode([request]), things)
        except PeerError as error:
            raise WorkerThrew(error.name, error.message) from error
        answer: Answer | None = None
        try:
            answer = _answer(decode_untrusted(reply.payload), reply.things)
            return answer
        except ProtocolError as error:
            raise WorkerThrew("TypeError", f"the Worker's response cannot be used: {error}") from error
        finally:
            if reply.things:  # only its body is of use, whatever came with it
                body = answer.stream if answer is not None else None
                await give_back([thing for thing in reply.things if thing is not body])

    # Processes -----------------------------------------------------------------------------------------------------

    def processes(self) -> list[dict[str, Any]]:
        """The live worker processes, for whoever watches the platform."""
        return [
            {
                "pid": process.process.pid,
                "worker": process.worker.name,
                "namespace": process.worker.namespace,
                "version": process.worker.version_id,
                "in_flight": len(process.invocations),
            }
            for process in self._live
        ]

    @property
    def worker_count(self) -> int:
        return len(self._pools)

    @property
    def process_count(self) -> int:
        return len(self._live)

    @property
    def invocation_count(self) -> int:
        return sum(len(process.invocations) for process in self._live)

    def _process_started(self, process: WorkerProcess) -> None:
        self._live.add(process)
        self.processes_started += 1
        listener = process.process.listener
        if listener is not None:
            worker = process.worker
            process.proxy = self._proxies.open(
                listener, worker.namespace, worker.name, lambda message: process.emit("warn", message)
            )

    def _ended(self, process: WorkerProcess) -> None:
        self._live.discard(process)
        self.processes_ended += 1

    def _reap(self) -> None:
        """End the processes that had nothing to do for a while."""
        now = self._loop.time()
        for process in self._live:
            if not process.invocations and now - process.used_at >= IDLE_SECONDS_MAX:
                evict(process)
            elif not process.invocations:
                self._watchdog.glance(process)
        self._reaper = self._loop.call_later(IDLE_SECONDS_MAX / 4, self._reap)

    async def aclose(self) -> None:
        """End every process, and wait for what they asked for."""
        self._reaper.cancel()
        self._watchdog.close()
        self._starts.close()
        for pool in list(self._pools.values()):
            await pool.aclose()
        for process in self._live:  # of versions before
            evict(process)
            await process.wait_closed()
        await self._runtime.aclose()
        await self._proxies.aclose()
        await self._network.aclose()
        self._executor.shutdown(wait=True)


def _answer(value: Any, things: list[Thing]) -> Answer:
    if not isinstance(value, ResponseValue):
        raise ProtocolError("it is not a Response")
    if value.body is None or isinstance(value.body, bytes):
        return Answer(value)
    stream = capability(value.body, things)
    if not is_byte_stream(stream):
        raise ProtocolError("its body is not a stream")
    return Answer(value, stream)
