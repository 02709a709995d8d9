"""Limits from outside: the CPU clocks, memory and deadlines of what runs, read by the host, on the host's clock.

CPU that a process used is shared among the invocations that it held meanwhile. One that said nothing while it used a
whole limit's worth holds its own loop, in Python or in C, and is ended whichever of its invocations is to blame.

One that used up its CPU time is asked where it is before it is ended, and has a moment to say so: a courtesy to its
author, which costs what the moment may cost, whatever the process makes of it. A loop in C does not get to answer.

A process that holds no invocation has no business computing: what it uses then (threads that go on after the answer)
is added up over its life, so that many short requests do not pay for one long computation.

A process that is still importing its Worker has limits of its own for that; no invocation pays for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenantry.errors import LimitExceeded, StartLimitExceeded, TimeLimitExceeded
from tenantry.host.invocation import Invocation
from tenantry.host.limits import (
    BACKGROUND_CPU_SHARE,
    BACKGROUND_SECONDS_FIRST,
    BACKGROUND_SECONDS_MAX,
    BUSY_CPU_SHARE,
    BUSY_SILENT_CPU_SECONDS,
    CANCEL_SECONDS_MAX,
    FOREGROUND_CPU_SHARE,
    LAST_WORDS_CPU_SECONDS,
    LAST_WORDS_SECONDS,
    MEMORY_LOOK_AT_REST_CPU_SECONDS,
    MEMORY_LOOK_CPU_SECONDS,
    QUIET_LOOKS,
    SHARE_SECONDS,
    SILENT_CPU_SHARE,
    START_GRACE_CPU_SECONDS,
    START_GRACE_SECONDS,
    TICK_SECONDS,
    UNPAID_CPU_SECONDS_MAX,
    UNPAID_CPU_SHARE,
)
from tenantry.host.live import evict
from tenantry.host.process import WorkerProcess, memory_exceeded, memory_words

__all__ = ["Watchdog"]


class Watchdog:
    """Looks at the processes that do something, and at nothing else: an idle platform has no ticks."""

    def __init__(self, on_measured: Callable[[WorkerProcess, int], None], on_ranked: Callable[[bool], None]) -> None:
        """`on_measured` is told by how many bytes a process has grown, each time that its memory is looked at;
        `on_ranked`, after each look, whether any process is in the background."""
        self._on_measured = on_measured
        self._on_ranked = on_ranked
        self._busy: set[WorkerProcess] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._looked_at = 0.0

    def watch(self, process: WorkerProcess) -> None:
        """The process has something to do."""
        if process not in self._busy:
            process.cpu_share = 0.0
            if process.importing and process.follows_crash and process.worker.namespace is not None:
                # Before it computes, not once it was seen to: a slice of a processor is long for whoever waits behind.
                self._to_background(process, self._loop.time())
            else:
                self._to_foreground(process)
        process.quiet_looks = 0
        self._busy.add(process)
        if self._timer is None:
            self._looked_at = self._loop.time()
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def glance(self, process: WorkerProcess) -> None:
        """At one that holds no invocation: it may have begun to compute by itself, and what it did last may have made
        it larger."""
        if process.charge_unpaid() > UNPAID_CPU_SHARE:
            self.watch(process)
        elif process.cpu_seen > process.memory_seen_at:
            self._measure_memory(process)

    def close(self) -> None:
        self._busy.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = self._loop.time()
        elapsed, self._looked_at = max(now - self._looked_at, TICK_SECONDS / 2), now
        for process in list(self._busy):
            if process.peer.is_closed:
                self._busy.discard(process)
            elif process.importing:
                self._look_importing(process, now)
            elif process.condemned_at and not process.invocations:
                process.kill()  # its last words were an answer, which nobody got
            elif process.invocations:
                self._look(process, now, elapsed)
            else:
                process.held = False
                self._look_idle(process, elapsed)
        self._rank(now)
        self._on_ranked(any(process.peer.in_background for process in self._busy))
        self._timer = self._loop.call_later(TICK_SECONDS, self._tick) if self._busy else None

    @staticmethod
    def _weigh(process: WorkerProcess, used: float, elapsed: float) -> None:
        process.cpu_share += (used / elapsed - process.cpu_share) * min(1.0, elapsed / SHARE_SECONDS)

    def _rank(self, now: float) -> None:
        """Let others go before a Worker that keeps a processor busy, for as long as it does.

        All processes of it count together: to have four must not be worth more than to have one.
        """
        shares: dict[tuple[str | None, str], float] = {}
        for process in self._busy:
            worker = (process.worker.namespace, process.worker.name)
            shares[worker] = shares.get(worker, 0.0) + process.cpu_share
        for process in self._busy:
            # What is in no namespace is the operator's own, and in the way of every tenant's requests.
            if process.worker.namespace is None or now < process.background_until:
                continue
            share = shares[process.worker.namespace, process.worker.name]
            if process.peer.in_background:
                if share < FOREGROUND_CPU_SHARE:
                    self._to_foreground(process)
            elif share > BACKGROUND_CPU_SHARE or process.cpu_in_one_go > BUSY_SILENT_CPU_SECONDS:
                self._to_background(process, now)

    @staticmethod
    def _to_background(process: WorkerProcess, now: float) -> None:
        again = now - process.background_until < process.background_seconds
        seconds = 2 * process.background_seconds if again else BACKGROUND_SECONDS_FIRST
        process.background_seconds = min(seconds, BACKGROUND_SECONDS_MAX)
        process.background_until = now + process.background_seconds
        process.peer.in_background = process.process.set_background(True)

    @staticmethod
    def _to_foreground(process: WorkerProcess) -> None:
        if process.peer.in_background and process.process.set_background(False):
            process.peer.in_background = False
            process.cpu_in_one_go = 0.0

    def _look_idle(self, process: WorkerProcess, elapsed: float) -> None:
        used = process.charge_unpaid()
        self._weigh(process, used, elapsed)
        if self._look_memory(process, used):
            return
        if process.cpu_unpaid > UNPAID_CPU_SECONDS_MAX:
            self._unpaid(process)
        elif used > UNPAID_CPU_SHARE * elapsed:
            process.quiet_looks = 0
        else:
            # More than once: on a machine that is full, whoever wants to compute may not get to it for a while.
            process.quiet_looks += 1
            if process.quiet_looks >= QUIET_LOOKS:
                self._busy.discard(process)
                if not self._measure_memory(process):  # what it goes to rest with
                    self._rest(process)

    def _rest(self, process: WorkerProcess) -> None:
        """It has nothing to do. One that cannot be brought back to the foreground has no future."""
        self._to_foreground(process)
        if process.peer.in_background:
            evict(process)

    def _unpaid(self, process: WorkerProcess) -> None:
        process.end(
            LimitExceeded("Worker exceeded CPU time limit."),
            "Worker went on computing while it held no request. Its process was ended.",
        )

    def _look_importing(self, process: WorkerProcess, now: float) -> None:
        """Before its first word. A process may forge that from within its import: then what it still does there is
        charged to the invocation that waits for it, or to nobody's account, and ends there."""
        clock = process.process.cpu_seconds()
        used, process.cpu_seen = clock - process.cpu_seen, clock
        if process.peer.session.greeted:
            process.importing = False
            for invocation in process.invocations.values():
                if not invocation.answered and not invocation.canceled:
                    invocation.deadline = now + process.allowance.wall_seconds
            return
        if self._look_memory(process, used):
            return
        allowance = process.allowance
        if not process.interrupted_at:
            if clock - process.cpu_blank > allowance.start_cpu_seconds:
                limit = f"{allowance.start_cpu_seconds:g} s of CPU time"
            elif now - process.started_at > allowance.start_seconds:
                limit = f"{allowance.start_seconds:g} s"
            else:
                return
            # One that is in Python, or asleep, now raises, and its log says where.
            process.interrupted_at, process.cpu_interrupted = now, clock
            process.emit("error", f"Worker exceeded its start-up limit: its import took more than {limit}.")
            process.process.interrupt()
        elif clock - process.cpu_interrupted > START_GRACE_CPU_SECONDS or (
            now - process.interrupted_at > START_GRACE_SECONDS
        ):
            process.end(
                StartLimitExceeded("Worker exceeded its start-up limit."),
                "Worker did not stop its import when told to. Its process was ended.",
            )

    def _look_memory(self, process: WorkerProcess, used: float) -> bool:
        """Whether it had to be ended. `used` is its CPU time since the last look: it may have come to rest."""
        unseen = process.cpu_seen - process.memory_seen_at
        if unseen < (MEMORY_LOOK_CPU_SECONDS if used else MEMORY_LOOK_AT_REST_CPU_SECONDS):
            return False
        return self._measure_memory(process)

    def _measure_memory(self, process: WorkerProcess) -> bool:
        process.memory_seen_at = process.cpu_seen
        grown = process.process.memory_bytes() - process.memory_blank_bytes
        if grown > process.allowance.memory_bytes:
            process.end(memory_exceeded(), memory_words(process.allowance))
            return True
        self._on_measured(process, grown)
        return False

    def _look(self, process: WorkerProcess, now: float, elapsed: float) -> None:
        clock = process.process.cpu_seconds()
        used, process.cpu_seen = max(0.0, clock - process.cpu_seen), clock
        if self._look_memory(process, used):
            return
        self._weigh(process, used, elapsed)
        if process.condemned_at:
            if (
                clock - process.cpu_condemned > LAST_WORDS_CPU_SECONDS
                or now - process.condemned_at > LAST_WORDS_SECONDS
            ):
                process.kill()
            return
        heard, process.heard = process.heard, False
        process.cpu_silent = 0.0 if heard else process.cpu_silent + used
        in_one_go = process.cpu_in_one_go + used - SILENT_CPU_SHARE * elapsed
        process.cpu_in_one_go = 0.0 if heard else max(0.0, in_one_go)
        process.held = not heard and (
            used >= BUSY_CPU_SHARE * elapsed
            or process.cpu_in_one_go >= BUSY_SILENT_CPU_SECONDS
            # Where others go first, it may get nothing for seconds and be no closer to its end.
            or (process.held and not process.process.is_waiting())
        )
        running = list(process.invocations.values())
        limit = max(invocation.cpu_seconds_max for invocation in running)
        share = used / len(running)
        for invocation in running:
            invocation.cpu_seconds += share
            if invocation.cpu_seconds > invocation.cpu_seconds_max:
                self._exceeded(process, [invocation], invocation.cpu_seconds, invocation.cpu_seconds_max)
                return
            if now > invocation.deadline:
                self._overdue(process, invocation, now)
                if process.peer.is_closed:
                    return
        if process.cpu_silent > limit:
            self._exceeded(process, running, process.cpu_silent, limit)
        elif process.cpu_unpaid > UNPAID_CPU_SECONDS_MAX:
            self._unpaid(process)

    def _exceeded(self, process: WorkerProcess, guilty: list[Invocation], used: float, limit: float) -> None:
        process.condemn(
            LimitExceeded("Worker exceeded CPU time limit."),
            f"Worker exceeded CPU time limit: {used:.2f} s in one invocation, which may use {limit:g} s. "
            "Its process is ended.",
            guilty,
        )

    def _overdue(self, process: WorkerProcess, invocation: Invocation, now: float) -> None:
        if invocation.stopped:
            process.end(
                None, "Worker exceeded its time limit and did not stop when told to. Its process was ended.", []
            )
            return
        if invocation.answered and process.is_open(invocation):
            return  # somebody still reads its body or holds its stub
        if not invocation.answered:
            process.emit("error", f"Worker exceeded its time limit of {process.allowance.wall_seconds:g} s.")
        invocation.failure = TimeLimitExceeded("Worker exceeded its time limit.")
        invocation.stopped = True
        invocation.deadline = now + CANCEL_SECONDS_MAX
        process.stop(invocation)
