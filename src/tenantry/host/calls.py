"""What the code of one process calls: each call is answered by its target, with a task only if there is to wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog

from tenantry.channel import ChannelClosed
from tenantry.errors import BindingError, InvocationError, ProtocolError, StreamError
from tenantry.host.eager import begin
from tenantry.host.limits import REFUSED_CALLS_MAX
from tenantry.host.targets import GONE, Reply, Target
from tenantry.host.things import capability_of, take_back, thing_of
from tenantry.wire.events import CallReceived, InvocationKind, PeerError, WireLimitError

if TYPE_CHECKING:
    from tenantry.host.invocation import Invocation, Serving
    from tenantry.host.process import WorkerProcess

__all__ = ["Calls"]

_log = structlog.get_logger()


class Calls:
    """Of one process: those that are not answered yet."""

    def __init__(self, process: WorkerProcess) -> None:
        self._process = process
        self._serving: dict[int, Serving] = {}
        """Who sees to the answer of each, by number."""
        self._unserved: dict[int, CallReceived] = {}
        """Those of them whose task has not begun: if it never does, what they carried is given back."""
        self.refused = 0
        """Calls that were refused since the last invocation began."""

    def receive(self, event: CallReceived) -> None:
        invocation = self._process.invocations.get(event.parent)
        if invocation is None:
            self._refuse(event, "The execution context which hosts this callback is no longer running.")
            return
        invocation.subrequests += 1
        if invocation.subrequests > invocation.subrequests_max:
            self._refuse(event, "Too many API requests by single Worker invocation.")
            return
        target: Target = (event.target.target if event.target is not None else None) or GONE
        if event.kind > InvocationKind.RPC:
            self._process.peer.close(ProtocolError("an invocation of a kind that only the host starts"))
            return
        try:
            begun = not event.capabilities and target.begin(self._process, invocation, event)
        except Exception as error:  # noqa: BLE001 - as of a task that serves it
            self.fail(event, error)
            return
        if not begun:
            self._unserved[event.call] = event
            self._keep(self._process.loop.create_task(self._serve(invocation, event)), invocation, event)

    def _refuse(self, event: CallReceived, message: str) -> None:
        self.refused += 1
        if self.refused > REFUSED_CALLS_MAX:
            self._process.peer.close(ProtocolError("calls without end"))
            return
        self._process.peer.discard(event.capabilities)
        self._process.peer.error(event.call, PeerError("Error", message))

    def serve_now(self, invocation: Invocation, event: CallReceived) -> None:
        """Serve a call whose target can begin outside of a task, and most often has an answer without one."""
        task = begin(self._serve(invocation, event), self._process.loop)
        if task is not None:
            self._keep(task, invocation, event)

    def reply_now(self, invocation: Invocation, event: CallReceived, reply: Reply) -> None:
        """Answer a call, with a task only if there is something to wait for."""
        if not reply.things and reply.over is None:
            self._process.peer.result(event.call, reply.payload)
            return
        task = begin(self._serve(invocation, event, reply), self._process.loop)
        if task is not None:
            self._keep(task, invocation, event)

    def serving(self, invocation: Invocation, event: CallReceived, serving: Serving) -> None:
        """A call has somebody who sees to its answer, until `served`."""
        self._serving[event.call] = serving
        invocation.serving.add(serving)

    def served(self, invocation: Invocation, event: CallReceived, serving: Serving) -> None:
        invocation.serving.discard(serving)
        del self._serving[event.call]

    def _keep(self, task: asyncio.Task[None], invocation: Invocation, event: CallReceived) -> None:
        self.serving(invocation, event, task)
        task.add_done_callback(lambda task: self._task_done(task, invocation, event))

    def _task_done(self, task: asyncio.Task[None], invocation: Invocation, event: CallReceived) -> None:
        self.served(invocation, event, task)
        if self._unserved.pop(event.call, None) is not None:  # it was cancelled before it began
            self._process.peer.discard(event.capabilities)
            self._process.peer.error(event.call, PeerError("Error", "The call was canceled."))

    async def _serve(self, invocation: Invocation, event: CallReceived, reply: Reply | None = None) -> None:
        self._unserved.pop(event.call, None)
        target: Target = (event.target.target if event.target is not None else None) or GONE
        over: asyncio.Event | None = None
        try:
            if reply is None:
                things = [thing_of(self._process, each, invocation.terms) for each in event.capabilities]
                reply = await target.call(invocation, event.kind, event.method, event.payload, things)
            await self._answer(event.call, reply)
            over = reply.over
        except asyncio.CancelledError as error:
            self.fail(event, error)
            raise
        except Exception as error:  # noqa: BLE001 - all of them are somebody's answer
            self.fail(event, error)
        if over is not None:
            try:
                await over.wait()
            finally:
                self._process.peer.done(event.call)

    def fail(self, event: CallReceived, error: BaseException) -> None:
        """Answer a call with why it failed, as far as the Worker may read it."""
        match error:
            case PeerError():
                answer = PeerError(error.name, error.message, error.code)
            case BindingError():
                answer = PeerError(error.name, error.message)
            case InvocationError() | StreamError() | WireLimitError():
                answer = PeerError("Error", str(error), error.code)
            case ProtocolError():
                self._process.peer.close(error)
                return
            case asyncio.CancelledError():
                answer = PeerError("Error", "The call was canceled.")
            case _:
                # A bug of ours. The Worker gets a reference, the operator the rest.
                reference = uuid4().hex
                _log.error(
                    "a binding call failed",
                    reference=reference,
                    worker=self._process.worker.name,
                    method=event.method,
                    exc_info=error,
                )
                answer = PeerError("Error", f"internal error; reference = {reference}")
        self._process.peer.error(event.call, answer)

    async def _answer(self, call: int, reply: Reply) -> None:
        capabilities = [capability_of(self._process, thing) for thing in reply.things] if reply.things else []
        try:
            if self._process.peer.is_closed:
                raise ChannelClosed("nobody is left to answer")
            self._process.peer.result(call, reply.payload, capabilities, open=reply.over is not None)
        except (ChannelClosed, WireLimitError) as error:
            await take_back(self._process.peer, capabilities)
            if isinstance(error, WireLimitError):
                raise

    def cancel(self, call: int) -> None:
        """The Worker lost interest in a call: a Worker that it called is told, a write may or may not be done."""
        serving = self._serving.get(call)
        if serving is not None:
            serving.cancel()

    async def wait_over(self) -> None:
        """Until nothing that was called is at work any more. A relay ends with the channel, in the same turn."""
        tasks = {serving for serving in self._serving.values() if isinstance(serving, asyncio.Task)}
        if tasks:
            await asyncio.wait(tasks)
