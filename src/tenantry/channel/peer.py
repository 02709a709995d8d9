"""One end of a channel: a session, its socket, the calls that wait for an answer and the streams that flow.

Frames written during one turn of the loop leave in one write. What comes in is read at most 256 KiB a turn, and on the
host in turns with everybody else (`turns`). A peer that breaks the protocol, or lets what it should read pile up,
is closed; whoever owns it then ends the process behind it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol

from tenantry.channel.outlet import Outlet
from tenantry.channel.pumps import Pumps
from tenantry.channel.streams import RemoteStream
from tenantry.channel.turns import Lane
from tenantry.errors import ProtocolError, TenantryError
from tenantry.wire.events import (
    CallCanceled,
    CallClosed,
    CallFailed,
    CallReceived,
    CallReturned,
    Capability,
    Import,
    InvocationKind,
    LogLost,
    LogReceived,
    PeerError,
    StreamAborted,
    StreamCredited,
    StreamData,
    StreamEnded,
    StreamExport,
    StubExport,
)
from tenantry.wire.limits import MIB, PAYLOAD_BYTES_MAX
from tenantry.wire.session import Session

__all__ = ["Answered", "ChannelClosed", "Handler", "Peer"]

_READ_BYTES_MAX: Final = 256 * 1024
_READ_BYTES_FIRST: Final = 16 * 1024
_READ_BYTES_MIN: Final = 2 * 1024
_WANTED_BYTES_MAX: Final = 4 * MIB
_TURN_EVENTS: Final = 64
"""What one read should bring, going by the size of what came before: tiny frames cost far more than their bytes say,
and whoever shares the loop waits for all of them."""
_SHARED_TURN: Final = 16
_SHARED_READ_BYTES_MIN: Final = 192
"""Where others have something to say too, it brings so much less."""
_SHARED_READ_BYTES_MAX: Final = 128 * 1024
_BULK_BYTES: Final = 64 * 1024
_BULK_REST_SECONDS: Final = 0.001
"""There, whoever sent so much at once rests afterwards. From one such read to the next the loop would not sleep, and
whom it has woken may have to wait for its processor: one tenant's stream kept it at that for milliseconds."""
_LAST_WORDS_SECONDS: Final = 1.0
"""How long a peer that cannot be written to any more is still listened to."""
_UNSENT_BYTES_MAX: Final = 2 * PAYLOAD_BYTES_MAX
"""A peer that leaves more than this unread does not read at all."""


class ChannelClosed(TenantryError):
    """The channel went away before the answer came."""


Answered = Callable[[CallReturned | TenantryError], None]
"""Who waits for the answer to a call: told what came, or the PeerError or ChannelClosed that came instead."""


class Handler(Protocol):
    """What a peer tells its owner. All are called on the loop and must not block. One that raises closes the peer."""

    def call_received(self, event: CallReceived) -> None: ...

    def call_canceled(self, call: int) -> None: ...

    def call_closed(self, call: int) -> None:
        """The invocation of a call of this side is over, whether anybody still waited for its answer or not."""

    def export_over(self, export: StubExport | StreamExport) -> None:
        """The peer can reach this no more: it was released, read to its end, or its scope is over."""

    def stream_failed(self, export: StreamExport, error: BaseException) -> None:
        """The source of a stream raised, in `read` or in `aclose`, what the peer is not told."""

    def log_received(self, event: LogReceived) -> None: ...

    def logs_lost(self, event: LogLost) -> None: ...

    def closed(self, error: Exception | None) -> None:
        """The last call of all. `error` is None when the other end closed."""


