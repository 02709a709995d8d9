"""Two sessions, joined by pipes that deliver whenever and in whatever pieces they like, beside a model of them.

Every message names its capabilities in its payload, which sessions do not read, so that the receiver of a message knows
what each of them should be. The peers are honest, so no ProtocolError may ever come out of `feed_untrusted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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
from tenantry.wire.limits import DATA_BYTES_MAX, PAYLOAD_PART_BYTES
from tenantry.wire.session import Session

sides = st.integers(0, 1)
picks = st.integers(0, 2**16)
paddings = st.sampled_from([0, 0, 0, 0, 1, PAYLOAD_PART_BYTES, 2 * PAYLOAD_PART_BYTES + 1])
kinds_of_capability = st.lists(st.sampled_from(["stub", "stream", "stream", "held", "held", "again"]), max_size=5)

T = TypeVar("T")

ROOT = 1
WAITS, OPEN, OVER = "waits", "open", "over"


@dataclass(eq=False)
class Sent:
    """Something that was exported: what its exporter did with it, and how it ended, which happens once."""

    export: StubExport | StreamExport
    written: bytearray = field(default_factory=bytearray)
    over: str = ""

    def end(self, how: str) -> None:
        assert not self.over, f"{self.over} before {how}"
        self.over = how


@dataclass(eq=False)
class Held:
    """Something that was imported. `over` as of Sent; an import ends by its own side's doing or by an event or drop."""

    imported: Import
    sent: Sent
    read: bytearray = field(default_factory=bytearray)
    granted: int = 0
    over: str = ""

    end = Sent.end


@dataclass
class Call:
    payload: bytes
    state: str = WAITS
    answers: int = 0
    cancellations: int = 0
    answer: bytes | str = b""


