"""One end of a channel that is fuzzed: a session, what its owner knows of it, and what must always be true of it."""

from __future__ import annotations

from tenantry.wire.events import (
    CallCanceled,
    CallClosed,
    CallFailed,
    CallReceived,
    CallReturned,
    Capability,
    Event,
    Import,
    LogLost,
    LogReceived,
    StreamAborted,
    StreamCredited,
    StreamData,
    StreamEnded,
    StreamExport,
    StubExport,
)
from tenantry.wire.frames import FrameDecoder
from tenantry.wire.limits import (
    CALLS_MAX,
    CREDIT_BYTES_MAX,
    EXPORTS_MAX,
    FRAME_BYTES_MAX,
    PENDING_PAYLOAD_BYTES_MAX,
)
from tenantry.wire.session import Session

__all__ = ["Side", "close"]


class Side:
    """One end, and what its owner knows: enough never to ask for what an owner may not."""

    def __init__(self, pieces: int) -> None:
        self.session = Session()
        self.session.export(StubExport("root"))
        self.wire = bytearray()
        self.waiting: list[int] = []
        """Calls of the peer that are not answered."""
        self.open: list[int] = []
        self.made: list[int] = []
        self.answers: dict[int, str] = {}
        """How each call of this side was answered: "open", or "over"."""
        self.held: list[Import] = []
        self.sent: list[StreamExport] = []
        self.log_owed = 0
        self.seen: list[tuple[object, ...]] = []
        """Everything that came, in a form that can be compared."""
        self._pieces = pieces
        self._frames = FrameDecoder()

    def flush(self) -> None:
        if self.session.has_output:
            written = self.session.take_outbox()
            # What a session writes are whole frames within bounds, whatever it was fed before.
            self._frames.feed_untrusted(written)
            assert not self._frames._rest
            self.wire += written

    def feed(self, data: bytes) -> None:
        size = -(-len(data) // self._pieces) or 1
        for at in range(0, len(data), size):
            for event in self.session.feed_untrusted(data[at : at + size]):
                self._receive(event)
        check_tables(self.session)

    def _receive(self, event: Event) -> None:
        match event:
            case CallReceived():
                assert event.call not in self.waiting
                assert event.target is None or event.target.target is not None
                self.waiting.append(event.call)
                self._take(event.capabilities)
                self.seen.append(("call", event.call, event.kind, event.method, event.parent, event.payload))
            case CallReturned():
                assert event.call not in self.answers
                self.answers[event.call] = "open" if event.open else "over"
                self._take(event.capabilities)
                self.seen.append(("result", event.call, event.payload, event.open))
            case CallFailed():
                assert event.call not in self.answers
                self.answers[event.call] = "over"
                self.seen.append(("error", event.call, event.error.name, event.error.message, event.error.code))
            case CallClosed():
                assert self.answers[event.call] == "open"
                self.answers[event.call] = "over"
                self.seen.append(("closed", event.call))
            case CallCanceled():
                assert event.call in self.waiting or event.call in self.open
                self.seen.append(("canceled", event.call))
            case StreamCredited():
                assert 0 <= event.export.credit <= CREDIT_BYTES_MAX  # 0: a later frame of the same read took it back
                self.seen.append(("credit", event.export.identifier))
            case StreamData():
                assert event.data
                assert event.stream.credit >= 0
                self.seen.append(("data", event.stream.identifier, event.data))
            case StreamEnded():
                assert not event.stream.live
                self.seen.append(("end", event.stream.identifier))
            case StreamAborted():
                assert not event.stream.live
                self.seen.append(("abort", event.stream.identifier, event.reason))
            case LogReceived():
                self.log_owed += event.size
                self.seen.append(("log", event.call, event.level, tuple(event.messages)))
            case LogLost():
                assert event.count > 0
                self.seen.append(("logs lost", event.call, event.count))

    def _take(self, capabilities: list[Capability]) -> None:
        for capability in capabilities:
            if isinstance(capability, Import):
                self.held.append(capability)
        self.seen.append(tuple((type(item).__name__, item.identifier) for item in capabilities))

    def settle(self) -> None:
        """What an owner does after each step."""
        for thing in self.session.dropped:
            if isinstance(thing, Import):
                assert not thing.live
            assert thing.scope is None
            self.seen.append(("dropped", type(thing).__name__, thing.identifier))
        self.session.dropped.clear()
        self.made = [call for call in self.made if self.session.is_open(call)]
        check_tables(self.session)


def check_tables(session: Session) -> None:
    capabilities = session._capabilities
    assert len(session._incoming) <= CALLS_MAX
    assert len(session._outgoing) <= CALLS_MAX
    assert len(capabilities.imports) <= EXPORTS_MAX
    assert len(capabilities.exports) <= EXPORTS_MAX
    pending = session._pending
    kept = sum(len(part) for parts in (pending.calls, pending.results) for held in parts.values() for part in held)
    assert kept == pending.held_bytes <= PENDING_PAYLOAD_BYTES_MAX
    assert len(session._decoder._rest) <= FRAME_BYTES_MAX + 4
    assert all(call in session._outgoing for call in pending.results)
    scopes = [*session._incoming.values(), *session._outgoing.values()]
    for scope in scopes:
        for number, export in (scope.exports or {}).items():
            assert export.scope is scope
            assert capabilities.exports[number] is export
        for number, imported in (scope.imports or {}).items():
            assert imported.scope is scope
            assert capabilities.imports[number] is imported
    for export in capabilities.exports.values():
        assert export.scope is None or export.scope in scopes
        assert isinstance(export, StubExport) or 0 <= export.credit <= CREDIT_BYTES_MAX
    for imported in capabilities.imports.values():
        assert imported.live
        assert imported.scope is None or imported.scope in scopes
        assert 0 <= imported.credit <= CREDIT_BYTES_MAX


def close(side: Side) -> None:
    exports, imports = side.session.close()
    assert not any(imported.live for imported in imports)
    assert not side.session._capabilities.exports
    assert not side.session._capabilities.imports
    assert all(thing.scope is None for thing in [*exports, *imports])
