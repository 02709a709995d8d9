"""The state of one connection, without its I/O: method calls append frames to an outbox, received bytes become events.

Theory of operation. Both sides are equal. Each numbers its own calls and its own exports, upwards and never twice, so
a number tells whether a thing is live, is gone, or never was. What is gone may be named by a frame that was under way,
and is ignored; what never was is a violation.

* A **call** goes to an export of the peer. Its *invocation* lasts until the callee says so: a RESULT that is not open,
  an ERROR, or the DONE after an open RESULT. CANCEL asks the callee to hurry; it still answers.
* An **export** is a stub (may be called) or a stream (may be read). It enters the world in the capability list of a
  CALL or a RESULT and belongs to a *scope*: for a CALL and an open RESULT the invocation of that call; for any other
  RESULT the invocation that the caller named as the call's parent. When an invocation is over both sides drop what
  belongs to it, without a frame; RELEASE drops one earlier. An export without a scope lives as long as the session.
* A thing is exported anew, under a new number, each time that it is sent: the number of an earlier sending may be
  released by a frame that is under way. Twice in one list is one export.
* A capability that comes back to its exporter arrives as the very object that was exported. That is how a body that a
  worker only passes on never enters it. A stream moves: who sent it has it no more.
* What ends without an event of its own (a scope was over, the peer released it) is listed in `dropped`.

`capabilities` keeps the tables of exports and imports, `flow` has the frames that concern one of them, such as a
stream's bytes, `parts` the payloads that no frame holds, `log_window` what is logged; here are the calls. A call whose
target is gone names 0.

A side never sends what the other would have to refuse: what would pass a bound raises WireLimitError, and nothing was
sent or changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tenantry.errors import ProtocolError
from tenantry.wire.bodies import (
    decode_call,
    decode_error,
    decode_result,
    encode_error,
    pack,
    read_untrusted,
)
from tenantry.wire.capabilities import IDENTIFIER_MAX, Described, Scope
from tenantry.wire.events import (
    CallCanceled,
    CallClosed,
    CallFailed,
    CallReceived,
    CallReturned,
    Capability,
    Event,
    Import,
    InvocationKind,
    PeerError,
    StreamExport,
    StubExport,
    WireLimitError,
)
from tenantry.wire.flow import Flow
from tenantry.wire.frames import FrameDecoder, FrameKind, encode_frame
from tenantry.wire.limits import (
    CALLS_MAX,
    METHOD_CHARACTERS_MAX,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_PART_BYTES,
)
from tenantry.wire.log_window import LogWindow
from tenantry.wire.parts import PendingPayloads, cut

__all__ = ["PROTOCOL_VERSION", "Session"]

PROTOCOL_VERSION: Final = 1

# Plain integers: these two are in every call, and an enum is looked up by name each time.
_CALL: Final = int(FrameKind.CALL)
_RESULT: Final = int(FrameKind.RESULT)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Invocation(Scope):
    """A call, of either side, whose invocation is not over, and the capabilities that end with it."""

    __slots__ = ("answered", "parent")

    def __init__(self, parent: int) -> None:
        self.exports = self.imports = None
        self.parent = parent
        self.answered = False


class Session(Flow):
    """One end of a channel. After a ProtocolError it must not be used again.

    The I/O side writes what `take_outbox` gives, and after each call of a method looks into `dropped`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._decoder = FrameDecoder()
        self._outbox.append(encode_frame(FrameKind.HELLO, PROTOCOL_VERSION))
        self.greeted = False
        """Whether the peer has said anything yet."""
        self._last_call = 0
        self._last_call_received = 0
        self._outgoing: dict[int, _Invocation] = {}
        self._incoming: dict[int, _Invocation] = {}
        self._pending = PendingPayloads()
        self._logs = LogWindow(self._outbox)

    # What this side does -------------------------------------------------------------------------------------------

    def has_imports(self, call: int) -> bool:
        """Whether something that an answer to a call of this side brought is still live."""
        outgoing = self._outgoing.get(call)
        return outgoing is not None and bool(outgoing.imports)

    def export(self, thing: StubExport | StreamExport) -> int:
        """Give the peer a number for a thing of this side, for the life of the session."""
        return self._capabilities.export(thing)

    def is_open(self, call: int) -> bool:
        """Whether the invocation of a call of this side is not over."""
        return call in self._outgoing

    def call(
        self,
        target: int,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        capabilities: Sequence[Capability] = (),
        parent: int = 0,
    ) -> int:
        """Call an export of the peer. `parent` is the peer's call in whose invocation this one is made, or 0."""
        if len(self._outgoing) >= CALLS_MAX:
            raise WireLimitError(f"more than {CALLS_MAX} calls at once")
        if self._last_call == IDENTIFIER_MAX:
            raise WireLimitError("the session has used up its numbers")
        if len(method) > METHOD_CHARACTERS_MAX or not (method.isascii() or _is_unicode(method)):
            raise WireLimitError(f"a method name must be Unicode and at most {METHOD_CHARACTERS_MAX} characters")
        if capabilities or len(payload) > PAYLOAD_PART_BYTES:
            self._check_room(payload, capabilities)
        self._last_call += 1
        call = self._last_call
        outgoing = self._outgoing[call] = _Invocation(parent)
        listed = self._capabilities.describe(capabilities, outgoing) if capabilities else []
        if len(payload) > PAYLOAD_PART_BYTES:
            payload = self._send_parts(FrameKind.CALL_PART, call, payload)
        self._outbox.append(encode_frame(_CALL, call, pack((target, int(kind), method, parent, listed, payload))))
        return call

    def result(self, call: int, payload: bytes, capabilities: Sequence[Capability] = (), *, open: bool = False) -> None:  # noqa: A002
        """Answer a call. Unless `open`, its invocation is over with this."""
        incoming = self._incoming[call]
        assert not incoming.answered, "a call is answered once"
        if capabilities or len(payload) > PAYLOAD_PART_BYTES:
            self._check_room(payload, capabilities)
        listed: list[Described] = []
        if capabilities:
            scope = incoming if open else self._outgoing.get(incoming.parent)
            listed = self._capabilities.describe(capabilities, scope)
            if scope is None and incoming.parent:
                # The caller's invocation ended while this call ran: nobody is left to use what it gets.
                for capability in capabilities:
                    if not isinstance(capability, Import):
                        self._capabilities.drop_export(capability)
        if len(payload) > PAYLOAD_PART_BYTES:
            payload = self._send_parts(FrameKind.RESULT_PART, call, payload)
        self._outbox.append(encode_frame(_RESULT, call, pack((open, listed, payload))))
        incoming.answered = True
        if not open:
            self._end_incoming(call)

    def error(self, call: int, error: PeerError) -> None:
        """Answer a call with its failure; its invocation is over."""
        assert not self._incoming[call].answered, "a call is answered once"
        self._outbox.append(encode_frame(FrameKind.ERROR, call, encode_error(error)))
        self._end_incoming(call)

    def done(self, call: int) -> None:
        """End the invocation of a call that was answered `open`."""
        assert self._incoming[call].answered, "DONE comes after an open RESULT"
        self._outbox.append(encode_frame(FrameKind.DONE, call))
        self._end_incoming(call)

    def cancel(self, call: int) -> None:
        if call in self._outgoing:
            self._outbox.append(encode_frame(FrameKind.CANCEL, call))

    def log(self, call: int, level: str, message: str) -> None:
        """Lost when the peer has not granted room for it: then the peer learns how many were."""
        self._logs.say(call, level, message)

    def grant_log(self, size: int) -> None:
        """Let the peer log `size` bytes more: no more than what its messages have taken."""
        self._logs.grant(size)

    def take_outbox(self) -> bytes:
        self._logs.finish()
        return super().take_outbox()

    def close(self) -> tuple[list[StubExport | StreamExport], list[Import]]:
        """The channel is gone. All that was live on it, which is now dead."""
        return self._capabilities.close()

    def _check_room(self, payload: bytes, capabilities: Sequence[Capability]) -> None:
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise WireLimitError(f"a message of more than {PAYLOAD_BYTES_MAX} bytes")
        if capabilities:
            self._capabilities.check_room(len(capabilities))

    def _send_parts(self, kind: FrameKind, call: int, payload: bytes) -> bytes:
        """Send what does not fit into the frame of a call or a result; the rest of the payload."""
        parts, rest = cut(payload)
        self._outbox.extend(encode_frame(kind, call, part) for part in parts)
        return rest

    def _end_incoming(self, call: int) -> None:
        incoming = self._incoming.pop(call)
        if incoming.exports or incoming.imports:
            self._capabilities.end(incoming)

    # What the peer does --------------------------------------------------------------------------------------------

    def feed_untrusted(self, data: bytes) -> list[Event]:
        """Events for everything that `data` completes. Raises ProtocolError and nothing else."""
        events: list[Event] = []
        for kind, identifier, body in self._decoder.feed_untrusted(data):
            if not self.greeted:
                if kind != FrameKind.HELLO or identifier != PROTOCOL_VERSION or body:
                    raise ProtocolError("the peer does not speak this version of the protocol")
                self.greeted = True
                continue
            try:
                receive = _RECEIVERS[kind]
            except KeyError:
                raise ProtocolError(f"a frame of unknown kind {kind}") from None
            receive(self, identifier, body, events)
        return events

    def _receive_call(self, call: int, body: bytes, events: list[Event]) -> None:
        message = read_untrusted(decode_call, body)
        if call <= self._last_call_received:
            raise ProtocolError("a call number that was used before")
        if len(self._incoming) >= CALLS_MAX:
            raise ProtocolError("too many calls at once")
        payload = message.payload
        if self._pending.calls:
            payload = self._pending.join_untrusted(self._pending.calls, call, payload)
        self._last_call_received = call
        if not 0 <= message.parent <= self._last_call:
            raise ProtocolError("a parent that was never called")
        target = self._capabilities.find_export_untrusted(message.target) if message.target else None
        if isinstance(target, StreamExport):
            raise ProtocolError("a call to a stream")
        incoming = self._incoming[call] = _Invocation(message.parent)
        listed = message.capabilities
        capabilities = self._capabilities.receive_untrusted(listed, incoming) if listed else []
        events.append(CallReceived(call, target, message.kind, message.method, message.parent, payload, capabilities))

    def _receive_result(self, call: int, body: bytes, events: list[Event]) -> None:
        message = read_untrusted(decode_result, body)
        outgoing = self._answer(call)
        payload = message.payload
        if self._pending.results:
            payload = self._pending.join_untrusted(self._pending.results, call, payload)
        capabilities: list[Capability] = []
        if message.capabilities:
            scope = outgoing if message.open else self._incoming.get(outgoing.parent)
            capabilities = self._capabilities.receive_untrusted(message.capabilities, scope)
            if scope is None and outgoing.parent:
                for capability in capabilities:
                    if isinstance(capability, Import):
                        self._capabilities.drop_import(capability)
        events.append(CallReturned(call, payload, capabilities, message.open))
        if not message.open:
            self._end_outgoing(call)

    def _receive_error(self, call: int, body: bytes, events: list[Event]) -> None:
        message = read_untrusted(decode_error, body)
        self._answer(call)
        self._pending.join_untrusted(self._pending.results, call, b"")
        events.append(CallFailed(call, PeerError(message.name, message.message, message.code)))
        self._end_outgoing(call)

    def _receive_done(self, call: int, body: bytes, events: list[Event]) -> None:
        outgoing = self._outgoing.get(call)
        if outgoing is None or not outgoing.answered or body:
            raise ProtocolError("the end of an invocation that is not open")
        events.append(CallClosed(call))
        self._end_outgoing(call)

    def _receive_cancel(self, call: int, body: bytes, events: list[Event]) -> None:
        if not 0 < call <= self._last_call_received or body:
            raise ProtocolError("a cancellation of a call that was never made")
        if call in self._incoming:
            events.append(CallCanceled(call))

    def _receive_log(self, call: int, body: bytes, events: list[Event]) -> None:
        events.append(self._logs.receive_untrusted(call, body))

    def _receive_log_credit(self, identifier: int, body: bytes, events: list[Event]) -> None:
        self._logs.receive_credit_untrusted(identifier, body)

    def _receive_log_lost(self, call: int, body: bytes, events: list[Event]) -> None:
        events.append(self._logs.receive_lost_untrusted(call, body))

    def _receive_call_part(self, call: int, body: bytes, events: list[Event]) -> None:
        if call <= self._last_call_received:
            raise ProtocolError("a part of a call out of order")
        self._pending.keep_untrusted(self._pending.calls, call, body)

    def _receive_result_part(self, call: int, body: bytes, events: list[Event]) -> None:
        outgoing = self._outgoing.get(call)
        if outgoing is None or outgoing.answered:
            raise ProtocolError("a part of a result that nobody waits for")
        self._pending.keep_untrusted(self._pending.results, call, body)

    def _receive_hello(self, identifier: int, body: bytes, events: list[Event]) -> None:
        raise ProtocolError("a second greeting")

    def _answer(self, call: int) -> _Invocation:
        outgoing = self._outgoing.get(call)
        if outgoing is None or outgoing.answered:
            raise ProtocolError("an answer to a call that nobody waits for")
        outgoing.answered = True
        return outgoing

    def _end_outgoing(self, call: int) -> None:
        outgoing = self._outgoing.pop(call)
        if outgoing.exports or outgoing.imports:
            self._capabilities.end(outgoing)


_RECEIVERS: Final[dict[int, Callable[[Session, int, bytes, list[Event]], None]]] = {
    FrameKind.HELLO: Session._receive_hello,
    FrameKind.CALL: Session._receive_call,
    FrameKind.RESULT: Session._receive_result,
    FrameKind.ERROR: Session._receive_error,
    FrameKind.CANCEL: Session._receive_cancel,
    FrameKind.DONE: Session._receive_done,
    FrameKind.RELEASE: Session._receive_release,
    FrameKind.DATA: Session._receive_data,
    FrameKind.END: Session._receive_end,
    FrameKind.ABORT: Session._receive_abort,
    FrameKind.CREDIT: Session._receive_credit,
    FrameKind.LOG: Session._receive_log,
    FrameKind.CALL_PART: Session._receive_call_part,
    FrameKind.RESULT_PART: Session._receive_result_part,
    FrameKind.LOG_CREDIT: Session._receive_log_credit,
    FrameKind.LOG_LOST: Session._receive_log_lost,
}
