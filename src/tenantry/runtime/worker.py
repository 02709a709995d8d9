"""A worker process: one version of one Worker, serving the invocations that the host sends."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise
from threading import get_ident
from types import FrameType, TracebackType
from typing import Any, Final

import workers
from workers import _convert, _entry, _env

from tenantry.channel import Peer
from tenantry.runtime.compiler import Compiler
from tenantry.runtime.context import Context
from tenantry.runtime.eager import TaskStarter
from tenantry.runtime.invocation import Invocation, current_call
from tenantry.runtime.loader import import_main
from tenantry.runtime.logs import Capture
from tenantry.runtime.loop import renew
from tenantry.runtime.overtime import Overtime, ignore
from tenantry.runtime.streams import ReadableStream, is_remote
from tenantry.runtime.stub import LocalStub, StreamStub, Stub
from tenantry.wire.assignment import START_FAILED_CODE, Assignment, BindingStubSpec, Compilation, decode_assignment
from tenantry.wire.entry import split_entry
from tenantry.wire.events import (
    CallReceived,
    Capability,
    Import,
    LogLost,
    LogReceived,
    PeerError,
    StreamExport,
    StubExport,
    WireLimitError,
)
from tenantry.wire.limits import LOG_MESSAGE_BYTES
from tenantry.wire.values import decode_untrusted, encode

__all__ = ["Kit", "Worker", "main", "make", "prepare"]


class Kit:
    """What a Worker's process needs and what is the same in all of them: made by the zygote, once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: Callable[[int], object] = os._exit) -> None:
        """`end` is what happens when the channel is closed, to the exit code."""
        self.loop = loop
        self.end = end
        self.logs = Capture()
        self.overtime = Overtime()


_kits: Final[list[Kit]] = []


def make() -> None:
    """In the zygote: the one that its children will have."""
    kit = Kit(asyncio.new_event_loop())
    asyncio.set_event_loop(kit.loop)
    kit.overtime.listen()
    kit.logs.put_in_place()
    _kits.append(kit)


def prepare() -> None:
    """What a blank worker does before its last layer closes: an event loop needs a socket pair to wake itself."""
    random.seed()  # siblings of one zygote share the state they were forked with
    renew(_kits[0].loop)


def main(channel: socket.socket, assignment: bytes) -> None:
    """Become the Worker in the current folder, and serve until the host closes the channel. Does not return."""
    kit = _kits[0]
    decoded = decode_assignment(assignment)
    if isinstance(decoded, Compilation):
        Compiler(channel, decoded, kit.loop)
        kit.loop.run_forever()
        return
    if decoded.proxy:
        _announce_proxy(decoded.proxy)
    worker = Worker(channel, decoded, kit)
    worker.load(os.getcwd())
    kit.loop.run_forever()


