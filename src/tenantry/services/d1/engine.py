"""What D1 asks of a storage engine: to run calls, each atomic, in order, and to say when they are durable.

The rules above (limits on requests, conversion of values, error texts with their prefixes, queues, deadlines' values)
are the same for every engine. An engine runs SQL as SQLite does, within the limits and permissions of D1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from tenantry.services.d1.model import Call, DumpOptions, Room

__all__ = ["Applied", "Engine", "Restored", "Session", "Settle"]

Settle = Callable[[Sequence[Call]], None]
"""Told of calls whose answer is final. Called in the thread that runs `apply`; it does not block and does not raise."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of the calls that were not settled on the way."""

    settled: Sequence[Call]
    """Their answer is final."""
    again: Sequence[Call]
    """To be given again, at the front of the queue, in this order."""


@dataclass(frozen=True, slots=True)
class Restored:
    state: int
    """What was restored."""
    previous: int
    """The state before; it can be restored too."""


class Session(Protocol):
    """One database, open. `apply` and `close` are called by one thread at a time, not always the same; they block."""

    def apply(self, calls: Sequence[Call], settle: Settle) -> Applied:
        """Runs calls in order. `settle` is told of answers that should not wait for the calls after them.

        Atomicity: a call's statements take effect together, or none does and `failure` is set. Calls may share a
        transaction; nobody can tell, but that they share the wait for the disk.
        Ordering: the effects of a call are seen by those after it, never by those before.
        Durability: a call that wrote is settled when its effects will survive what the engine was opened for; one that
        read something not yet durable is settled no earlier than that.
        Errors: never raises for what a call did; `QueryFailed` when the database could not be opened: the calls that
        are not settled fail with it, and the session is to be closed and opened anew.
        Cost: at least the first call is settled or returned with `alone` set, so giving calls again comes to an end.
        """

    def state_at(self, time: int | None) -> int:
        """The last state not after `time` (nanoseconds since 1970), or the present one, as the time of its commit.

        From now on it can be restored exactly; of other states, the last one of each second can. 0 is the database
        before it was written first. Raises `PastUnknown` when the past does not reach so far back.
        """

    def restore(self, time: int, room: Room | None = None) -> Restored:
        """Makes the database what it was at `time`, as one commit that can itself be undone. Raises `PastUnknown` and
        `QueryFailed`, also where it would be too large; then the database is as it was. The session is to be opened
        anew.
        """

    def receipt(self) -> str | None:
        """What the last call with a receipt left, unless it was forgotten since. Restoring forgets it too."""

    def forget_receipt(self) -> None:
        """Removes it. Nothing happens when there is none. Raises `QueryFailed`."""

    def watch(self, now: float) -> float:
        """From any thread: stops the running call if its time is over or it was canceled.

        Returns for how many seconds it has been overdue: 0.0 when nothing runs, or when it is in time.
        """

    def interrupt(self) -> None:
        """From any thread: stops the running call, which fails with `CONNECTION_LOST`, as will all that follow."""

    def close(self) -> None:
        """Gives back what the session holds; the data stays. May be called more than once."""


class Engine(Protocol):
    """Where databases live. All methods block and may be called from any thread, for one database one at a time; `dump`
    and `usage` at any time.
    """

    keeps_past: bool
    """Whether `Session.restore` and `Session.state_at` know more than the present."""

    def open(self, resource_id: str) -> Session:
        """Cheap, and leaves no trace of a database that was never written."""

    def delete(self, resource_id: str) -> None:
        """Removes a database and its bytes; nothing happens when there is none. Its session is closed before."""

    def usage(self, resource_id: str) -> int:
        """Bytes of the database as its last commit left it (`size_after` of a result), without its past. 0 when it was
        never written. Cheap enough to be asked before each write.
        """

    def resource_ids(self) -> Sequence[str]:
        """The databases that were written, in any order."""

    def dump(self, resource_id: str, target: BinaryIO, options: DumpOptions, stop: Callable[[], bool]) -> None:
        """Writes the database as SQL, in one consistent state, while calls go on.

        Raises `QueryFailed` when it holds what SQL cannot say, and when `stop` turned true.
        """

    def close(self) -> None:
        """No session is open any more."""
