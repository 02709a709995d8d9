"""Fuzzing: whatever comes in, `feed_untrusted` gives events or a ProtocolError, and what a session keeps stays bounded.

The corpus is what an honest peer would have sent, in a session that has something of everything; mutations of it get
past the first checks, which arbitrary bytes do not. The seeds are replayed on every run, Hypothesis looks further.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import ProtocolError
from tenantry.wire.events import CallReceived, Import, InvocationKind, PeerError, StreamExport, StubExport
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import (
    CALLS_MAX,
    CREDIT_BYTES_MAX,
    EXPORTS_MAX,
    FRAME_BYTES_MAX,
    PAYLOAD_PART_BYTES,
    PENDING_PAYLOAD_BYTES_MAX,
)
from tenantry.wire.session import PROTOCOL_VERSION, Session

RPC = InvocationKind.RPC
pack = msgspec.msgpack.encode
SEEDS = 2000


def busy_session() -> Session:
    """One end in the middle of its work; what it does next does not matter, only what it is fed."""
    session = Session()
    session.export(StubExport("root"))
    for _ in range(4):
        session.call(1, RPC, "method", b"arguments", [StubExport("stub"), StreamExport("stream", 100)])
    return session


def transcript() -> list[bytes]:
    """The frames of an honest peer of `busy_session`, from its greeting on."""
    peer = Session()
    peer.export(StubExport("root"))
    calls = peer.feed_untrusted(busy_session().take_outbox())
    chunks = [peer.take_outbox()]

    def note() -> None:
        chunks.append(peer.take_outbox())

    stub, stream = StubExport("stub"), StreamExport("stream", None)
    peer.call(1, RPC, "method", b"arguments" * 20, [stub, stream, stub], parent=1)
    note()
    peer.call(1, InvocationKind.FETCH, "fetch", bytes(PAYLOAD_PART_BYTES + 1))
    note()
    peer.cancel(1)
    note()
    for call in calls:
        assert isinstance(call, CallReceived)
        held_stub, held_stream = call.capabilities
        assert isinstance(held_stub, Import)
        assert isinstance(held_stream, Import)
        peer.credit(held_stream, 1000)
        note()
        peer.call(held_stub.identifier, RPC, "callback", b"x", [held_stub], parent=call.call)
        note()
        if call.call == 1:
            peer.result(call.call, b"result", [StreamExport("body", 5), held_stream], open=True)
        elif call.call == 2:
            peer.release(held_stub)
            note()
            peer.error(call.call, PeerError("Error", "message", 1))
        elif call.call == 3:
            peer.result(call.call, b"result", [StubExport("for the session")])
        note()
    peer.log(0, "info", "a line")
    note()
    peer.done(1)
    note()
    peer.abort(stream, "why")
    note()
    return chunks


TRANSCRIPT = transcript()
WHOLE = b"".join(TRANSCRIPT)


def assert_bounded(session: Session) -> None:
    assert len(session._incoming) <= CALLS_MAX
    assert len(session._capabilities.imports) <= EXPORTS_MAX
    kept = [part for parts in (session._pending.calls, session._pending.results) for part in parts.values()]
    assert sum(len(part) for parts in kept for part in parts) == session._pending.held_bytes
    assert session._pending.held_bytes <= PENDING_PAYLOAD_BYTES_MAX
    assert len(session._decoder._rest) <= FRAME_BYTES_MAX + 4
    assert len(session._outgoing) <= 4
    assert len(session._capabilities.exports) <= 1 + 2 * 4
    scopes = [*session._incoming.values(), *session._outgoing.values()]
    assert sum(len(scope.imports or ()) for scope in scopes) <= len(session._capabilities.imports)
    assert sum(len(scope.exports or ()) for scope in scopes) <= len(session._capabilities.exports)
    for export in session._capabilities.exports.values():
        assert isinstance(export, StubExport) or 0 <= export.credit <= CREDIT_BYTES_MAX
    assert all(imported.live for imported in session._capabilities.imports.values())


def feed(session: Session, data: bytes, pieces: int = 1) -> bool:
    """Whether all of the data was taken."""
    size = -(-len(data) // pieces) or 1
    try:
        for at in range(0, len(data), size):
            session.feed_untrusted(data[at : at + size])
            assert_bounded(session)
    except ProtocolError:
        return False
    return True


def test_the_transcript_that_is_mutated_is_honest() -> None:
    for pieces in (1, 7, 1000):
        assert feed(busy_session(), WHOLE, pieces)


def test_every_beginning_of_the_transcript_is_honest() -> None:
    for end in range(len(TRANSCRIPT)):
        assert feed(busy_session(), b"".join(TRANSCRIPT[:end]))


Mutation = Callable[[random.Random, bytearray], None]


def flip(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def put(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.choice((0, 1, 0x7F, 0x80, 0x90, 0xC0, 0xC1, 0xCF, 0xDD, 0xDF, 0xFF))


def cut(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.randrange(1, 20)]


def insert(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.randrange(1, 20))


def double(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = data[at : at + chance.randrange(1, 40)]


MUTATIONS: tuple[Mutation, ...] = (flip, flip, put, put, cut, insert, double)


@pytest.mark.parametrize("block", range(4))
def test_mutated_transcripts_give_events_or_a_protocol_error(block: int) -> None:
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        chance = random.Random(seed)
        chunks = [bytearray(chunk) for chunk in TRANSCRIPT]
        for _ in range(chance.randrange(1, 4)):
            what = chance.randrange(5)
            at = chance.randrange(1, len(chunks))
            if what == 0:  # frames out of order, left out, or sent again
                chunks.insert(chance.randrange(1, len(chunks)), chunks.pop(at))
            elif what == 1:
                del chunks[at]
            elif what == 2:
                chunks.insert(at, bytearray(chunks[chance.randrange(1, len(chunks))]))
            elif chunks[at]:
                chance.choice(MUTATIONS)(chance, chunks[at])
        feed(busy_session(), b"".join(chunks), chance.choice((1, 3)))


@given(
    st.lists(
        st.tuples(st.sampled_from([*FrameKind, 0, 15, 255]), st.integers(0, 12), st.binary(max_size=24)), max_size=30
    )
)
def test_frames_of_arbitrary_bodies_give_events_or_a_protocol_error(frames: list[tuple[int, int, bytes]]) -> None:
    session = busy_session()
    greeting = encode_frame(FrameKind.HELLO, PROTOCOL_VERSION)
    feed(session, greeting + b"".join(encode_frame(*frame) for frame in frames))


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_give_events_or_a_protocol_error(data: bytes, greets: bool) -> None:
    feed(busy_session(), encode_frame(FrameKind.HELLO, PROTOCOL_VERSION) + data if greets else data)


numbers = st.integers(-1, 12)
bodies = st.one_of(
    st.tuples(
        numbers,
        st.integers(0, 6),
        st.text(max_size=3),
        numbers,
        st.lists(st.tuples(st.integers(0, 3), numbers, st.none() | st.integers(0, 3)), max_size=4),
        st.binary(max_size=3),
    ).map(lambda body: (FrameKind.CALL, body)),
    st.tuples(
        st.booleans(),
        st.lists(st.tuples(st.integers(0, 2), numbers, st.none()), max_size=4),
        st.binary(max_size=3),
    ).map(lambda body: (FrameKind.RESULT, body)),
    st.just((FrameKind.ERROR, ("Error", "message", 0))),
    st.integers(0, 100).map(lambda size: (FrameKind.CREDIT, size)),
    st.just((FrameKind.ABORT, "why")),
    st.sampled_from([FrameKind.CANCEL, FrameKind.DONE, FrameKind.RELEASE, FrameKind.END]).map(
        lambda kind: (kind, None)
    ),
)


@given(st.lists(st.tuples(bodies, st.integers(0, 12)), max_size=30))
def test_well_formed_frames_in_any_order_give_events_or_a_protocol_error(
    frames: list[tuple[tuple[int, object], int]],
) -> None:
    session = busy_session()
    assert feed(session, encode_frame(FrameKind.HELLO, PROTOCOL_VERSION))
    for (kind, body), number in frames:
        if not feed(session, encode_frame(kind, number, b"" if body is None else pack(body))):
            return