def _announce_proxy(url: str) -> None:
    """Where HTTP clients look for it. In both cases of letters: some read only the one, some only the other."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        os.environ[name] = os.environ[name.lower()] = url


class Worker:
    """The handler of the channel, and what stubs need to know of the process that they live in."""

    def __init__(self, channel: socket.socket, assignment: Assignment, kit: Kit) -> None:
        self._assignment = assignment
        self._kit = kit
        self._loop = loop = kit.loop
        self._thread = get_ident()
        self._invocations: dict[int, Invocation] = {}
        self._export_owners: dict[int, Invocation] = {}
        self._described: dict[tuple[str, str, int, int], str] = {}
        """What a traceback says of a place in the tenant's code."""
        self._entry: Any = None  # whatever the SDK found in the main module
        self._failure: PeerError | None = None
        self._tasks = TaskStarter(loop)
        self.peer = Peer(channel, self, loop, alone=True)
        self.peer.session.export(StubExport(self))
        self.fetch_stub = Stub(self, assignment.fetch_target, plain=False)
        self.forms_stub = Stub(self, assignment.forms_target, plain=False)
        self.env = _env.make_env([self._binding(spec) for spec in assignment.bindings])
        _env.set_env(self.env)

    def _binding(self, spec: BindingStubSpec) -> dict[str, Any]:
        if spec.target:
            return {"name": spec.name, "type": spec.type, "stub": Stub(self, spec.target)}
        field = "json" if spec.type == "json" else "text"
        return {"name": spec.name, "type": spec.type, field: spec.value}

    def load(self, bundle: str) -> None:
        """Import the tenant's code. When that fails every call is answered with it, and the host ends the process."""
        self._kit.logs.emit = self._log_current
        overtime = self._kit.overtime
        try:
            # The host's word that this takes too long: the log then says where. Whoever does not listen is ended.
            overtime.told = _give_up
            module = import_main(self._assignment.main_module, bundle)
            self._entry = _entry.find_entrypoints(module)
            overtime.told = self._say_where
        except BaseException as error:  # noqa: BLE001 - a tenant's module may raise anything, SystemExit too
            overtime.told = ignore
            self.log_exception(0, error)
            name, message = _convert.error_to_peer(error)
            self._failure = PeerError(name, message, START_FAILED_CODE)
        gc.collect()
        gc.freeze()
        gc.set_threshold(_GC_YOUNG_MAX)

    # The handler of the channel ------------------------------------------------------------------------------------

    def call_received(self, event: CallReceived) -> None:
        if self._failure is not None:
            self.peer.error(event.call, self._failure)
            return
        if self._assignment.trial:
            self.peer.result(event.call, encode(None))
            return
        invocation = self._invocations[event.call] = Invocation(self, event.call)
        invocation.task = self._tasks.start(self._run(invocation, event))

    def call_canceled(self, call: int) -> None:
        """Before the answer: its client left. After it: the time of what goes on behind it is over."""
        invocation = self._invocations.get(call)
        if invocation is None:
            return
        if not invocation.answered:
            if invocation.task is not None:
                invocation.task.cancel()
            return
        for task in list(invocation.waiting):
            task.cancel()

    def call_closed(self, call: int) -> None:
        """The host closes every call with its result."""

    def export_over(self, export: StubExport | StreamExport) -> None:
        invocation = self._export_owners.pop(id(export), None)
        if invocation is not None:
            invocation.exports -= 1
            self.settle(invocation)

    def stream_failed(self, export: StreamExport, error: BaseException) -> None:
        invocation = self._export_owners.get(id(export))
        self.log_exception(invocation.call if invocation is not None else 0, error)

    def log_received(self, event: LogReceived) -> None:
        """The host logs nothing here."""

    def logs_lost(self, event: LogLost) -> None:
        """Nor loses any of it."""

    def closed(self, error: Exception | None) -> None:
        # Nobody is left to work for, and nothing of a tenant's may delay the end.
        self._kit.end(0 if error is None else 1)

    # Invocations ---------------------------------------------------------------------------------------------------

    async def _run(self, invocation: Invocation, event: CallReceived) -> None:
        invocation.enter()
        call = event.call
        try:
            value = await self._dispatch(invocation, event)
            payload, capabilities = self.encode(value, invocation)
        except asyncio.CancelledError:
            if invocation.waiting:  # the caller left; what waitUntil() was given goes on
                payload, capabilities = encode(None), []
            else:
                self._fail(invocation, PeerError("Error", "The client has disconnected"))
                return
        except BaseException as error:  # noqa: BLE001 - whatever the tenant raises is its answer
            self.log_exception(call, error)
            name, message = _convert.error_to_peer(error)
            self._fail(invocation, PeerError(name, message))
            return
        for capability in capabilities:
            if not isinstance(capability, Import):
                self._export_owners[id(capability)] = invocation
                invocation.exports += 1
        is_open = bool(invocation.exports or invocation.waiting)
        invocation.answered = True
        try:
            self.peer.result(call, payload, capabilities, open=is_open)
        except WireLimitError as error:
            for capability in capabilities:
                self._export_owners.pop(id(capability), None)
            self._fail(invocation, PeerError("Error", str(error)))
            return
        if not is_open:
            del self._invocations[call]

    async def _dispatch(self, invocation: Invocation, event: CallReceived) -> Any:
        target = event.target.target if event.target is not None else None
        entry, kind, payload = split_entry(event.kind, event.payload)
        args = self.decode(payload, event.capabilities)
        if not isinstance(args, list):
            raise TypeError("arguments that are not a list")
        if target is self:
            env, context, entrypoint = self.env, Context(invocation), _entry.DEFAULT
            if entry is not None:
                entrypoint = entry.entrypoint or entrypoint
                context.props = _convert.raw_object(entry.props)
                if entry.env:
                    env = _env.overlay(env, dict(entry.env))
            return await _entry.dispatch(self._entry, env, context, kind, event.method, args, entrypoint)
        if target is None:
            raise RuntimeError("The execution context which hosts this callback is no longer running.")
        return await self.call_own(target, event.method, args)

    @staticmethod
    async def call_own(target: Any, method: str, args: list[Any]) -> Any:
        """Call something that this Worker passed to another."""
        return await _entry.dispatch_stub(target, method, args)

    def _fail(self, invocation: Invocation, error: PeerError) -> None:
        for task in list(invocation.waiting):
            task.cancel()
        self._invocations.pop(invocation.call, None)
        self.peer.error(invocation.call, error)

    def settle(self, invocation: Invocation) -> None:
        """End an invocation that was answered, once nothing of it is left."""
        if not invocation.answered or invocation.exports or invocation.waiting:
            return
        if self._invocations.pop(invocation.call, None) is not None:
            self.peer.done(invocation.call)

    # Values --------------------------------------------------------------------------------------------------------

    def encode(self, value: Any, invocation: Invocation) -> tuple[bytes, list[Capability]]:
        """The payload of a value, and its capabilities as the session knows them."""
        things: list[Any] = []
        payload = encode(value, lambda thing: _convert.to_value(thing, things))
        return payload, [self._capability(thing) for thing in things] if things else []

    def _capability(self, thing: Any) -> Capability:
        if isinstance(thing, ReadableStream):
            length = thing.length
            source = thing.take()
            if is_remote(source):
                return source.imported  # type: ignore[attr-defined,no-any-return]  # is_remote has just said so
            return StreamExport(source, length)
        if isinstance(thing, Stub):
            return thing.capability()
        return StubExport(thing)

    def decode(self, payload: bytes, capabilities: list[Capability], *, plain: bool = False) -> Any:
        things = [self._thing(capability) for capability in capabilities] if capabilities else []
        return _convert.from_value(decode_untrusted(payload), things, plain=plain)

    def _thing(self, capability: Capability) -> Any:
        if isinstance(capability, Import):
            if capability.kind == "stub":
                return Stub(self, capability.identifier, capability, plain=False)
            stream = ReadableStream(self.peer.stream(capability))
            stream.attach(StreamStub(self.forms_stub, stream))
            return stream
        if isinstance(capability, StreamExport):
            self.peer.stop_pump(capability)
            return ReadableStream(capability.source)
        return LocalStub(self, capability.target)

    @staticmethod
    def error_from_peer(name: str, message: str) -> Exception:
        return _convert.error_from_peer(name, message)

    # Logs ----------------------------------------------------------------------------------------------------------

    def log(self, call: int, level: str, message: str) -> None:
        invocation = self._invocations.get(call)
        if invocation is not None:
            # The host counts for itself, and says where it cut. What it would drop need not be sent to be dropped.
            if invocation.logged_bytes > _LOG_BYTES_MAX:
                return
            invocation.logged_bytes += len(message) + LOG_MESSAGE_BYTES
        if get_ident() == self._thread:
            self.peer.log(call, level, message)
        else:
            self._loop.call_soon_threadsafe(self.peer.log, call, level, message)

    def _log_current(self, level: str, message: str) -> None:
        self.log(current_call(), level, message)

    def log_exception(self, call: int, error: BaseException) -> None:
        own = self._describe(error.__traceback__)
        # A module with a syntax error has no frame, and what is left over are ours and the host's paths.
        head = ["Traceback (most recent call last):\n", *own] if own else []
        text = "".join([*head, *traceback.format_exception_only(error)])
        self.log(call, "error", text.rstrip("\n"))

    def _describe(self, trace: TracebackType | None) -> list[str]:
        """The frames of the tenant's own code. What is raised once is raised again, and to find a place in its source
        takes a tenth of a millisecond, in which nobody else is served: so it is looked up."""
        own = []
        while trace is not None:
            if not _is_runtime(trace.tb_frame.f_code.co_filename):
                own.append(TracebackType(None, trace.tb_frame, trace.tb_lasti, trace.tb_lineno))
            trace = trace.tb_next
        if any(each.tb_lineno == fourth.tb_lineno for each, fourth in zip(own, own[3:], strict=False)):
            # Perhaps a recursion: Python counts its lines from the fourth on.
            for each, inner in pairwise(own):
                each.tb_next = inner
            return traceback.format_tb(own[0])
        lines = []
        for each in own:
            code = each.tb_frame.f_code
            place = (code.co_filename, code.co_name, each.tb_lineno, each.tb_lasti)
            if (line := self._described.get(place)) is None:
                if len(self._described) >= _PLACES_MAX:
                    self._described.clear()
                line = self._described[place] = "".join(traceback.format_tb(each))
            lines.append(line)
        return lines

    def _say_where(self, frame: FrameType | None) -> None:
        """The host's word that the CPU time is used up and that it ends us in a moment.

        This may be in the middle of anything, a write to the channel included; what it spoils is over anyway.
        """
        others = sys._current_frames()
        others.pop(self._thread, None)
        lines: list[str] = []
        for name, stack in [("it", frame), *(("another thread", each) for each in others.values())][:_STACKS_TOLD_MAX]:
            frames = _stack(stack)
            if any(not _is_runtime(each.filename) for each in frames):
                lines += [f"Where {name} was (most recent call last):\n", *_frames_text(frames)]
        self.log(current_call(), "error", "".join(lines).rstrip("\n"))
        self.peer.flush()


