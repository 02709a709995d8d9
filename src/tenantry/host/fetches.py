"""HTTP requests from outside, as invocations: the way in, and what comes back of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tenantry.errors import ProtocolError, TenantryError, WorkerThrew
from tenantry.host.targets import Reply, Thing, give_back
from tenantry.host.terms import NO_TERMS
from tenantry.streams import ByteStream, is_byte_stream
from tenantry.wire.events import CallReturned, InvocationKind, PeerError
from tenantry.wire.values import RequestValue, ResponseValue, capability, decode_untrusted, encode

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.pool import WorkerPool
    from tenantry.host.split import VersionChoice

__all__ = ["Answer", "Fetch", "FetchAnswered", "fetch"]


@dataclass(slots=True)
class Answer:
    """A Worker's response. `stream` is its body where `response.body` is not; whoever has the answer closes it."""

    response: ResponseValue
    stream: ByteStream | None = None


FetchAnswered = Callable[[Answer | Exception], None]
"""Who waits for the answer to a request: told it, or the InvocationError that came instead."""


async def fetch(
    pool: WorkerPool, choice: VersionChoice | None, request: RequestValue, body: ByteStream | None
) -> Answer:
    """See `Host.fetch`."""
    things: list[Thing] = []
    if body is not None:
        request.body = 0
        things.append(body)
    try:
        reply = await pool.invoke(InvocationKind.FETCH, "fetch", encode([request]), things, choice=choice)
    except PeerError as error:
        raise WorkerThrew(error.name, error.message) from error
    answer: Answer | None = None
    try:
        answer = _answer(reply)
        return answer
    finally:
        if reply.things:  # only its body is of use, whatever came with it
            await _give_back(reply, answer)


class Fetch:
    """A request whose answer nobody waits for in a task: its own is a number on the channel, and a callback."""

    __slots__ = ("_answered", "_canceled", "_invocation", "_pool")

    def __init__(self, pool: WorkerPool, answered: FetchAnswered) -> None:
        self._pool = pool
        self._answered = answered
        self._invocation: Invocation | None = None
        self._canceled = False

    @classmethod
    def try_start(
        cls, pool: WorkerPool, choice: VersionChoice | None, request: RequestValue, answered: FetchAnswered
    ) -> Fetch | None:
        """None: the pool has no process for it, or no place; nothing was done."""
        self = cls(pool, answered)
        try:
            self._invocation = pool.try_ask(
                InvocationKind.FETCH, "fetch", encode([request]), 0, NO_TERMS, None, self._returned, choice
            )
        except TenantryError:
            return None  # who waits in a task will be told
        return None if self._invocation is None else self

    def cancel(self) -> None:
        """The client left. What the Worker still answers is given back."""
        if not self._canceled:
            self._canceled = True
            assert self._invocation is not None, "only what began is there to cancel"
            self._invocation.process.cancel(self._invocation)

    def _returned(self, returned: CallReturned | TenantryError) -> None:
        invocation = self._invocation
        assert invocation is not None, "an answer comes in a later turn than its question"
        process = invocation.process
        if self._canceled:
            if isinstance(returned, CallReturned):
                process.peer.discard(returned.capabilities)
            return
        if isinstance(returned, CallReturned):
            returned = process.too_late(invocation, returned) or returned
        if not isinstance(returned, CallReturned):
            failure = self._pool.failure(invocation, returned)
            if isinstance(failure, PeerError):
                failure = WorkerThrew(failure.name, failure.message)
            self._answered(failure)
            return
        reply = process.take(invocation, returned)
        answer: Answer | None = None
        try:
            answer = _answer(reply)
        except WorkerThrew as error:
            self._answered(error)
        else:
            self._answered(answer)
        if len(reply.things) > (answer is not None and answer.stream is not None):
            process.loop.create_task(_give_back(reply, answer))


async def _give_back(reply: Reply, answer: Answer | None) -> None:
    body = None if answer is None else answer.stream
    await give_back([thing for thing in reply.things if thing is not body])


def _answer(reply: Reply) -> Answer:
    """Raises WorkerThrew for what is no response."""
    try:
        value: Any = decode_untrusted(reply.payload)
        if not isinstance(value, ResponseValue):
            raise ProtocolError("it is not a Response")
        if value.body is None or isinstance(value.body, bytes):
            return Answer(value)
        stream = capability(value.body, reply.things)
        if not is_byte_stream(stream):
            raise ProtocolError("its body is not a stream")
        return Answer(value, stream)
    except ProtocolError as error:
        raise WorkerThrew("TypeError", f"the Worker's response cannot be used: {error}") from error
