"""A call of one Worker that another answers, relayed: the answer goes on in the turn in which it comes.

Nobody waits for it, so there is no task and no future; there is a number on either channel, and this between them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tenantry.errors import TenantryError
from tenantry.wire.events import CallReceived, CallReturned

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation
    from tenantry.host.pool import WorkerPool
    from tenantry.host.process import WorkerProcess
    from tenantry.host.terms import Terms
    from tenantry.wire.events import InvocationKind

__all__ = ["Relay"]


class Relay:
    """`call` came from code of `invocation`, in `process`."""

    __slots__ = ("_asked", "_call", "_canceled", "_invocation", "_pool", "_process")

    def __init__(self, process: WorkerProcess, invocation: Invocation, call: CallReceived, pool: WorkerPool) -> None:
        self._process = process
        self._invocation = invocation
        self._call = call
        self._pool = pool
        self._asked: Invocation | None = None
        self._canceled = False

    def try_start(self, kind: InvocationKind, method: str, payload: bytes, terms: Terms) -> bool:
        """Ask the other Worker what the call asks, in the words that are its own.

        False: it has no process, or no place; nothing was done. Raises InvocationError.
        """
        self._asked = self._pool.try_ask(
            kind, method, payload, self._invocation.depth + 1, terms, self._invocation, self._answered
        )
        if self._asked is None:
            return False
        self._process.calls.serving(self._invocation, self._call, self)
        return True

    def cancel(self) -> None:
        """The caller lost interest, or is over. What the other Worker still answers is given back."""
        assert self._asked is not None, "only what began is served"
        self._canceled = True
        self._process.calls.served(self._invocation, self._call, self)
        self._asked.process.cancel(self._asked)
        self._process.calls.fail(self._call, asyncio.CancelledError())

    def _answered(self, answer: CallReturned | TenantryError) -> None:
        asked = self._asked
        assert asked is not None, "an answer comes in a later turn than its question"
        if self._canceled:
            if isinstance(answer, CallReturned):
                asked.process.peer.discard(answer.capabilities)
            return
        self._process.calls.served(self._invocation, self._call, self)
        if isinstance(answer, CallReturned):
            answer = asked.process.too_late(asked, answer) or answer
        if isinstance(answer, CallReturned):
            self._process.calls.reply_now(self._invocation, self._call, asked.process.take(asked, answer))
        else:
            self._process.calls.fail(self._call, self._pool.failure(asked, answer))
