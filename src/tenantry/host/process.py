"""A worker process as the host drives it: it sends invocations in and answers what their code calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from tenantry.channel import Answered, ChannelClosed, Lane, Peer
from tenantry.config.deployment import DeployedWorker
from tenantry.errors import (
    InvocationError,
    LimitExceeded,
    Overloaded,
    TenantryError,
    WorkerCrashed,
)
from tenantry.host.admission import Admission
from tenantry.host.allowance import DEFAULT_ALLOWANCE, Allowance
from tenantry.host.calls import Calls
from tenantry.host.invocation import Invocation
from tenantry.host.limits import (
    MEMORY_BLANK_BYTES_MAX,
    UNPAID_CPU_SECONDS_PER_INVOCATION,
    UNPAID_CPU_SHARE,
    WAIT_UNTIL_SECONDS_MAX,
)
from tenantry.host.log_intake import LogIntake
from tenantry.host.logs import LogRate, LogSink
from tenantry.host.redaction import redactor
from tenantry.host.targets import Reply, Target, Thing
from tenantry.host.terms import NO_TERMS, Terms
from tenantry.host.things import capability_of, take_back, thing_of
from tenantry.host.traces import Recorder, TraceHub
from tenantry.wire.assignment import WORKER_ROOT
from tenantry.wire.events import (
    CallReceived,
    CallReturned,
    Capability,
    InvocationKind,
    LogLost,
    LogReceived,
    PeerError,
    StreamExport,
    StubExport,
    WireLimitError,
)
from tenantry.wire.limits import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenantry.host.egress.proxy import Proxy
    from tenantry.host.runtime import Process
    from tenantry.host.split import VersionChoice

__all__ = ["WorkerProcess", "memory_exceeded", "memory_words"]

_log = structlog.get_logger()


class WorkerProcess:
    """One process of one version of a Worker. The handler of its channel.

    `targets` become its first exports, in order: the numbers that its assignment names.
    """

    def __init__(
        self,
        process: Process,
        worker: DeployedWorker,
        targets: Sequence[Target],
        log_sink: LogSink,
        on_busy: Callable[[WorkerProcess], None],
        on_idle: Callable[[WorkerProcess], None],
        on_closed: Callable[[WorkerProcess], None],
        allowance: Allowance = DEFAULT_ALLOWANCE,
        lane: Lane | None = None,
        traces: TraceHub | None = None,
        log_rate: LogRate | None = None,
    ) -> None:
        self.worker = worker
        self._traces = traces
        self.allowance = allowance
        self.process = process
        self.proxy: Proxy | None = None
        """What its sockets connect to, where it has any. It ends with the process."""
        self.invocations: dict[int, Invocation] = {}
        self.retiring = False
        self.loop = asyncio.get_running_loop()
        process.limit_memory(allowance.memory_bytes)
        self.started_at = self.used_at = self.loop.time()
        self.cpu_blank = self.cpu_seen = process.cpu_seconds()
        """The process's CPU clock when it began, and at the last look."""
        self.memory_blank_bytes = min(process.memory_bytes(), MEMORY_BLANK_BYTES_MAX)
        self.memory_seen_at = self.cpu_seen
        """Its CPU clock when its memory was looked at."""
        self.follows_crash = False
        """The one before it crashed, or had to be ended: it may well do the same."""
        self.importing = True
        """It has not said a word."""
        self.interrupted_at = self.cpu_interrupted = 0.0
        """When it was told that its import takes too long, and its CPU clock then."""
        self.condemned_at = self.cpu_condemned = 0.0
        """When it used up its CPU time and was asked where it is, and its CPU clock then. It is given nothing more."""
        self.cpu_silent = 0.0
        """CPU that it used since it last said anything."""
        self.cpu_in_one_go = 0.0
        """CPU that it used since it last said anything, less what is forgiven."""
        self.cpu_share = 0.0
        """Of a processor: what it used lately."""
        self.background_until = self.background_seconds = 0.0
        """Until when at least it is in the background, and for how long that was."""
        self.cpu_unpaid = 0.0
        """CPU that it used while it held no invocation, less what is forgiven."""
        self._unpaid_at = self.started_at
        self.quiet_looks = 0
        """How often in a row it was seen to do nothing while it held no invocation."""
        self.heard = False
        self.held = False
        """At a look it had used up its processor and said nothing; since then it neither waited nor said anything."""
        self.calls = Calls(self)
        self._redact = redactor(worker)
        self._log = LogIntake(self, log_sink, log_rate or LogRate(), traces, self._redact)
        self._on_busy = on_busy
        self._on_idle = on_idle
        self._on_closed = on_closed
        self.peer = Peer(process.channel, self, self.loop, lane)
        for target in targets:
            self.peer.session.export(StubExport(target))

    # Invocations ---------------------------------------------------------------------------------------------------

    async def invoke(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        things: Sequence[Thing],
        depth: int = 0,
        target: int = WORKER_ROOT,
        terms: Terms = NO_TERMS,
        caller: Invocation | None = None,
        admission: Admission | None = None,
        choice: VersionChoice | None = None,
    ) -> Reply:
        """Run an invocation and return what it answered; what it left open goes on.

        Raises PeerError for what the Worker raised, InvocationError when it could not answer. The streams in `things`
        are closed, whatever happens. Cancelling tells the Worker to stop; it tells what it called. The place in
        `admission` that it was given is given back when nothing of it is left.
        """
        capabilities = [capability_of(self, thing) for thing in things] if things else []
        future: asyncio.Future[CallReturned] = self.loop.create_future()
        try:
            invocation = self.ask(
                kind,
                method,
                payload,
                capabilities,
                depth,
                target,
                terms,
                caller,
                admission,
                self.peer.settle(future),
                choice,
            )
        except InvocationError:
            await take_back(self.peer, capabilities)
            raise
        try:
            returned = await future
        except asyncio.CancelledError:
            self.cancel(invocation)
            if future.done() and not future.cancelled() and future.exception() is None:
                self.peer.discard(future.result().capabilities)  # the answer came in the same turn
            raise
        except (ChannelClosed, PeerError) as error:
            failure = self.failure(invocation, error)
            if failure is error:
                raise
            raise failure from error
        if (late := self.too_late(invocation, returned)) is not None:
            raise late
        return self.take(invocation, returned)

    def ask(
        self,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        capabilities: Sequence[Capability],
        depth: int,
        target: int,
        terms: Terms,
        caller: Invocation | None,
        admission: Admission | None,
        answered: Answered,
        choice: VersionChoice | None = None,
    ) -> Invocation:
        """Begin an invocation. `answered` gets what `take` or `failure` then make the caller's.

        Raises InvocationError; the place in `admission` is given back then, and the capabilities are the caller's.
        """
        if not self.invocations:
            self.charge_unpaid(UNPAID_CPU_SECONDS_PER_INVOCATION)
            self.cpu_silent = self.cpu_in_one_go = 0.0
            self._on_busy(self)
        self.calls.refused = 0
        if self.proxy is not None and terms.outbound is not None:
            # For good: what this code keeps in memory, it could send at another time.
            self.proxy.refuse("Requests of this Worker go through its outbound Worker: use fetch().")
        try:
            call = self.peer.ask(target, kind, method, payload, capabilities, 0, answered)
        except (ChannelClosed, WireLimitError) as error:
            if admission is not None:
                admission.leave()
            if isinstance(error, WireLimitError):
                raise Overloaded(f"The Worker cannot take the request: {error}.") from error
            raise WorkerCrashed("The Worker's process ended before it was asked.") from error
        deadline = self.loop.time() + self.allowance.wall_seconds
        invocation = Invocation(self.worker, self, call, kind, depth, deadline, terms, caller, admission, choice)
        self.invocations[call] = invocation
        if self._traces is not None and target == WORKER_ROOT:
            invocation.recorder = self._traces.recorder(self.worker, kind, method, payload, self._redact)
            if invocation.recorder is None and self._traces.keeps_notable:
                invocation.origin = (method, payload, self.loop.time())
        return invocation

    @staticmethod
    def failure(invocation: Invocation, error: TenantryError) -> TenantryError:
        """Why an invocation has no answer: what the host did to it, before what its process said."""
        if invocation.failure is not None:
            error = invocation.failure
        elif isinstance(error, ChannelClosed):
            error = WorkerCrashed("The Worker's process ended before it answered.")
        if (recorder := invocation.process.recorder_of(invocation)) is not None:
            recorder.failed(error)
        return error

    def recorder_of(self, invocation: Invocation) -> Recorder | None:
        """For what there is to note of it; made now if only what is notable is kept. None: nobody wants to know."""
        if invocation.recorder is None and invocation.origin is not None and self._traces is not None:
            method, payload, began_at = invocation.origin
            recorder = Recorder(
                self._traces,
                self.worker,
                invocation.kind,
                method,
                payload,
                self._redact,
                self.loop.time() - began_at,
            )
            invocation.recorder, invocation.origin = recorder, None
            if self.invocations.get(invocation.call) is not invocation:
                recorder.over(invocation.cpu_seconds)
            elif invocation.answered:
                recorder.answered_before()
        return invocation.recorder

    def too_late(self, invocation: Invocation, returned: CallReturned) -> InvocationError | None:
        """What its caller gets instead of an answer that came when its time was over already."""
        if not self.condemned_at or invocation.failure is None:
            return None
        self.peer.discard(returned.capabilities)
        if (recorder := self.recorder_of(invocation)) is not None:
            recorder.failed(invocation.failure)
        return invocation.failure

    def take(self, invocation: Invocation, returned: CallReturned) -> Reply:
        """The answer of an invocation, whatever it left open."""
        invocation.answered = True
        invocation.deadline = self.loop.time() + WAIT_UNTIL_SECONDS_MAX
        if invocation.recorder is not None:
            invocation.recorder.answered(returned.payload)
        if not returned.capabilities:
            return Reply(returned.payload)
        terms = invocation.terms
        return Reply(returned.payload, [thing_of(self, capability, terms) for capability in returned.capabilities])

    def cancel(self, invocation: Invocation) -> None:
        """Nobody waits for the answer any more. What the Worker gave to waitUntil() goes on for as long as it may."""
        if not invocation.canceled and invocation.call in self.invocations:
            invocation.canceled = True
            if (recorder := self.recorder_of(invocation)) is not None:
                recorder.failed(asyncio.CancelledError())
            invocation.deadline = min(invocation.deadline, self.loop.time() + WAIT_UNTIL_SECONDS_MAX)
            self.peer.cancel(invocation.call)

    def stop(self, invocation: Invocation) -> None:
        """Tell the Worker that its time is over, also for what it gave to waitUntil()."""
        self.peer.cancel(invocation.call)
        for serving in list(invocation.serving):
            serving.cancel()

    def is_open(self, invocation: Invocation) -> bool:
        """Whether somebody can still reach a body or a stub that the invocation gave away."""
        return self.peer.session.has_imports(invocation.call)

    def condemn(self, failure: InvocationError, words: str, guilty: Sequence[Invocation]) -> None:
        """It is ended in a moment, in which it may say where it is. `guilty` of its invocations fail with `failure`."""
        for invocation in guilty:
            invocation.failure = failure
        self.condemned_at, self.cpu_condemned = self.loop.time(), self.process.cpu_seconds()
        self.emit("error", words)
        self.process.interrupt()

    def kill(self) -> None:
        """End the process now; what it holds fails."""
        self.process.kill()
        self.peer.close(None)

    def end(self, failure: InvocationError | None, last_words: str, guilty: Sequence[Invocation] | None = None) -> None:
        """Kill it for something it did. `guilty` of its invocations fail with `failure`, the others with it; None: all
        are."""
        for invocation in self.invocations.values() if guilty is None else guilty:
            invocation.failure = failure
        self.emit("error", last_words)
        self.kill()

    async def wait_closed(self) -> None:
        """End the process, and wait until nothing that it called is at work any more."""
        self.kill()
        await self.calls.wait_over()
        await self.peer.wait_closed()

    def charge_unpaid(self, forgiven: float = 0.0) -> float:
        """While it holds no invocation: how much CPU it used since the last look, which nobody else is charged for."""
        now, clock = self.loop.time(), self.process.cpu_seconds()
        used, self.cpu_seen = max(0.0, clock - self.cpu_seen), clock
        forgiven += UNPAID_CPU_SHARE * (now - self._unpaid_at)
        self._unpaid_at = now
        if self.used_at != self.started_at:  # before its first answer it is being imported
            self.cpu_unpaid = max(0.0, self.cpu_unpaid + used - forgiven)
        return used

    # The handler of the channel ------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """It said something: whatever the last look found, its loop turns now."""
        self.heard = True
        self.held = False

    def call_received(self, event: CallReceived) -> None:
        self._hear()
        self.calls.receive(event)

    def call_canceled(self, call: int) -> None:
        self.calls.cancel(call)

    def call_closed(self, call: int) -> None:
        self._hear()
        invocation = self.invocations.pop(call)
        invocation.over()
        self.used_at = self.loop.time()
        for serving in list(invocation.serving):
            serving.cancel()
        if not self.invocations:
            self.cpu_seen = self.process.cpu_seconds()
            self._on_idle(self)

    def export_over(self, export: StubExport | StreamExport) -> None:
        if isinstance(export, StubExport):
            export.target.released()

    def stream_failed(self, export: StreamExport, error: BaseException) -> None:
        _log.error("a stream broke off", worker=self.worker.name, exc_info=error)

    def log_received(self, event: LogReceived) -> None:
        self._hear()
        self._log.receive(event)

    def logs_lost(self, event: LogLost) -> None:
        self._hear()
        self._log.lost(event)

    def emit(self, level: str, message: str) -> None:
        """Send a line to the Worker's log."""
        self._log.say(level, message)

    def closed(self, error: Exception | None) -> None:
        if error is not None:
            _log.warning("a worker broke the protocol", worker=self.worker.name, reason=str(error))
        if self.proxy is not None:
            self.proxy.close()
        self._log.close()
        if self.process.was_out_of_memory():  # it grew from one look to the next
            for invocation in self.invocations.values():
                invocation.failure = memory_exceeded()
            self.emit("error", memory_words(self.allowance))
        self.process.kill()
        for invocation in self.invocations.values():
            invocation.over()
            for serving in list(invocation.serving):
                serving.cancel()
        self.invocations.clear()
        self._on_closed(self)


def memory_exceeded() -> InvocationError:
    return LimitExceeded("Worker exceeded memory limit.")


def memory_words(allowance: Allowance) -> str:
    """What the Worker's log says of it, whoever has ended the process."""
    return f"Worker exceeded memory limit: more than {allowance.memory_bytes // MIB} MiB. Its process was ended."