class Side:
    def __init__(self) -> None:
        self.session = Session()
        self.root = StubExport("root")
        self.session.export(self.root)
        self.wire = bytearray()  # written by this side, and not delivered yet
        self.made: dict[int, Call] = {}
        self.taken: dict[int, Call] = {}  # calls of the peer, by the peer's number
        self.sent: dict[int, Sent] = {}  # by tag
        self.held: dict[int, Held] = {}  # by tag
        self.logged: list[tuple[int, str, str]] = []
        self.log_owed = 0

    def flush(self) -> None:
        self.wire += self.session.take_outbox()
        assert not self.session.has_output

    def sent_streams(self) -> list[Sent]:
        return [sent for sent in self.sent.values() if isinstance(sent.export, StreamExport)]

    def held_streams(self, *, live: bool) -> list[Held]:
        held_streams = (held for held in self.held.values() if held.imported.kind == "stream")
        return [held for held in held_streams if held.imported.live == live]

    def taken_in(self, *states: str) -> list[int]:
        return [number for number, call in self.taken.items() if call.state in states]


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sides = (Side(), Side())
        self.tags = 0

    # Sending ---------------------------------------------------------------------------------------------------------

    def compose(self, side: Side, kinds: list[str], pick: int, padding: int) -> tuple[bytes, list[Capability]]:
        """The payload and the capabilities of a message: fresh ones, ones to hand back, and ones twice in the list."""
        tags: list[int] = []
        capabilities: list[Capability] = []
        for index, kind in enumerate(kinds):
            candidates = list(side.held)
            if kind == "again" and tags:
                at = (pick + index) % len(tags)
                tags.append(tags[at])
                capabilities.append(capabilities[at])
            elif kind == "held" and candidates:
                tag = candidates[(pick + index) % len(candidates)]
                tags.append(tag)
                capabilities.append(side.held[tag].imported)
            else:
                self.tags += 1
                export = (
                    StreamExport(self.tags, None if pick % 3 else pick) if kind == "stream" else StubExport(self.tags)
                )
                side.sent[self.tags] = Sent(export)
                tags.append(self.tags)
                capabilities.append(export)
        return msgspec.msgpack.encode((tags, self.tags, bytes(padding))), capabilities

    def passed_on(self, side: Side, capabilities: list[Capability]) -> None:
        """Streams of the peer that were in a message are the peer's again."""
        streams = {
            capability for capability in capabilities if isinstance(capability, Import) and capability.kind == "stream"
        }
        for held in side.held.values():
            if held.imported in streams and not held.over:
                assert not held.imported.live
                held.end("passed on")

    @rule(at=sides, pick=picks, kinds=kinds_of_capability, padding=paddings, kind=st.sampled_from(InvocationKind))
    def call(self, at: int, pick: int, kinds: list[str], padding: int, kind: InvocationKind) -> None:
        side = self.sides[at]
        stubs = [held.imported.identifier for held in side.held.values() if held.imported.kind == "stub"]
        target = [ROOT, *stubs][pick % (len(stubs) + 1)]
        parent = [0, *side.taken][pick % (len(side.taken) + 1)]  # one that is over is a task that outlived it
        payload, capabilities = self.compose(side, kinds, pick, padding)
        number = side.session.call(target, kind, f"method {target}", payload, capabilities, parent)
        side.made[number] = Call(payload)
        self.passed_on(side, capabilities)
        assert side.session.is_open(number)

    def one(self, found: Callable[[Side], Iterable[T]], pick: int) -> tuple[Side, T] | None:
        """One of what `found` finds on both sides."""
        all_of_them = [(side, thing) for side in self.sides for thing in found(side)]
        return all_of_them[pick % len(all_of_them)] if all_of_them else None

    @rule(pick=picks, kinds=kinds_of_capability, padding=paddings, is_open=st.booleans())
    def result(self, pick: int, kinds: list[str], padding: int, is_open: bool) -> None:
        if one := self.one(lambda side: side.taken_in(WAITS), pick):
            side, number = one
            payload, capabilities = self.compose(side, kinds, pick, padding)
            side.session.result(number, payload, capabilities, open=is_open)
            self.passed_on(side, capabilities)
            side.taken[number].answer = payload
            side.taken[number].state = OPEN if is_open else OVER

    @rule(pick=picks, message=st.text(max_size=5))
    def error(self, pick: int, message: str) -> None:
        if one := self.one(lambda side: side.taken_in(WAITS), pick):
            side, number = one
            side.session.error(number, PeerError("TypeError", message, 7))
            side.taken[number].answer = f"TypeError: {message.encode('utf-8', 'replace').decode()}"
            side.taken[number].state = OVER

    @rule(pick=picks)
    def done(self, pick: int) -> None:
        if one := self.one(lambda side: side.taken_in(OPEN), pick):
            side, number = one
            side.session.done(number)
            side.taken[number].state = OVER

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        if one := self.one(lambda side: side.made, pick):
            side, number = one
            side.session.cancel(number)

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        if one := self.one(lambda side: side.held.values(), pick):
            side, held = one
            side.session.release(held.imported)
            assert not held.imported.live
            if not held.over:
                held.end("released")

    @rule(at=sides, message=st.text(max_size=5))
    def log(self, at: int, message: str) -> None:
        """Now and then more than there is room for."""
        text, count = message.encode("utf-8", "replace").decode(), 1
        if text.startswith("0"):
            text, count = text.ljust(60_000), 20
        for _ in range(count):
            self.sides[at].session.log(0, "info", text)
            self.sides[at].logged.append((0, "info", text))

    @rule(at=sides)
    def grant_log(self, at: int) -> None:
        side = self.sides[at]
        if side.log_owed:
            side.session.grant_log(side.log_owed)
            side.log_owed = 0

    # Streams ---------------------------------------------------------------------------------------------------------

    @rule(pick=picks, size=st.sampled_from([1, 10, 1000, DATA_BYTES_MAX + 1]))
    def credit(self, pick: int, size: int) -> None:
        if one := self.one(lambda side: side.held_streams(live=True) or side.held_streams(live=False), pick):
            side, held = one
            held.granted += size if held.imported.live else 0
            side.session.credit(held.imported, size)

    @rule(pick=picks, parts=st.sampled_from([1, 2, 1000]))
    def data(self, pick: int, parts: int) -> None:
        """All of the credit, or a part of it."""
        if one := self.one(lambda side: [sent for sent in side.sent_streams() if sent.export.credit], pick):
            side, sent = one
            data = bytes([pick % 256]) * -(-sent.export.credit // parts)
            side.session.data(sent.export, data)
            sent.written += data

    @rule(pick=picks, size=st.integers(0, 3))
    def data_too_late(self, pick: int, size: int) -> None:
        """What sends the bytes of a stream learns a moment later than the session that nobody reads it."""
        if one := self.one(lambda side: [sent for sent in side.sent_streams() if sent.over], pick):
            side, sent = one
            side.session.data(sent.export, bytes(size))

    @rule(pick=picks, aborts=st.booleans())
    def end(self, pick: int, aborts: bool) -> None:
        if one := self.one(lambda side: side.sent_streams(), pick):
            side, sent = one
            if aborts:
                side.session.abort(sent.export, "it broke off")
            else:
                side.session.end(sent.export)
            assert sent.export.ended
            if not sent.over:
                sent.end("aborted" if aborts else "ended")

    # Receiving -------------------------------------------------------------------------------------------------------

    @rule()
    def deliver_everything(self) -> None:
        for to in (0, 1):
            self.deliver(to, 2**26)

    @rule(to=sides)
    def deliver_one_way(self, to: int) -> None:
        self.deliver(to, 2**26)

    @rule(to=sides, size=st.sampled_from([1, 4, 9, 60, 4096, 600_000]))
    def deliver(self, to: int, size: int) -> None:
        receiver, sender = self.sides[to], self.sides[1 - to]
        sender.flush()
        data = bytes(sender.wire[:size])
        del sender.wire[:size]
        events = receiver.session.feed_untrusted(data)
        for event in events:
            self.receive(receiver, sender, event)
        self.take_dropped(receiver)
        self.check_gone(receiver, sender, events)
        for number, call in receiver.made.items():
            assert receiver.session.is_open(number) == (call.state != OVER)

    def receive(self, side: Side, peer: Side, event: Event) -> None:
        match event:
            case CallReceived():
                made = peer.made[event.call]
                assert event.call not in side.taken
                assert event.payload == made.payload
                assert event.method.startswith("method ")
                side.taken[event.call] = Call(event.payload)
                self.receive_capabilities(side, peer, event)
            case CallReturned():
                made = self.answer(side, event.call)
                assert event.payload == peer.taken[event.call].answer
                made.state = OPEN if event.open else OVER
                self.receive_capabilities(side, peer, event)
            case CallFailed():
                self.answer(side, event.call).state = OVER
                assert str(event.error) == peer.taken[event.call].answer
                assert event.error.code == 7
            case CallClosed():
                assert side.made[event.call].state == OPEN
                side.made[event.call].state = OVER
            case CallCanceled():
                assert side.taken[event.call].state != OVER
            case StreamCredited():
                assert not self.tag_of(side, event.export).over
            case StreamData():
                held = self.held_of(side, event.stream)
                assert not held.over
                held.read += event.data
                assert event.data
                assert len(held.read) <= held.granted
                assert held.sent.written.startswith(held.read)
            case StreamEnded():
                held = self.held_of(side, event.stream)
                held.end("ended")
                assert held.sent.over == "ended"
                assert held.read == held.sent.written
            case StreamAborted():
                held = self.held_of(side, event.stream)
                held.end("aborted")
                assert (held.sent.over, event.reason) == ("aborted", "it broke off")
            case LogReceived():
                for message in event.messages:
                    assert (event.call, event.level, message) == peer.logged.pop(0)
                side.log_owed += event.size
            case LogLost():
                del peer.logged[: event.count]

    def answer(self, side: Side, number: int) -> Call:
        made = side.made[number]
        made.answers += 1
        assert (made.answers, made.state) == (1, WAITS)
        return made

    def tag_of(self, side: Side, export: StreamExport) -> Sent:
        return side.sent[export.source]

    def held_of(self, side: Side, imported: Import) -> Held:
        return next(held for held in side.held.values() if held.imported is imported)

    def receive_capabilities(self, side: Side, peer: Side, event: CallReceived | CallReturned) -> None:
        tags = msgspec.msgpack.decode(event.payload)[0]
        assert len(tags) == len(event.capabilities)
        for tag, capability in zip(tags, event.capabilities, strict=True):
            if tag in side.sent:  # it comes home
                sent = side.sent[tag]
                if isinstance(capability, StubExport) and capability.target is None:
                    continue  # gone; check_gone sees to it that it really is
                assert capability is sent.export
                if isinstance(capability, StreamExport):
                    assert capability.credit == 0
                    if not sent.over:
                        sent.end("came home")
                    assert sent.over == "came home"
            elif tag in side.held:
                assert tags.count(tag) > 1
                assert side.held[tag].imported is capability
            else:
                sent = peer.sent[tag]
                assert isinstance(capability, Import)
                assert capability.kind == ("stream" if isinstance(sent.export, StreamExport) else "stub")
                assert capability.length == getattr(sent.export, "length", None)
                side.held[tag] = Held(capability, sent)

    def check_gone(self, side: Side, peer: Side, events: list[Event]) -> None:
        """What arrived as gone had ended, on one side or the other."""
        for event in events:
            if isinstance(event, CallReceived | CallReturned):
                tags = msgspec.msgpack.decode(event.payload)[0]
                for tag, capability in zip(tags, event.capabilities, strict=True):
                    if isinstance(capability, StubExport) and capability.target is None:
                        assert side.sent[tag].over or peer.held[tag].over
            if isinstance(event, CallReceived):
                identifier = int(event.method.removeprefix("method "))
                named = next((sent for sent in side.sent.values() if sent.export.identifier == identifier), None)
                if named is None:
                    assert event.target is side.root
                elif event.target is None:
                    assert named.over
                else:
                    assert event.target is named.export

    def take_dropped(self, side: Side) -> None:
        for thing in side.session.dropped:
            if isinstance(thing, Import):
                assert not thing.live
                self.held_of(side, thing).end("dropped")
            else:
                tag = thing.source if isinstance(thing, StreamExport) else thing.target
                side.sent[tag].end("dropped")
        side.session.dropped.clear()

    # What always holds -----------------------------------------------------------------------------------------------

    @invariant()
    def what_ended_on_this_side_is_listed_at_once(self) -> None:
        for side in self.sides:
            self.take_dropped(side)
            live = {sent.export.identifier for sent in side.sent.values() if not sent.over}
            assert set(side.session._capabilities.exports) == live | {ROOT}
            assert set(side.session._capabilities.imports) == {
                held.imported.identifier for held in side.held.values() if held.imported.live
            }
            assert all(held.imported.live == (not held.over) for held in side.held.values())
            for held in side.held_streams(live=True):
                assert held.imported.credit == held.granted - len(held.read)

    @invariant()
    def both_sides_agree_once_all_is_delivered(self) -> None:
        for side, peer in (self.sides, self.sides[::-1]):
            if side.wire or peer.wire or side.session.has_output or peer.session.has_output:
                return
            assert set(side.session._capabilities.exports) - {ROOT} == set(peer.session._capabilities.imports)
            assert set(side.session._outgoing) == set(peer.session._incoming)
            for number, outgoing in side.session._outgoing.items():
                incoming = peer.session._incoming[number]
                assert outgoing.answered == incoming.answered
                assert set(outgoing.exports or ()) == set(incoming.imports or ())
                assert set(outgoing.imports or ()) == set(incoming.exports or ())
                assert side.session.has_imports(number) == bool(incoming.exports)
            assert not side.session._pending.held_bytes
            for sent in side.sent_streams():
                for held in (held for held in peer.held.values() if held.sent is sent and not held.over):
                    assert sent.export.credit == held.imported.credit
                    assert held.read == sent.written

    def drain(self) -> None:
        while any(side.wire or side.session.has_output for side in self.sides):
            for to in (0, 1):
                self.deliver(to, 2**26)

    def teardown(self) -> None:
        self.drain()
        self.both_sides_agree_once_all_is_delivered()
        for side in self.sides:
            for number in side.taken_in(WAITS):
                side.session.result(number, msgspec.msgpack.encode(((), 0, b"")))
                side.taken[number].answer = msgspec.msgpack.encode(((), 0, b""))
                side.taken[number].state = OVER
            for number in side.taken_in(OPEN):
                side.session.done(number)
                side.taken[number].state = OVER
        self.drain()
        for side in self.sides:
            assert all(call.answers == 1 and call.state == OVER for call in side.made.values())
            for imported in list(side.session._capabilities.imports.values()):
                # Only what came with the result of a call without a parent is left, for the life of the session.
                assert imported.scope is None
                side.session.release(imported)
                self.held_of(side, imported).end("released")
        self.drain()
        for side in self.sides:
            session = side.session
            assert session._capabilities.exports == {ROOT: side.root}
            for table in (session._capabilities.imports, session._outgoing, session._incoming, session._pending.calls):
                assert not table
            assert not session._pending.results
            assert not session._pending.held_bytes
            assert all(sent.over for sent in side.sent.values())
            assert all(held.over for held in side.held.values())


Sessions.TestCase.settings = settings(max_examples=80, stateful_step_count=100, deadline=None)
TestSessions: Any = Sessions.TestCase
