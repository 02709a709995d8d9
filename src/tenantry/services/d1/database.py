"""One database as the event loop sees it: a bounded queue of calls in front of a session that blocks.

All state here belongs to the event loop, except `_queue`, from whose left end the one thread at work takes calls
(a deque's ends may be used from two threads). The thread is given the session and gives it back with `_finished`.

    idle ──submit──▶ busy: a job is with the threads ──finished, queue empty──▶ idle
                      ▲                                │
                      └──── finished, queue not empty ─┘
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from tenantry.services.d1 import errors, limits
from tenantry.services.d1.engine import Applied, Engine, Session
from tenantry.services.d1.errors import PastUnknown, QueryFailed
from tenantry.services.d1.metered import MeteredCalls
from tenantry.services.d1.model import Call, Room, Rows, Statement
from tenantry.services.d1.threads import Threads

__all__ = ["Database"]

_NOTHING = Applied((), ())

_log = structlog.get_logger()


T = TypeVar("T")


@dataclass(slots=True, eq=False, kw_only=True)
class _Waiting(Call):
    future: asyncio.Future[None]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Whatever became of it, the thread has left it; also when nobody waits for the answer."""

    def answer(self, failure: QueryFailed | None) -> None:
        self.ended.set()
        if not self.future.done():
            if failure is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(failure)


@dataclass(slots=True, eq=False)
class _Task:
    """Something that is no call, done with the session when its turn has come."""

    function: Callable[[Session], object]
    future: asyncio.Future[Any]  # Any: what `function` gives
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def answer(self, failure: QueryFailed | None, result: object = None) -> None:
        self.ended.set()
        if not self.future.done():
            if failure is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(failure)