class Peer:
    """See the module. The socket becomes the peer's own."""

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        lane: Lane | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """`lane` is where it waits for its turn to be read; None: it is read whenever there is something.

        `alone`: no other channel is on this loop, so that what one read leads to need not wait for more.
        """
        sock.setblocking(False)
        self._lane = lane
        self.loop = loop
        self.session = Session()
        self._socket = sock
        self._handler = handler
        self._waiting: dict[int, Answered] = {}
        self.outlet = Outlet(sock, loop, self._break)
        self._pumps = Pumps(self, handler)
        self._flushing = False
        self._alone = alone
        self._resumed = False
        self._last_words: asyncio.TimerHandle | None = None
        """Of a peer that nothing can be written to any more: when it is no longer listened to."""
        self._wanted_bytes = _READ_BYTES_FIRST
        """What _TURN_EVENTS would take, as far as is known."""
        self._had_bytes = 0
        """What the last read brought."""
        self.is_closed = False
        self.in_background = False
        """Others go first: its process kept a processor busy, or is new and follows one that crashed."""
        self.windows = 0
        """Streams of the peer that are being read here: they share what may be under way."""
        loop.add_reader(sock.fileno(), self._readable)
        self.flush_soon()

    # Calls ---------------------------------------------------------------------------------------------------------

    def call(
        self,
        target: int,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        capabilities: Sequence[Capability] = (),
        parent: int = 0,
    ) -> tuple[int, asyncio.Future[CallReturned]]:
        """Call an export of the peer. The future fails with PeerError or ChannelClosed."""
        future: asyncio.Future[CallReturned] = self.loop.create_future()
        return self.ask(target, kind, method, payload, capabilities, parent, self.settle(future)), future

    def ask(
        self,
        target: int,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        capabilities: Sequence[Capability],
        parent: int,
        answered: Answered,
    ) -> int:
        """Call an export of the peer. `answered` is called, on the loop, in the very turn in which the answer comes."""
        if self.is_closed:
            raise ChannelClosed("the channel is closed")
        call = self.session.call(target, kind, method, payload, capabilities, parent)
        if self._lane is not None and not self.in_background:
            self._lane.is_asked()
        self._waiting[call] = answered
        self._after()
        return call

    def settle(self, future: asyncio.Future[CallReturned]) -> Answered:
        """What tells a future of the answer. Of one that is done by then, what came with the answer is given back."""
        return partial(self._settle, future)

    def _settle(self, future: asyncio.Future[CallReturned], answer: CallReturned | TenantryError) -> None:
        if future.done():
            if isinstance(answer, CallReturned):
                self.discard(answer.capabilities)
        elif isinstance(answer, CallReturned):
            future.set_result(answer)
        else:
            future.set_exception(answer)

    def result(self, call: int, payload: bytes, capabilities: Sequence[Capability] = (), *, open: bool = False) -> None:  # noqa: A002
        if not self.is_closed:
            self.session.result(call, payload, capabilities, open=open)
            self._after()

    def error(self, call: int, error: PeerError) -> None:
        if not self.is_closed:
            self.session.error(call, error)
            self._after()

    def done(self, call: int) -> None:
        if not self.is_closed:
            self.session.done(call)
            self._after()

    def cancel(self, call: int) -> None:
        if not self.is_closed:
            self.session.cancel(call)
            self._after()

    def log(self, call: int, level: str, message: str) -> None:
        """Lost when the peer has not granted room for it."""
        if not self.is_closed:
            self.session.log(call, level, message)
            self._after()

    def grant_log(self, size: int) -> None:
        if not self.is_closed:
            self.session.grant_log(size)
            self._after()

    # Capabilities --------------------------------------------------------------------------------------------------

    def stream(self, imported: Import) -> RemoteStream:
        """The one reader of an imported stream."""
        reader = imported.owner
        if reader is None:
            reader = imported.owner = RemoteStream(self, imported)
        assert isinstance(reader, RemoteStream)
        return reader

    def credit(self, imported: Import, size: int) -> None:
        if not self.is_closed:
            self.session.credit(imported, size)
            self._after()

    def release(self, imported: Import) -> None:
        if not self.is_closed:
            self.session.release(imported)
            self._after()

    def discard(self, capabilities: Sequence[Capability]) -> None:
        """Give back what came with a call or a result that nobody will look at."""
        for capability in capabilities:
            if isinstance(capability, Import):
                self.release(capability)
            elif isinstance(capability, StreamExport):
                self.stop_pump(capability)
                self._pumps.close_source_soon(capability)

    def stop_pump(self, export: StreamExport) -> None:
        """The stream was handed back: its new reader is here."""
        self._pumps.stop(export)

    # Reading -------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        if self._lane is None:
            self._read(min(self._wanted_bytes, _READ_BYTES_MAX))
        elif self._lane.may_read(self):
            self._read_and_charge(self._lane, shared=False)
        else:
            self.loop.remove_reader(self._socket.fileno())

    def take_turn(self) -> None:
        if not self.is_closed:
            assert self._lane is not None
            self.loop.add_reader(self._socket.fileno(), self._readable)
            self._read_and_charge(self._lane, shared=True)

    def _read_and_charge(self, lane: Lane, *, shared: bool) -> None:
        started = perf_counter()
        size = self._wanted_bytes
        has_company = lane.begin(started, in_background=self.in_background)
        if has_company or shared:
            size = min(max(size // _SHARED_TURN, _SHARED_READ_BYTES_MIN), _SHARED_READ_BYTES_MAX)
        events = self._read(min(size, _READ_BYTES_MAX))
        lane.charge(perf_counter() - started, events)
        if has_company and self._had_bytes >= _BULK_BYTES and not self.is_closed:
            self.loop.remove_reader(self._socket.fileno())
            self.loop.call_later(_BULK_REST_SECONDS, self._rested)

    def _rested(self) -> None:
        if not self.is_closed:
            self.loop.add_reader(self._socket.fileno(), self._readable)

    def _read(self, size: int) -> int:
        """Read once. Returns how many events came of it."""
        try:
            data = self._socket.recv(size)
        except (BlockingIOError, InterruptedError):
            self._had_bytes = 0
            return 0
        except OSError:
            data = b""
        if not data:
            self.close(None)
            return 0
        self._had_bytes = len(data)
        try:
            events = self.session.feed_untrusted(data)
        except ProtocolError as error:
            self.close(error)
            return 0
        if events:
            wanted = _TURN_EVENTS * len(data) // len(events)
            self._wanted_bytes = min(max(wanted, _READ_BYTES_MIN), _WANTED_BYTES_MAX)
        else:  # a part of something large, after what was small
            self._wanted_bytes = min(2 * self._wanted_bytes, _WANTED_BYTES_MAX)
        try:
            for event in events:
                self._on[type(event)](self, event)
                if self.is_closed:
                    return len(events)
            if self._alone:
                if self.session.dropped:
                    self._drop()
                self.flush()
                if self._resumed:
                    # Who waited for an answer goes on in the next turn, before this: what it says leaves in that turn.
                    self._resumed = False
                    self.flush_soon()
            else:
                self._after()
        except Exception as error:  # noqa: BLE001
            # A bug of this side. Events after this one are lost, so calls would wait for ever: better to end.
            self.loop.call_exception_handler({"message": "a channel's event could not be handled", "exception": error})
            self.close(error)
        return len(events)

    def _returned(self, event: CallReturned) -> None:
        answered = self._waiting.pop(event.call)
        self._resumed = True
        if not event.open:
            self._handler.call_closed(event.call)
        answered(event)

    def _failed(self, event: CallFailed) -> None:
        answered = self._waiting.pop(event.call)
        self._resumed = True
        self._handler.call_closed(event.call)
        answered(event.error)

    def _data(self, event: StreamData) -> None:
        self.stream(event.stream).receive(event.data)

    def _ended(self, event: StreamEnded) -> None:
        self.stream(event.stream).finish()

    def _aborted(self, event: StreamAborted) -> None:
        self.stream(event.stream).fail(event.reason)

    _on: Final[dict[type, Callable[[Peer, Any], None]]] = {
        CallReceived: lambda self, event: self._handler.call_received(event),
        CallReturned: _returned,
        CallFailed: _failed,
        CallClosed: lambda self, event: self._handler.call_closed(event.call),
        CallCanceled: lambda self, event: self._handler.call_canceled(event.call),
        StreamCredited: lambda self, event: self._pumps.credited(event.export),
        StreamData: _data,
        StreamEnded: _ended,
        StreamAborted: _aborted,
        LogReceived: lambda self, event: self._handler.log_received(event),
        LogLost: lambda self, event: self._handler.logs_lost(event),
    }

    # Writing -------------------------------------------------------------------------------------------------------

    def _after(self) -> None:
        """What every change of the session ends with."""
        if self.session.dropped:
            self._drop()
        if self.session.has_output:
            self.flush_soon()

    def _drop(self) -> None:
        dropped = self.session.dropped[:]
        self.session.dropped.clear()
        for thing in dropped:
            if isinstance(thing, Import):
                self._fail_stream(thing, "the invocation that sent the stream is over")
                continue
            if isinstance(thing, StreamExport):
                if thing.ended:
                    continue
                thing.ended = True
                self._pumps.stop(thing)
                self._pumps.close_source_soon(thing)
            self._handler.export_over(thing)

    @staticmethod
    def _fail_stream(imported: Import, reason: str) -> None:
        if isinstance(imported.owner, RemoteStream):
            imported.owner.fail(reason)

    def flush_soon(self) -> None:
        if not self._flushing and not self.is_closed:
            self._flushing = True
            self.loop.call_soon(self._flush_turn)

    def _flush_turn(self) -> None:
        self._flushing = False
        self.flush()

    def flush(self) -> None:
        """Write now, for who will not get to the next turn of the loop, or has much to send."""
        if self.is_closed or not self.session.has_output:
            return
        data = self.session.take_outbox()
        if self._last_words is None and self.outlet.write(data) > _UNSENT_BYTES_MAX:
            self.close(ProtocolError("the peer does not read what it is sent"))

    def _break(self) -> None:
        """Nothing can be written any more. What the peer had to say before is still heard, for a moment."""
        self._last_words = self.loop.call_later(_LAST_WORDS_SECONDS, self.close, None)

    # The end -------------------------------------------------------------------------------------------------------

    def close(self, error: Exception | None) -> None:
        """Close the channel; everything that waits for the peer fails. Idempotent."""
        if self.is_closed:
            return
        self.is_closed = True
        self.loop.remove_reader(self._socket.fileno())
        self.outlet.close()
        if self._last_words is not None:
            self._last_words.cancel()  # it would keep all that this peer leads to
        self._socket.close()
        exports, imports = self.session.close()
        for imported in imports:
            self._fail_stream(imported, "the other end of the stream is gone")
        self._pumps.stop_all()
        for export in exports:
            if isinstance(export, StreamExport) and not export.ended:
                export.ended = True
                self._pumps.close_source_soon(export)
            self._handler.export_over(export)
        waiting = self._waiting
        self._waiting = {}
        for answered in waiting.values():
            answered(ChannelClosed("the channel was closed before the answer came"))
        self._handler.closed(error)

    async def wait_closed(self) -> None:
        """Wait for what `close` left to do: the sources of streams give back what they hold."""
        self.close(None)
        await self._pumps.wait_closed()
