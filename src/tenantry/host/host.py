"""The host: every deployed Worker, its pool, and the way in for whoever has an event to deliver."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import structlog

from tenantry.channel import Lane, Turns
from tenantry.config.deployment import DeployedWorker
from tenantry.config.egress import PUBLIC, EgressPolicies
from tenantry.config.plans import DEFAULT_PLANS, Plans
from tenantry.errors import ConfigError, WorkerNotFound
from tenantry.host.admission import Admission
from tenantry.host.assets import AssetFront, AssetPool, AssetsTarget
from tenantry.host.bindings import CapabilityTable
from tenantry.host.egress import Egress, EgressNetwork, Lookup
from tenantry.host.egress.proxies import Proxies
from tenantry.host.fetches import Answer, Fetch, FetchAnswered, fetch
from tenantry.host.forms import FormsTarget
from tenantry.host.limits import IDLE_SECONDS_MAX, OPERATOR_WEIGHT, STARTS_PER_PROCESSOR_MAX
from tenantry.host.live import LiveProcesses, evict, memory_budget_bytes
from tenantry.host.logs import LogRate, LogSink
from tenantry.host.namespaces import NamespaceTarget
from tenantry.host.outbound import FetchTarget
from tenantry.host.pool import WorkerPool
from tenantry.host.process import WorkerProcess
from tenantry.host.runtime import Runtime
from tenantry.host.service_bindings import ServiceBindingTarget
from tenantry.host.split import Invokable, Split, read_choice_untrusted
from tenantry.host.starts import Starts
from tenantry.host.startup import Trials
from tenantry.host.targets import close_streams
from tenantry.host.traces import TraceHub
from tenantry.host.watchdog import Watchdog
from tenantry.sandbox import Pacemaker
from tenantry.services.assets import AccountAssets, AssetReader
from tenantry.services.installed import InstalledServices
from tenantry.streams import ByteStream
from tenantry.wire.values import RequestValue

__all__ = ["Host"]

_log = structlog.get_logger()
_FORM_THREADS: Final = 2


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
        assets: AccountAssets | None = None,
    ) -> None:
        """`services` stay the caller's to close, after the host.

        `assets` are the account's; None: its Workers have none.
        `lookup` resolves names for `fetch()`; None: as the machine does. `memory_bytes_max` is what all worker
        processes may hold together; None: most of what this machine has.
        """
        self._runtime = runtime
        self._log_sink = log_sink
        self._loop = asyncio.get_running_loop()
        self._pools: dict[tuple[str | None, str], list[WorkerPool]] = {}
        """Of each Worker those of the versions that are deployed."""
        self._ways: dict[tuple[str | None, str], Invokable] = {}
        """What takes the invocations of each Worker: its one pool, or what divides them between several."""
        self._live = LiveProcesses(memory_budget_bytes() if memory_bytes_max is None else memory_bytes_max)
        self._starts = Starts(STARTS_PER_PROCESSOR_MAX * (os.cpu_count() or 1), lambda: self._live.is_full)
        self._pacemaker = Pacemaker()
        self._watchdog = Watchdog(self._live.measured, self._ranked)
        self.processes_started = self.processes_ended = 0
        """Since the start, for whoever watches."""
        self.traces = TraceHub()
        """What the Workers do, for those who watch them."""
        self._executor = ThreadPoolExecutor(_FORM_THREADS, thread_name_prefix="forms")
        self._services = services
        self._assets = None if assets is None else AssetReader(assets)
        self._plans = plans
        self._admissions: dict[tuple[str | None, str], Admission] = {}
        self._turns = Turns(self._loop)
        self._lanes: dict[tuple[str | None, str], Lane] = {}
        self._log_rates: dict[tuple[str | None, str], LogRate] = {}
        self._policies = egress
        self._network = EgressNetwork(lookup)
        self._proxies = Proxies(self._network, egress)
        self._egress: dict[tuple[str | None, str], Egress] = {}
        self._forms = FormsTarget(data / "spool", self._executor)
        self._trials = Trials(
            runtime,
            lambda worker: self._table(
                worker, Egress(self._network, self._policies.of(worker.namespace, worker.name)), self._front(worker)
            ),
            plans,
        )
        self._reaper = self._loop.call_later(IDLE_SECONDS_MAX, self._reap)

    # Deployments ---------------------------------------------------------------------------------------------------

    def deployed(self, *versions: DeployedWorker) -> None:
        """From now on the requests of a Worker go to these versions of it, each its share; what runs on others is
        finished there. A version that was deployed before keeps its processes. Raises ConfigError.
        """
        key = (versions[0].namespace, versions[0].name)
        before = {pool.worker.version_id: pool for pool in self._pools.get(key, ())}
        pools = [self._pool_of(version, before.get(version.version_id)) for version in versions]
        self.traces.keeping.sample(key, versions[0].kept_rate)
        self._pools[key] = pools
        if len(pools) == 1:
            self._ways[key] = pools[0]
        else:
            self._ways[key] = Split(
                key[1], [(pool, version.percentage) for pool, version in zip(pools, versions, strict=True)]
            )
        for pool in before.values():
            if pool not in pools:
                pool.retire(pools[0])

    def _pool_of(self, worker: DeployedWorker, before: WorkerPool | None) -> WorkerPool:
        if before is not None and before.worker == replace(
            worker, percentage=before.worker.percentage, kept_rate=before.worker.kept_rate
        ):
            return before
        key = (worker.namespace, worker.name)
        front = self._front(worker)
        egress = self._egress.setdefault(key, Egress(self._network, self._policies.of(*key)))
        table = self._table(worker, egress, front)
        table.assignment.proxy = self._proxies.url(*key)
        plan = self._plans.of(*key)
        admission = self._admissions.get(key)
        if admission is None:
            admission = self._admissions[key] = Admission(plan.concurrent_invocations, plan.queued_invocations)
        pool = (WorkerPool if front is None else AssetPool)(
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
            self.traces,
            self._log_rates.setdefault(key, LogRate()),
        )
        if isinstance(pool, AssetPool):
            assert front is not None, "that is what it is one for"
            pool.front = front
        return pool

    def _front(self, worker: DeployedWorker) -> AssetFront | None:
        if worker.assets is None:
            return None
        if self._assets is None:
            raise ConfigError("this host has no store of static assets")
        return AssetFront(self._assets, worker, worker.assets)

    def _table(self, worker: DeployedWorker, egress: Egress, front: AssetFront | None) -> CapabilityTable:
        return CapabilityTable(
            worker,
            self._services.by_binding_type,
            lambda namespace, outbound: NamespaceTarget(self, namespace, outbound),
            lambda fields: ServiceBindingTarget(self.find, fields),
            FetchTarget(egress, self.find),
            self._forms,
            None if front is None else AssetsTarget(front),
        )

    async def start_once(self, worker: DeployedWorker) -> int:
        """Try whether a Worker can be imported, and how long that takes, in ms. Raises StartRefused."""
        return await self._trials.start_once(worker)

    def _lane(self, namespace: str | None, name: str) -> Lane:
        """In which all versions of a Worker wait to be read."""
        lane = self._lanes.get((namespace, name))
        if lane is None:
            # What is in no dispatch namespace is the operator's own, and passes on what all tenants are asked.
            weight = OPERATOR_WEIGHT if namespace is None else 1
            lane = self._lanes[(namespace, name)] = self._turns.lane(weight)
        return lane

    def removed(self, namespace: str | None, name: str) -> None:
        key = (namespace, name)
        self._egress.pop(key, None)
        self._admissions.pop(key, None)
        self.traces.keeping.sample(key, 0)
        self._lanes.pop(key, None)
        self._log_rates.pop(key, None)
        self._ways.pop(key, None)
        for pool in self._pools.pop(key, ()):
            pool.retire()

    def load(self, versions: Iterable[DeployedWorker]) -> None:
        """What was deployed before this start, all versions of a Worker one after the other. A Worker that cannot be
        set up is left out, and said so."""
        for (_, name), group in groupby(versions, key=lambda version: (version.namespace, version.name)):
            try:
                self.deployed(*group)
            except ConfigError as error:
                _log.error("a Worker is not served", worker=name, reason=str(error))

    def find(self, namespace: str | None, name: str) -> Invokable | None:
        return self._ways.get((namespace, name))

    # Events --------------------------------------------------------------------------------------------------------

    def try_fetch(self, worker: str, request: RequestValue, answered: FetchAnswered) -> Fetch | None:
        """As `fetch`, of a request whose body is in it, for who waits in no task. None: ask `fetch`, which waits for
        a process or a place, or says why there is none."""
        way = self.find(None, worker)
        if way is None:
            return None
        return Fetch.try_start(*way.pick(read_choice_untrusted(request.headers)), request, answered)

    async def fetch(self, worker: str, request: RequestValue, body: ByteStream | None = None) -> Answer:
        """Deliver an HTTP request to a Worker outside dispatch namespaces. `body` replaces the request's own.

        Raises InvocationError. Cancelling tells the Worker that its client left.
        """
        way = self.find(None, worker)
        if way is None:
            await close_streams([] if body is None else [body])
            raise WorkerNotFound
        pool, choice = way.pick(read_choice_untrusted(request.headers))
        return await fetch(pool, choice, request, body)

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

    def _ranked(self, some_behind: bool) -> None:
        try:
            self._pacemaker.go(some_behind)
        except OSError as error:
            _log.warning("requests may wait for busy Workers: the pacemaker cannot be started", reason=error.strerror)

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
        self._pacemaker.close()
        self._starts.close()
        for pools in list(self._pools.values()):
            for pool in pools:
                await pool.aclose()
        for process in self._live:  # of versions before
            evict(process)
            await process.wait_closed()
        await self._runtime.aclose()
        if self._assets is not None:
            await self._assets.aclose()
        await self._proxies.aclose()
        await self._network.aclose()
        self._executor.shutdown(wait=True)