class Database:
    """Calls for one database, first come first served. `on_change` is told whenever it becomes busy or idle."""

    def __init__(
        self,
        resource_id: str,
        engine: Engine,
        threads: Threads,
        on_change: Callable[[Database], None],
        stuck_seconds: float,
        metered: MeteredCalls | None = None,
    ) -> None:
        self.resource_id = resource_id
        self._engine = engine
        self._threads = threads
        self._on_change = on_change
        self._stuck_seconds = stuck_seconds
        self._metered = metered
        self.preparing = 0
        """Calls that are about to be queued: it must not be evicted."""
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting | _Task] = deque()
        self._unanswered: set[_Waiting | _Task] = set()
        self._session: Session | None = None
        self._closing = False
        self._given_up = False
        """The job does not react to being interrupted: nobody waits for it any more."""
        self._spared = False
        self._stopped = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.request_bytes = 0
        """Requests being read, queued or running."""
        self.unread_bytes = 0
        """Results handed out as streams and not closed yet."""

    @property
    def busy(self) -> bool:
        return not self._idle.is_set()

    @property
    def is_open(self) -> bool:
        return self._session is not None

    async def run(
        self,
        statements: Iterable[Statement],
        rows: Rows,
        seconds_max: float,
        *,
        bookmarked: bool = False,
        sql_bytes_max: int = limits.SQL_BYTES_MAX,
        receipt: Callable[[], str | None] | None = None,
    ) -> int:
        """Runs the statements as one call. Raises `QueryFailed`. Cancelled, it stops them if it still can.

        Gives the state that they left or saw (`Session.state_at`), when `bookmarked`.
        """
        call = _Waiting(
            statements,
            rows,
            seconds_max,
            sql_bytes_max,
            bookmarked=bookmarked,
            receipt=receipt,
            future=self._loop.create_future(),
        )
        if self._metered is None:
            await self._answered(call)
            return call.state
        async with self._room(self._metered) as call.room:
            await self._answered(call)
        return call.state

    async def _answered(self, call: _Waiting) -> None:
        self._enqueue(call)
        try:
            await call.future
        except asyncio.CancelledError:
            call.canceled = True
            if call.room is not None:
                await call.ended.wait()  # it may still be committed, and until then it has its room
            raise

    @asynccontextmanager
    async def _room(self, metered: MeteredCalls) -> AsyncIterator[Room]:
        self.preparing += 1
        try:
            async with metered.room(self.resource_id) as room:
                yield room
        finally:
            self.preparing -= 1

    async def restore(self, function: Callable[[Session, Room | None], T]) -> T:
        """As `perform`, for what may make the database larger."""
        if self._metered is None:
            return await self.perform(lambda session: function(session, None))
        async with self._room(self._metered) as room:
            return await self.perform(lambda session: function(session, room), stay=True)

    async def perform(self, function: Callable[[Session], T], *, stay: bool = False) -> T:
        """Calls `function` with the session, in a thread, after the calls before. Raises `QueryFailed`.

        It runs to its end even if the caller leaves, which it cannot before with `stay`.
        """
        task = _Task(function, self._loop.create_future())
        self._enqueue(task)
        try:
            result: T = await task.future
        except asyncio.CancelledError:
            if stay:
                await task.ended.wait()
            raise
        return result

    def _enqueue(self, item: _Waiting | _Task) -> None:
        if self._closing:
            raise QueryFailed(errors.CONNECTION_LOST)
        if self._given_up:
            raise QueryFailed(errors.TIMED_OUT)
        if len(self._unanswered) >= limits.QUEUE_CALLS_MAX:
            raise QueryFailed(errors.OVERLOADED)
        self._queue.append(item)
        self._unanswered.add(item)
        if not self.busy:
            self._start(self._work)

    def watch(self, now: float) -> None:
        """To be called now and then while busy: stops what is overdue, and gives up on what does not stop."""
        session = self._session
        if session is None or session.watch(now) <= self._stuck_seconds or self._given_up:
            return
        _log.error("a query does not end after its deadline", database=self.resource_id, seconds=self._stuck_seconds)
        self._given_up = True
        self._spared = self._threads.add_spare()
        self._queue.clear()
        self._fail_all(QueryFailed(errors.TIMED_OUT))

    def release(self) -> None:
        """Closes the session of an idle database, to open it again when it is needed."""
        if not self.busy and self._session is not None:
            self._start(self._close_session)

    async def aclose(self, drain_seconds: float) -> bool:
        """Refuses new calls, lets those accepted end for a while, and stops the rest. False if one could not be."""
        self._closing = True
        if not await self._wait_idle(drain_seconds):
            self._stopped = True
            if self._session is not None:
                self._session.interrupt()
            if not await self._wait_idle(self._stuck_seconds):
                self._fail_all(QueryFailed(errors.CONNECTION_LOST))
                return False
        self.release()
        return await self._wait_idle(limits.CLOSE_SECONDS_MAX)

    async def _wait_idle(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        return not self.busy

    # On the event loop.

    def _start(self, job: Callable[[], None]) -> None:
        self._idle.clear()
        self._on_change(self)
        # In the next turn of the loop: whoever was answered in this one may ask again, and join the same group.
        self._loop.call_soon(self._threads.submit, job)

    def _answer(self, calls: Sequence[Call]) -> None:
        for call in calls:
            assert isinstance(call, _Waiting)
            self._unanswered.discard(call)
            call.answer(call.failure)

    def _fail_all(self, failure: QueryFailed) -> None:
        calls, self._unanswered = self._unanswered, set()
        for call in calls:
            call.answer(failure)

    def _finished(self, applied: Applied) -> None:
        self._answer(applied.settled)
        if self._spared:
            self._spared = False
            self._threads.remove_spare()
        if self._given_up:
            self._given_up = False  # what it left behind was failed then; calls given back are among them
        else:
            self._queue.extendleft(call for call in reversed(applied.again) if isinstance(call, _Waiting))
        if self._queue:
            self._start(self._work)
        else:
            self._idle.set()
            self._on_change(self)

    # In a thread.

    def _work(self) -> None:
        calls: list[_Waiting] = []
        task: _Task | None = None
        with suppress(IndexError):
            while len(calls) < limits.GROUP_CALLS_MAX:
                item = self._queue.popleft()
                if isinstance(item, _Waiting):
                    calls.append(item)
                elif calls:
                    self._queue.appendleft(item)
                    break
                else:
                    task = item
                    break
        applied = _NOTHING
        try:
            if self._stopped:
                raise QueryFailed(errors.CONNECTION_LOST)
            if self._session is None:
                self._session = self._engine.open(self.resource_id)
            if task is not None:
                self._do(task, self._session)
            elif calls:
                applied = self._session.apply(calls, self._settle)
        except Exception as error:  # noqa: BLE001  # a thread of ours must not die; everybody waiting is told
            if not isinstance(error, QueryFailed) or error.__cause__ is not None:
                _log.exception("a D1 database failed", database=self.resource_id)
            failure = error if isinstance(error, QueryFailed) else QueryFailed(errors.STORAGE_FAILED)
            self._close()
            self._tell(self._fail, [task] if task is not None else calls, failure)
        self._tell(self._finished, applied)

    def _do(self, task: _Task, session: Session) -> None:
        try:
            result = task.function(session)
        except PastUnknown as failure:
            self._tell(self._fail, [task], failure)
        else:
            self._tell(self._done, task, result)

    def _close_session(self) -> None:
        self._close()
        self._tell(self._finished, _NOTHING)

    def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except Exception:  # noqa: BLE001  # it is gone either way, and the next call opens it anew
                _log.exception("a D1 database could not be closed", database=self.resource_id)

    def _settle(self, calls: Sequence[Call]) -> None:
        self._tell(self._answer, list(calls))

    def _tell(self, function: Callable[..., None], *args: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(function, *args)

    def _fail(self, items: Sequence[_Waiting | _Task], failure: QueryFailed) -> None:
        for item in items:
            self._unanswered.discard(item)
            item.answer(failure)

    def _done(self, task: _Task, result: object) -> None:
        self._unanswered.discard(task)
        task.answer(None, result)
