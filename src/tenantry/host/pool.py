"""The processes of one version of a Worker: none at rest, the first on demand, more while they are busy.

A Worker whose processes crash is held back, longer each time, so that a crash loop costs its own requests and not the
machine. A pool that was replaced by a newer version finishes what it holds and ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from tenantry.channel import Answered, Lane
from tenantry.config.deployment import DeployedWorker
from tenantry.config.plans import DEFAULT_PLANS, Plan
from tenantry.errors import LimitExceeded, Overloaded, StartLimitExceeded, TenantryError, WorkerCrashed
from tenantry.host.admission import Admission
from tenantry.host.allowance import allow
from tenantry.host.bindings import CapabilityTable
from tenantry.host.invocation import Invocation
from tenantry.host.limits import (
    BACKOFF_CRASHES_FREE,
    BACKOFF_REFUSAL_SECONDS,
    BACKOFF_SECONDS_FIRST,
    BACKOFF_SECONDS_MAX,
    BACKOFF_WAIT_SECONDS_MAX,
    BUSY_INVOCATIONS,
    DEPTH_MAX,
    HEALTHY_SECONDS,
    HELD_SECONDS_MAX,
    PROCESSES_PER_WORKER_MAX,
    START_ATTEMPTS_MAX,
    TICK_SECONDS,
)
from tenantry.host.logs import LogRate, LogSink, emit
from tenantry.host.process import WorkerProcess
from tenantry.host.runtime import Runtime
from tenantry.host.split import VersionChoice
from tenantry.host.starts import Starts
from tenantry.host.targets import Reply, Thing, close_streams
from tenantry.host.terms import NO_TERMS, Terms
from tenantry.host.traces import TraceHub
from tenantry.wire.assignment import START_FAILED_CODE, WORKER_ROOT, encode_assignment
from tenantry.wire.events import InvocationKind, PeerError

__all__ = ["WorkerPool"]

_log = structlog.get_logger()


class WorkerPool:
    def __init__(
        self,
        worker: DeployedWorker,
        table: CapabilityTable,
        runtime: Runtime,
        log_sink: LogSink,
        on_busy: Callable[[WorkerProcess], None],
        on_started: Callable[[WorkerProcess], None],
        on_ended: Callable[[WorkerProcess], None],
        plan: Plan = DEFAULT_PLANS.default,
        admission: Admission | None = None,
        starts: Starts | None = None,
        lane: Lane | None = None,
        traces: TraceHub | None = None,
        log_rate: LogRate | None = None,
    ) -> None:
        """`admission` is shared by all versions of the Worker; None: it has its own, of the plan. So is `lane`, where
        its processes wait to be read; None: they do not wait; and `log_rate`. `starts` is shared by all Workers; None:
        nobody else starts any."""
        self.worker = worker
        self.admission = admission or Admission(plan.concurrent_invocations, plan.queued_invocations)
        self._allowance = allow(worker.limits, plan)
        self.processes: list[WorkerProcess] = []
        self._table = table
        self._assignment = encode_assignment(table.assignment)
        self._runtime = runtime
        self._log_sink = log_sink
        self._traces = traces
        self._log_rate = log_rate or LogRate()
        self._on_busy = on_busy
        self._on_started = on_started
        self._on_ended = on_ended
        self._lane = lane
        self._starts = starts or Starts(PROCESSES_PER_WORKER_MAX, lambda: False)
        self._loop = asyncio.get_running_loop()
        self._starting: asyncio.Task[WorkerProcess] | None = None
        self._waiting = 0
        self._held_up: deque[tuple[float, asyncio.Future[None]]] = deque()
        """Who waits for one of the processes to let go of its processor, and until when. In order of arrival."""
        self._held_timer: asyncio.TimerHandle | None = None
        self._retired = False
        self._successor: WorkerPool | None = None
        self._crashes = 0
        self._held_until = 0.0
        self._suspect_until = 0.0
        """What starts before then follows a crash."""

    async def invoke(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        things: Sequence[Thing],
        depth: int = 0,
        terms: Terms = NO_TERMS,
        caller: Invocation | None = None,
        choice: VersionChoice | None = None,
    ) -> Reply:
        """Run an invocation of the Worker. Raises as WorkerProcess.invoke does, and Overloaded.

        The streams in `things` are closed, whatever happens. `caller` is the invocation whose code calls, if one does.
        `choice` is for what it calls: this pool has one version.
        """
        pool: WorkerPool | None = None
        process: WorkerProcess | None = None
        try:
            if depth > DEPTH_MAX:
                raise LimitExceeded(f"Workers may call one another {DEPTH_MAX} deep.")
            if caller is not None and caller.is_called_by(self.worker):
                self.admission.enter_nested()  # to queue here would be to wait for itself
            elif not self.admission.try_enter():
                await self.admission.enter()
            pool = self._newest()
            process = await pool._find_process()
        finally:
            if process is None:
                if pool is not None:
                    self.admission.leave()
                await close_streams(list(things))
        return await pool._ask(process, kind, method, payload, things, depth, terms, caller, choice)

    def pool_for(self, caller: Invocation) -> WorkerPool:
        """As in a split: this one, for every caller."""
        return self

    def pick(self, choice: VersionChoice | None) -> tuple[WorkerPool, VersionChoice | None]:
        """As in a split."""
        return self, choice

    def try_ask(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        depth: int,
        terms: Terms,
        caller: Invocation | None,
        answered: Answered,
        choice: VersionChoice | None = None,
    ) -> Invocation | None:
        """Begin an invocation that brings no streams, if there is a process and a place for it in this turn.

        None: nothing was done, and `invoke` waits for what is missing, or says why there is none. Raises
        InvocationError. What `answered` gets is for the process's `take`, or for `failure`.
        """
        if depth > DEPTH_MAX or self._retired or (caller is not None and caller.is_called_by(self.worker)):
            return None
        process = self._choose()
        if process is None or process.peer.is_closed or not self.admission.try_enter():
            return None
        return process.ask(
            kind, method, payload, (), depth, WORKER_ROOT, terms, caller, self.admission, answered, choice
        )

    def failure(self, invocation: Invocation, error: TenantryError) -> TenantryError:
        """Why an invocation has no answer. A process that could not become its Worker ends here."""
        failure = invocation.process.failure(invocation, error)
        if isinstance(failure, PeerError) and failure.code == START_FAILED_CODE:
            return self._start_failed(invocation.process)
        return failure

    def _start_failed(self, process: WorkerProcess) -> TenantryError:
        self._crashed(process)
        process.kill()
        if process.interrupted_at:
            return StartLimitExceeded("Worker exceeded its start-up limit: its log says where.")
        return WorkerCrashed("The Worker could not be started: its log says why.")

    async def _ask(
        self,
        process: WorkerProcess,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        things: Sequence[Thing],
        depth: int,
        terms: Terms,
        caller: Invocation | None,
        choice: VersionChoice | None,
    ) -> Reply:
        try:
            return await process.invoke(
                kind,
                method,
                payload,
                things,
                depth,
                terms=terms,
                caller=caller,
                admission=self.admission,
                choice=choice,
            )
        except PeerError as error:
            if error.code != START_FAILED_CODE:
                raise
            raise self._start_failed(process) from error

    def _newest(self) -> WorkerPool:
        """The pool to run in: who waited for a place meets the version that is deployed by now."""
        pool = self
        while pool._successor is not None:
            pool = pool._successor
        return pool

    def retire(self, successor: WorkerPool | None = None) -> None:
        """Take no more invocations; end each process with the last that it holds."""
        self._retired = True
        self._successor = successor
        for process in list(self.processes):
            self._retire(process)

    def _retire(self, process: WorkerProcess) -> None:
        process.retiring = True
        if not process.invocations:
            process.kill()

    # Choosing a process --------------------------------------------------------------------------------------------

    def _choose(self) -> WorkerProcess | None:
        """The process that is least busy, or None when there is none that answers. May start another beside it."""
        best: WorkerProcess | None = None
        lasting = 0
        for process in self.processes:
            if process.retiring or process.condemned_at:
                continue
            lasting += 1
            held = len(process.invocations)
            if not process.held and (best is None or held < len(best.invocations)):
                best = process
        if best is None:
            return None
        if len(best.invocations) >= BUSY_INVOCATIONS and lasting < PROCESSES_PER_WORKER_MAX:
            self._start_soon()
        return best

    async def _find_process(self) -> WorkerProcess:
        """A process to ask now: no turn of the loop may come between this and the question."""
        attempts = 0
        deadline = 0.0
        while attempts < START_ATTEMPTS_MAX:
            process = self._choose()
            if process is None and self._is_held:
                deadline = deadline or self._loop.time() + HELD_SECONDS_MAX
                await self._wait_let_go(deadline)
                continue
            process = process or await self._wait_process()
            if not process.peer.is_closed:
                return process
            # It died, or had to make room for another, between its start and here.
            attempts += 1
        raise WorkerCrashed("The Worker's process ended as soon as it was started.")

    @property
    def _is_held(self) -> bool:
        """Whether there are as many processes as there may be, and all of them hold their processors."""
        lasting = [process for process in self.processes if not process.retiring and not process.condemned_at]
        return len(lasting) >= PROCESSES_PER_WORKER_MAX and all(process.held for process in lasting)

    async def _wait_let_go(self, deadline: float) -> None:
        """Not in the inbox of one of them: who waits there fails with it when it is ended. Raises Overloaded."""
        turn: asyncio.Future[None] = self._loop.create_future()
        waiter = (deadline, turn)
        self._held_up.append(waiter)
        if self._held_timer is None:
            self._held_timer = self._loop.call_later(TICK_SECONDS, self._look_held)
        try:
            await turn
        finally:
            if waiter in self._held_up:
                self._held_up.remove(waiter)

    def _look_held(self) -> None:
        self._held_timer = None
        now = self._loop.time()
        let_go = not self._is_held
        for deadline, turn in list(self._held_up):
            if turn.done():
                continue
            if let_go:
                turn.set_result(None)
            elif now >= deadline:
                turn.set_exception(
                    Overloaded(f"All {PROCESSES_PER_WORKER_MAX} processes of the Worker hold their processors.")
                )
        if self._held_up and not let_go:
            self._held_timer = self._loop.call_later(TICK_SECONDS, self._look_held)

    async def _wait_process(self) -> WorkerProcess:
        self._waiting += 1
        try:
            delay = self._held_until - self._loop.time()
            if delay > BACKOFF_WAIT_SECONDS_MAX:
                await asyncio.sleep(BACKOFF_REFUSAL_SECONDS)
                raise WorkerCrashed("The Worker crashes again and again, and is held back for a while.")
            if delay > 0:
                await asyncio.sleep(delay)
            # Shielded: it is everybody's, not only of who waits here and may leave.
            return await asyncio.shield(self._start_soon())
        finally:
            self._waiting -= 1

    def _start_soon(self) -> asyncio.Task[WorkerProcess]:
        if self._starting is None:
            self._starting = self._loop.create_task(self._start())
            self._starting.add_done_callback(self._started)
        return self._starting

    def _started(self, task: asyncio.Task[WorkerProcess]) -> None:
        self._starting = None
        if not task.cancelled() and task.exception() is not None and not self._waiting:
            _log.warning("a worker could not be started", worker=self.worker.name, reason=str(task.exception()))

    async def _start(self) -> WorkerProcess:
        place = await self._starts.enter()
        try:
            process = await self._start_process()
        except BaseException:
            self._starts.leave(place)
            raise
        place.process = process
        return process

    async def _start_process(self) -> WorkerProcess:
        try:
            started = await self._runtime.start(
                self.worker.bundle, self._assignment, sockets=bool(self._table.assignment.proxy)
            )
        except (TenantryError, OSError) as error:
            self._crashed(None)
            _log.error("a worker process could not be started", worker=self.worker.name, reason=str(error))
            raise WorkerCrashed("The Worker could not be started.") from error
        process = WorkerProcess(
            started,
            self.worker,
            self._table.targets,
            self._log_sink,
            self._on_busy,
            self._idle,
            self._closed,
            self._allowance,
            self._lane,
            self._traces,
            self._log_rate,
        )
        self.processes.append(process)
        process.follows_crash = self._loop.time() < self._suspect_until
        self._on_busy(process)  # it imports its Worker, asked for anything or not
        self._on_started(process)
        if self._retired:
            process.retiring = True
            if not self._waiting:
                process.kill()
        return process

    async def aclose(self) -> None:
        """End all processes, also the one that is being started, and wait until nothing of them is left to do."""
        self.retire()
        if self._held_timer is not None:
            self._held_timer.cancel()
        for _, turn in self._held_up:
            if not turn.done():
                turn.set_exception(WorkerCrashed("The Worker is stopped."))
        starting = self._starting
        if starting is not None:
            starting.cancel()
            await asyncio.wait({starting})
        for process in list(self.processes):
            await process.wait_closed()

    # What processes tell -------------------------------------------------------------------------------------------

    def _idle(self, process: WorkerProcess) -> None:
        if process.retiring:
            process.kill()

    def _closed(self, process: WorkerProcess) -> None:
        if process in self.processes:
            self.processes.remove(process)
        self._on_ended(process)
        if not process.retiring:
            self._crashed(process)

    def _crashed(self, process: WorkerProcess | None) -> None:
        """Count a crash, and hold the Worker back after some in a row."""
        if process is not None:
            if process.retiring:
                return
            process.retiring = True
            if self._loop.time() - process.started_at >= HEALTHY_SECONDS:
                self._crashes = 0
        self._crashes += 1
        excess = self._crashes - BACKOFF_CRASHES_FREE
        if excess > 0:
            delay = min(BACKOFF_SECONDS_FIRST * 2 ** min(excess - 1, 16), BACKOFF_SECONDS_MAX)
            self._held_until = self._loop.time() + delay
            _log.warning("a worker crashes and is held back", worker=self.worker.name, seconds=delay)
            words = (
                f"Worker crashed {self._crashes} times in a row: it is started again in {delay:g} s at the earliest."
            )
            emit(self._log_sink, self.worker, "error", [words])
        self._suspect_until = max(self._loop.time(), self._held_until) + HEALTHY_SECONDS
