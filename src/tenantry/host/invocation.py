"""One event delivery, as the host knows it: whose it is, what it may use, and what it has used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from tenantry.errors import InvocationError
from tenantry.host.terms import NO_TERMS, Terms
from tenantry.wire.events import InvocationKind

if TYPE_CHECKING:
    import asyncio

    from tenantry.config.deployment import DeployedWorker
    from tenantry.host.admission import Admission
    from tenantry.host.process import WorkerProcess
    from tenantry.host.relay import Relay

    Serving = asyncio.Task[None] | Relay
    """Who sees to the answer of one call."""
    from tenantry.host.split import VersionChoice
    from tenantry.host.traces import Recorder

__all__ = ["Invocation", "LogAllowance"]


class LogAllowance(msgspec.Struct, eq=False):
    """What was logged, of LOG_BYTES_MAX."""

    since: float = 0.0
    used_bytes: int = 0


class Invocation(msgspec.Struct, eq=False):
    """`deadline` is on the loop's clock. What it counts is counted here, never by the worker.

    A Struct, though nothing decodes it: one is made for each event, and a dataclass takes four times as long.
    """

    worker: DeployedWorker
    process: WorkerProcess
    call: int
    kind: InvocationKind
    depth: int
    deadline: float
    terms: Terms = NO_TERMS
    caller: Invocation | None = None
    """The invocation that called for it; None where an event from outside did."""
    admission: Admission | None = None
    """Where it holds a place, until it is over."""
    choice: VersionChoice | None = None
    """Which versions serve it and all that it calls; stands at the root."""
    recorder: Recorder | None = None
    """Where somebody watches the Worker."""
    origin: tuple[str, bytes, float] | None = None
    """Its method, payload and beginning, for a recorder that is made once there is something to note."""
    answered: bool = False
    canceled: bool = False
    cpu_seconds: float = 0.0
    subrequests: int = 0
    service_calls: int = 0
    """Made through service bindings, by it and all that it calls; stands at the root."""
    failure: InvocationError | None = None
    stopped: bool = False
    """Its time was over, and it was told."""
    log: LogAllowance = msgspec.field(default_factory=LogAllowance)
    serving: set[Serving] = msgspec.field(default_factory=set)
    """Who sees to the calls that its code made and that are not answered."""

    @property
    def cpu_seconds_max(self) -> float:
        limit = self.process.allowance.cpu_seconds
        return limit if self.terms.cpu_seconds_max is None else min(limit, self.terms.cpu_seconds_max)

    @property
    def subrequests_max(self) -> int:
        limit = self.process.allowance.subrequests
        return limit if self.terms.subrequests_max is None else min(limit, self.terms.subrequests_max)

    @property
    def root(self) -> Invocation:
        """The invocation that an event from outside began, which this one is a part of."""
        each = self
        while each.caller is not None:
            each = each.caller
        return each

    def is_called_by(self, worker: DeployedWorker) -> bool:
        """Whether an invocation of a Worker, of whichever version, waits for this one, or is it."""
        each: Invocation | None = self
        while each is not None:
            if each.worker.name == worker.name and each.worker.namespace == worker.namespace:
                return True
            each = each.caller
        return False

    def over(self) -> None:
        """Nothing of it is left: its place is another's."""
        if self.admission is not None:
            self.admission.leave()
            self.admission = None
        if self.recorder is not None:
            self.recorder.over(self.cpu_seconds)