def _frames_text(frames: list[traceback.FrameSummary]) -> list[str]:
    """What a tenant reads of a stack: the frames of its own code, if any of them is."""
    own = [frame for frame in frames if not _is_runtime(frame.filename)]
    return traceback.format_list(own or frames)


def _stack(frame: Any) -> list[traceback.FrameSummary]:
    """The innermost frames, without those of the event loop that called them."""
    frames = list(traceback.extract_stack(frame, _FRAMES_TOLD_MAX))
    loops = [at for at, each in enumerate(frames) if each.filename.endswith("/asyncio/events.py")]
    return frames[loops[-1] + 1 :] if loops else frames


def _give_up(_frame: FrameType | None) -> None:
    raise TimeoutError("The import of the Worker takes longer than it may.")


_STACKS_TOLD_MAX: Final = 8
_FRAMES_TOLD_MAX: Final = 32
_PLACES_MAX: Final = 256
_GC_YOUNG_MAX: Final = 5_000
"""Python's own is 700: the collector would start with every tenth request or so, which hardly ever leaves a cycle."""

_LOG_BYTES_MAX: Final = 256 * 1024
"""Of one invocation's log: not less than the host's own limit, which is what counts."""

_SDK = os.path.dirname(os.path.dirname(workers.__file__)) + os.sep


def _is_runtime(filename: str) -> bool:
    """Whether a frame is ours, or the import system's: of no use to a tenant, and with paths that are the host's."""
    return filename.startswith((_SDK, "<frozen importlib")) or "/tenantry/" in filename or "/importlib/" in filename
