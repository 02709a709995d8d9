"""A session, rule by rule: the races that its docstring promises to survive, its bounds, and every way to break it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tenantry.errors import ProtocolError
from tenantry.wire.events import (
    CallCanceled,
    CallFailed,
    CallReceived,
    CallReturned,
    Import,
    InvocationKind,
    LogLost,
    LogReceived,
    PeerError,
    StreamCredited,
    StreamData,
    StreamEnded,
    StreamExport,
    StubExport,
    WireLimitError,
)
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import (
    CALLS_MAX,
    CAPABILITIES_MAX,
    CREDIT_BYTES_MAX,
    DATA_BYTES_MAX,
    ERROR_TEXT_CHARACTERS_MAX,
    EXPORTS_MAX,
    LOG_MESSAGE_BYTES,
    LOG_MESSAGES_MAX,
    LOG_RESERVE_BYTES,
    LOG_WINDOW_BYTES,
    METHOD_CHARACTERS_MAX,
    PAYLOAD_BYTES_MAX,
    PAYLOAD_PART_BYTES,
    PENDING_PAYLOAD_BYTES_MAX,
)
from tenantry.wire.session import PROTOCOL_VERSION, Session

RPC = InvocationKind.RPC
pack = msgspec.msgpack.encode


class Pair:
    """Two sessions that have greeted each other; `root` is the first export of `b`."""

    def __init__(self) -> None:
        self.a, self.b = Session(), Session()
        self.root = StubExport("root")
        self.b.export(self.root)
        assert self.to_b() == []
        assert self.to_a() == []

    def to_b(self) -> list[Any]:  # Any: the test says by what it reads which event it expects
        return self.b.feed_untrusted(self.a.take_outbox())

    def to_a(self) -> list[Any]:
        return self.a.feed_untrusted(self.b.take_outbox())

    def call(self, *capabilities: Any, parent: int = 0) -> CallReceived:
        self.a.call(1, RPC, "method", b"payload", capabilities, parent)
        [event] = self.to_b()
        assert isinstance(event, CallReceived)
        return event

    def call_back(self, parent: CallReceived, *capabilities: Any) -> CallReceived:
        """A call from `b` in the invocation of a call that it received, to the stub that came with it."""
        stub = parent.capabilities[0]
        assert isinstance(stub, Import)
        self.b.call(stub.identifier, RPC, "callback", b"", capabilities, parent.call)
        [event] = self.to_a()
        assert isinstance(event, CallReceived)
        return event


@pytest.fixture
def pair() -> Pair:
    return Pair()


def test_a_call_arrives_with_all_that_it_was_made_with(pair: Pair) -> None:
    event = pair.call(StubExport("stub"), StreamExport("stream", 10), StreamExport("stream", None))
    assert (event.call, event.kind, event.method, event.parent, event.payload) == (1, RPC, "method", 0, b"payload")
    assert event.target is pair.root
    assert [(one.kind, one.length) for one in event.capabilities if isinstance(one, Import)] == [
        ("stub", None),
        ("stream", 10),
        ("stream", None),
    ]


def test_an_error_is_cut_and_cleaned_so_that_the_peer_takes_it(pair: Pair) -> None:
    long = "x" * (ERROR_TEXT_CHARACTERS_MAX + 1)
    pair.b.error(pair.call().call, PeerError("Bad\ud800", long, 5))
    [event] = pair.to_a()
    assert isinstance(event, CallFailed)
    assert (event.error.name, event.error.code) == ("Bad?", 5)
    assert event.error.message == "x" * ERROR_TEXT_CHARACTERS_MAX


def test_the_widest_error_still_fits_a_frame(pair: Pair) -> None:
    widest = "\U0010ffff" * ERROR_TEXT_CHARACTERS_MAX
    pair.b.error(pair.call().call, PeerError(widest, widest, 2**63))
    assert len(pair.to_a()) == 1


@pytest.mark.parametrize(
    "size", [0, 1, PAYLOAD_PART_BYTES, PAYLOAD_PART_BYTES + 1, 2 * PAYLOAD_PART_BYTES, PAYLOAD_BYTES_MAX]
)
def test_a_payload_of_any_size_arrives_whole(pair: Pair, size: int) -> None:
    payload = b"x" * size
    pair.a.call(1, RPC, "method", payload)
    [received] = pair.to_b()
    pair.b.result(received.call, payload)
    [returned] = pair.to_a()
    assert received.payload == returned.payload == payload


def test_a_cancellation_that_crosses_the_answer_is_nothing(pair: Pair) -> None:
    call = pair.call().call
    pair.a.cancel(call)
    pair.b.result(call, b"")
    assert pair.to_b() == []
    assert len(pair.to_a()) == 1
    pair.a.cancel(call)
    assert not pair.a.has_output


def test_a_cancellation_reaches_who_works_on_the_call(pair: Pair) -> None:
    call = pair.call().call
    pair.a.cancel(call)
    [event] = pair.to_b()
    assert isinstance(event, CallCanceled)


def test_a_stream_sends_as_much_as_was_asked_for(pair: Pair) -> None:
    export = StreamExport("source", None)
    stream = pair.call(export).capabilities[0]
    assert isinstance(stream, Import)
    size = 2 * DATA_BYTES_MAX + 1
    pair.b.credit(stream, size)
    [credited] = pair.to_a()
    assert isinstance(credited, StreamCredited)
    assert credited.export is export
    pair.a.data(export, bytes(size))
    pair.a.data(export, b"")
    pair.a.end(export)
    *data, end = pair.to_b()
    assert [len(event.data) for event in data if isinstance(event, StreamData)] == [DATA_BYTES_MAX, DATA_BYTES_MAX, 1]
    assert isinstance(end, StreamEnded)
    pair.b.credit(stream, 1)
    pair.b.release(stream)
    assert not pair.b.has_output


def test_logs_are_taken_while_there_is_room_and_what_was_lost_is_told_once_there_is_again(pair: Pair) -> None:
    for _ in range(200):
        pair.a.log(0, "log", "x" * 10_000)
    sizes = [event.size for event in pair.to_b()]
    assert set(sizes) == {10_000 + LOG_MESSAGE_BYTES}
    assert sum(sizes[:-1]) < LOG_WINDOW_BYTES <= sum(sizes)

    for _ in range(200):
        pair.a.log(7, "error", "x" * 10_000)  # a traceback has a reserve of its own
    sizes += [event.size for event in pair.to_b()]
    assert sum(sizes[:-1]) < LOG_WINDOW_BYTES + LOG_RESERVE_BYTES <= sum(sizes)

    pair.a.log(9, "log", "lost")
    pair.b.grant_log(sum(sizes))
    assert pair.to_a() == []
    (lost,) = pair.to_b()
    assert isinstance(lost, LogLost)
    assert (lost.call, lost.count) == (9, 401 - len(sizes))
    pair.a.log(0, "log", "heard")
    (heard,) = pair.to_b()
    assert isinstance(heard, LogReceived)
    assert heard.messages == ["heard"]


def test_messages_of_one_invocation_at_one_level_share_frames_and_nothing_overtakes_them(pair: Pair) -> None:
    for number in range(LOG_MESSAGES_MAX + 2):
        pair.a.log(1, "log", f"line {number}")
    pair.a.log(1, "warn", "another level")
    pair.a.log(2, "warn", "another invocation")
    pair.a.call(0, InvocationKind.RPC, "method", b"")
    pair.a.log(2, "warn", "behind a call")
    pair.a.log(2, "warn", "x" * 10_000)
    pair.a.log(2, "warn", "behind a long one")
    said = [(event.call, event.messages) if isinstance(event, LogReceived) else event for event in pair.to_b()]
    call = said.pop(4)
    assert isinstance(call, CallReceived)
    assert said == [
        (1, [f"line {number}" for number in range(LOG_MESSAGES_MAX)]),
        (1, [f"line {LOG_MESSAGES_MAX}", f"line {LOG_MESSAGES_MAX + 1}"]),
        (1, ["another level"]),
        (2, ["another invocation"]),
        (2, ["behind a call", "x" * 10_000]),
        (2, ["behind a long one"]),
    ]


def test_what_a_message_takes_of_the_window_is_counted_in_bytes(pair: Pair) -> None:
    pair.a.log(0, "log", "\N{SNOWMAN}" * 10)
    pair.a.log(0, "log", "plain")
    (event,) = pair.to_b()
    assert event.size == 30 + 5 + 2 * LOG_MESSAGE_BYTES


def test_a_stream_that_was_handed_back_is_the_very_object_and_what_was_asked_of_it_is_void(pair: Pair) -> None:
    export = StreamExport("source", None)
    event = pair.call(export)
    stream = event.capabilities[0]
    assert isinstance(stream, Import)
    pair.b.credit(stream, 10)
    pair.b.result(event.call, b"", [stream, stream])
    assert not stream.live
    *_, returned = pair.to_a()
    assert returned.capabilities[0] is returned.capabilities[1] is export
    assert export.credit == 0
    pair.a.data(export, b"from a reader that had not heard of it")
    assert not pair.a.has_output
    assert pair.a.dropped == []


def test_a_stub_may_be_sent_again_after_the_peer_released_it(pair: Pair) -> None:
    first = pair.call(StubExport("target")).capabilities[0]
    assert isinstance(first, Import)
    pair.b.release(first)  # under way while the next call is
    second = pair.call(StubExport("target")).capabilities[0]
    pair.to_a()
    assert isinstance(second, Import)
    assert (first.live, second.live) == (False, True)


def test_what_was_exported_for_the_session_does_not_disturb_the_numbers_of_what_is_sent(pair: Pair) -> None:
    pair.call(StubExport(1))
    pair.a.export(StubExport(2))
    assert pair.call(StubExport(3)).capabilities[0].identifier == 3


def test_an_export_is_sent_once(pair: Pair) -> None:
    export = StubExport("target")
    pair.call(export)
    with pytest.raises(AssertionError, match="exported once"):
        pair.a.call(1, RPC, "method", b"", [export])


def test_a_capability_of_another_session_is_gone_here_and_not_what_has_its_number(pair: Pair) -> None:
    other = Pair()
    foreign = other.call(StubExport("secret")).capabilities[0]
    own = StubExport("own")
    event = pair.call(own)
    assert isinstance(foreign, Import)
    assert foreign.identifier == own.identifier
    pair.b.result(event.call, b"", [foreign], open=True)
    [returned] = pair.to_a()
    assert isinstance(returned.capabilities[0], StubExport)
    assert returned.capabilities[0].target is None
    pair.b.release(foreign)
    assert not pair.b.has_output


def test_a_result_belongs_to_the_invocation_that_asked_for_it(pair: Pair) -> None:
    outer = pair.call(StubExport("callback"))
    inner = pair.call_back(outer)
    given = StubExport("given")
    pair.a.result(inner.call, b"", [given])
    [returned] = pair.to_b()
    [held] = returned.capabilities
    assert held.live
    pair.b.result(outer.call, b"")
    assert held in pair.b.dropped
    pair.to_a()
    assert given in pair.a.dropped


@pytest.mark.parametrize("heard", [True, False], ids=["that heard of it", "that had not heard of it"])
def test_a_result_for_an_invocation_that_is_over_is_dropped_by_a_callee(pair: Pair, heard: bool) -> None:
    outer = pair.call(StubExport("callback"))
    inner = pair.call_back(outer)
    given = StubExport("given")
    pair.b.result(outer.call, b"")
    if heard:
        pair.to_a()
    pair.a.dropped.clear()
    pair.a.result(inner.call, b"", [given])
    pair.to_a()
    [returned] = pair.to_b()
    assert not returned.capabilities[0].live
    assert returned.capabilities[0] in pair.b.dropped
    assert given in pair.a.dropped
    assert not pair.a._capabilities.exports
    assert not pair.b._capabilities.imports


def test_an_open_result_keeps_what_it_gave_until_it_is_done(pair: Pair) -> None:
    event = pair.call()
    given = StubExport("given")
    pair.b.result(event.call, b"", [given], open=True)
    [returned] = pair.to_a()
    assert pair.a.has_imports(event.call)
    assert pair.a.is_open(event.call)
    pair.b.done(event.call)
    assert pair.b.dropped == [given]
    pair.to_a()
    assert pair.a.dropped == returned.capabilities
    assert not pair.a.is_open(event.call)
    assert not pair.a.has_imports(event.call)


def test_a_long_invocation_keeps_nothing_of_what_was_released(pair: Pair) -> None:
    outer = pair.call(StubExport("callback"))
    for _ in range(3):
        inner = pair.call_back(outer)
        pair.a.result(inner.call, b"", [StubExport("given")])
        [returned] = pair.to_b()
        pair.b.release(returned.capabilities[0])
        pair.to_a()
    assert len(pair.a._outgoing[outer.call].exports) == len(pair.b._incoming[outer.call].imports) == 1


def test_close_hands_out_all_that_was_live(pair: Pair) -> None:
    stub, stream = StubExport("stub"), StreamExport("stream", None)
    event = pair.call(stub, stream)
    assert pair.a.close() == ([stub, stream], [])
    assert pair.b.close() == ([pair.root], event.capabilities)
    assert not any(one.live for one in event.capabilities if isinstance(one, Import))


# Bounds: what the peer would refuse is not sent ---------------------------------------------------------------------


def test_what_would_pass_a_bound_is_refused_and_changes_nothing(pair: Pair) -> None:
    too_many = [StubExport(None) for _ in range(CAPABILITIES_MAX + 1)]
    incoming = pair.call().call
    for refused in (
        lambda: pair.a.call(1, RPC, "x" * (METHOD_CHARACTERS_MAX + 1), b""),
        lambda: pair.a.call(1, RPC, "\ud800", b""),
        lambda: pair.a.call(1, RPC, "method", bytes(PAYLOAD_BYTES_MAX + 1)),
        lambda: pair.a.call(1, RPC, "method", b"", too_many),
        lambda: pair.b.result(incoming, bytes(PAYLOAD_BYTES_MAX + 1)),
        lambda: pair.b.result(incoming, b"", too_many),
    ):
        with pytest.raises(WireLimitError):
            refused()
    assert not pair.a.has_output
    assert not pair.b.has_output
    assert not pair.a._capabilities.exports
    assert pair.call().call == incoming + 1
    pair.b.result(incoming, b"")
    assert len(pair.to_a()) == 1


def test_the_last_call_that_fits_is_taken_by_the_peer(pair: Pair) -> None:
    for _ in range(CALLS_MAX):
        pair.a.call(1, RPC, "method", b"")
    with pytest.raises(WireLimitError, match="calls at once"):
        pair.a.call(1, RPC, "method", b"")
    assert len(pair.to_b()) == CALLS_MAX


def test_the_last_export_that_fits_is_taken_by_the_peer(pair: Pair) -> None:
    for _ in range(EXPORTS_MAX // CAPABILITIES_MAX):
        pair.a.call(1, RPC, "method", b"", [StubExport(None) for _ in range(CAPABILITIES_MAX)])
    with pytest.raises(WireLimitError, match="streams and stubs at once"):
        pair.a.call(1, RPC, "method", b"", [StubExport(None)])
    assert len(pair.to_b()) == EXPORTS_MAX // CAPABILITIES_MAX


def test_numbers_are_never_used_twice(pair: Pair) -> None:
    pair.a._last_call = pair.a._capabilities._last_export = 2**32 - 1
    with pytest.raises(WireLimitError, match="numbers"):
        pair.a.call(1, RPC, "method", b"")
    with pytest.raises(WireLimitError, match="numbers"):
        pair.a.export(StubExport(None))


# Violations ---------------------------------------------------------------------------------------------------------

HELLO = encode_frame(FrameKind.HELLO, PROTOCOL_VERSION)
PART = bytes(PAYLOAD_PART_BYTES)


def call(
    number: int = 1,
    target: Any = 0,
    kind: Any = 1,
    method: Any = "m",
    parent: Any = 0,
    listed: Any = (),
    payload: Any = b"",
) -> bytes:
    return encode_frame(FrameKind.CALL, number, pack((target, kind, method, parent, listed, payload)))


def frame(kind: int, number: int, body: Any = None) -> bytes:
    return encode_frame(kind, number, body if isinstance(body, bytes) else b"" if body is None else pack(body))


def result(number: int, is_open: Any = False, listed: Any = (), payload: Any = b"") -> bytes:
    return frame(FrameKind.RESULT, number, (is_open, listed, payload))


def session() -> Session:
    """Stub 1 and stream 2 are its exports, call 1 waits for its answer; it imported stub 1 and stream 2 with call 1.

    Credit of 10 was granted for the stream.
    """
    made = Session()
    stream = StreamExport("stream", None)
    made.call(1, RPC, "method", b"", [StubExport("stub"), stream])
    made.call(1, RPC, "method", b"")
    [received] = made.feed_untrusted(HELLO + call(listed=[[0, 1, None], [1, 2, None]]))
    assert isinstance(received, CallReceived)
    imported = received.capabilities[1]
    assert isinstance(imported, Import)
    made.credit(imported, 10)
    return made


TEXT_TOO_LONG = "x" * (ERROR_TEXT_CHARACTERS_MAX + 1)
VIOLATIONS = {
    "a kind that does not exist": frame(99, 1),
    "kind 0": frame(0, 1),
    "a second greeting": HELLO,
    "a call that is not msgpack": frame(FrameKind.CALL, 2, b"\xc1"),
    "a call without a body": frame(FrameKind.CALL, 2),
    "a call with trailing bytes": frame(FrameKind.CALL, 2, pack((0, 1, "m", 0, (), b"")) + b"\xc0"),
    "a call with a field less": frame(FrameKind.CALL, 2, (0, 1, "m", 0, ())),
    "a call with a field more": frame(FrameKind.CALL, 2, (0, 1, "m", 0, (), b"", 0)),
    "a call that is a map": frame(FrameKind.CALL, 2, {"target": 0}),
    "a call that is deep": frame(FrameKind.CALL, 2, b"\x91" * 100_000),
    "a call that claims a huge list": frame(FrameKind.CALL, 2, b"\x96\x00\x01\xa1m\x00\xdd\xff\xff\xff\xff"),
    "call 0": call(0),
    "a call number used before": call(1),
    "a call to what was never exported": call(2, target=3),
    "a call to a negative target": call(2, target=-1),
    "a call to a target that is too large": call(2, target=2**64 - 1),
    "a call to a stream": call(2, target=2),
    "a call of a kind that does not exist": call(2, kind=max(InvocationKind) + 1),
    "a call with a long method": call(2, method="x" * (METHOD_CHARACTERS_MAX + 1)),
    "a call of a method of bytes": call(2, method=b"m"),
    "a call with a parent that was never called": call(2, parent=3),
    "a call with a negative parent": call(2, parent=-1),
    "a call with a text as its payload": call(2, payload="text"),
    "a capability of unknown type": call(2, listed=[[3, 3, None]]),
    "a capability of negative type": call(2, listed=[[-1, 3, None]]),
    "a capability with a field less": call(2, listed=[[0, 3]]),
    "export 0": call(2, listed=[[0, 0, None]]),
    "a negative export": call(2, listed=[[0, -1, None]]),
    "an export that is too large": call(2, listed=[[0, 2**32, None]]),
    "an export of a live number": call(2, listed=[[0, 1, None]]),
    "exports that count down": call(2, listed=[[0, 4, None], [0, 3, None]]),
    "a stub that is a stream the second time": call(2, listed=[[0, 3, None], [1, 3, None]]),
    "a stub with a length": call(2, listed=[[0, 3, 5]]),
    "a stream of negative length": call(2, listed=[[1, 3, -1]]),
    "what comes home with a length": call(2, listed=[[2, 1, 5]]),
    "something that comes home and never left": call(2, listed=[[2, 3, None]]),
    "something negative that comes home": call(2, listed=[[2, -1, None]]),
    "too many capabilities": call(2, listed=[[0, 3, None]] * (CAPABILITIES_MAX + 1)),
    "an answer to a call that was never made": result(3),
    "an answer to call 0": result(0),
    "a second answer": result(1) + result(1),
    "a second answer to an open call": result(1, True) + result(1),
    "an error after an open result": result(1, True) + frame(FrameKind.ERROR, 1, ("", "", 0)),
    "an open that is a number": result(1, 1),
    "a result with bad capabilities": result(1, False, [[0, 1, None]]),
    "an error for a call that was never made": frame(FrameKind.ERROR, 3, ("", "", 0)),
    "an error that cannot be read": frame(FrameKind.ERROR, 1, ("", "", "0")),
    "an error with a long name": frame(FrameKind.ERROR, 1, (TEXT_TOO_LONG, "", 0)),
    "an error with a long message": frame(FrameKind.ERROR, 1, ("", TEXT_TOO_LONG, 0)),
    "done before the answer": frame(FrameKind.DONE, 1),
    "done for a call that was never made": frame(FrameKind.DONE, 3),
    "done twice": result(1, True) + frame(FrameKind.DONE, 1) * 2,
    "done after a result that is not open": result(1) + frame(FrameKind.DONE, 1),
    "done with a body": result(1, True) + frame(FrameKind.DONE, 1, b"x"),
    "a cancellation of what was never called": frame(FrameKind.CANCEL, 2),
    "a cancellation of call 0": frame(FrameKind.CANCEL, 0),
    "a cancellation with a body": frame(FrameKind.CANCEL, 1, b"x"),
    "a release of what was never exported": frame(FrameKind.RELEASE, 3),
    "a release of 0": frame(FrameKind.RELEASE, 0),
    "a release with a body": frame(FrameKind.RELEASE, 1, b"x"),
    "credit for a stub": frame(FrameKind.CREDIT, 1, 1),
    "credit for what was never exported": frame(FrameKind.CREDIT, 3, 1),
    "credit of nothing": frame(FrameKind.CREDIT, 2, 0),
    "negative credit": frame(FrameKind.CREDIT, 2, -1),
    "too much credit": frame(FrameKind.CREDIT, 2, CREDIT_BYTES_MAX + 1),
    "too much credit in sum": frame(FrameKind.CREDIT, 2, CREDIT_BYTES_MAX) + frame(FrameKind.CREDIT, 2, 1),
    "credit that is true": frame(FrameKind.CREDIT, 2, True),
    "credit without a body": frame(FrameKind.CREDIT, 2),
    "bytes of a stub": frame(FrameKind.DATA, 1, b"x"),
    "bytes of what was never sent": frame(FrameKind.DATA, 3, b"x"),
    "bytes of 0": frame(FrameKind.DATA, 0, b"x"),
    "more bytes than were asked for": frame(FrameKind.DATA, 2, bytes(11)),
    "more bytes than were asked for in sum": frame(FrameKind.DATA, 2, bytes(10)) + frame(FrameKind.DATA, 2, b"x"),
    "data without bytes": frame(FrameKind.DATA, 2),
    "the end of a stub": frame(FrameKind.END, 1),
    "the end of what was never sent": frame(FrameKind.END, 3),
    "an end with a body": frame(FrameKind.END, 2, b"x"),
    "an abort of a stub": frame(FrameKind.ABORT, 1, "why"),
    "an abort without a reason": frame(FrameKind.ABORT, 2),
    "an abort whose reason is no text": frame(FrameKind.ABORT, 2, 5),
    "a log that cannot be read": frame(FrameKind.LOG, 0, ("info",)),
    "a log with a long level": frame(FrameKind.LOG, 0, (TEXT_TOO_LONG, [""])),
    "a log with a long message": frame(FrameKind.LOG, 0, ("", [TEXT_TOO_LONG])),
    "a log without a message": frame(FrameKind.LOG, 0, ("", [])),
    "too many messages in a log": frame(FrameKind.LOG, 0, ("", [""] * (LOG_MESSAGES_MAX + 1))),
    "logs that there is no room for": frame(FrameKind.LOG, 0, ("log", ["x" * 60_000])) * 10,
    "logs that there is room for in part": frame(FrameKind.LOG, 0, ("log", ["x" * 64_000])) * 8
    + frame(FrameKind.LOG, 0, ("log", ["x" * 9_000]))
    + frame(FrameKind.LOG, 0, ("log", ["x" * 3_000, ""])),
    "too much in a log": frame(FrameKind.LOG, 0, ("log", ["x" * 5_000, ""])),
    "errors that there is no room for": frame(FrameKind.LOG, 0, ("error", "x" * 60_000)) * 12,
    "room for logs of a call": frame(FrameKind.LOG_CREDIT, 1, 1),
    "room for logs that were not made": frame(FrameKind.LOG_CREDIT, 0, 1),
    "no room for logs": frame(FrameKind.LOG_CREDIT, 0, 0),
    "room for logs that cannot be read": frame(FrameKind.LOG_CREDIT, 0, "1"),
    "no log that was lost": frame(FrameKind.LOG_LOST, 0, 0),
    "an empty part": frame(FrameKind.CALL_PART, 2),
    "a small part": frame(FrameKind.CALL_PART, 2, b"x"),
    "a large part": frame(FrameKind.CALL_PART, 2, PART + b"x"),
    "a part of a call that was made": frame(FrameKind.CALL_PART, 1, PART),
    "a part of a result that nobody waits for": frame(FrameKind.RESULT_PART, 3, PART),
    "a part of a result that was given": result(1, True) + frame(FrameKind.RESULT_PART, 1, PART),
    "a call that is too large": frame(FrameKind.CALL_PART, 2, PART) * (PAYLOAD_BYTES_MAX // PAYLOAD_PART_BYTES + 1),
    "a call that is a byte too large": frame(FrameKind.CALL_PART, 2, PART) * (PAYLOAD_BYTES_MAX // PAYLOAD_PART_BYTES)
    + call(2, payload=b"x"),
    "too many parts of many calls": b"".join(
        frame(FrameKind.CALL_PART, number, PART)
        for number in range(2, PENDING_PAYLOAD_BYTES_MAX // PAYLOAD_PART_BYTES + 3)
    ),
    "too many calls at once": b"".join(call(number) for number in range(2, CALLS_MAX + 2)),
    "too many exports": b"".join(
        call(2 + at, listed=[[0, 3 + at * 4096 + index, None] for index in range(4096)])
        for at in range(EXPORTS_MAX // 4096)
    ),
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS.keys())
def test_a_violation_is_a_protocol_error(data: bytes) -> None:
    made = session()
    with pytest.raises(ProtocolError):
        made.feed_untrusted(data)


@pytest.mark.parametrize(
    "data",
    [
        encode_frame(FrameKind.HELLO, PROTOCOL_VERSION + 1),
        encode_frame(FrameKind.HELLO, PROTOCOL_VERSION, b"x"),
        call(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["another version", "a body", "no greeting", "another protocol"],
)
def test_a_peer_greets_first(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        Session().feed_untrusted(data)


LATE = {
    "a call to what was released": frame(FrameKind.RELEASE, 1) + call(2, target=1),
    "something that comes home after it was released": frame(FrameKind.RELEASE, 2) + call(2, listed=[[2, 2, None]]),
    "a release of what was released": frame(FrameKind.RELEASE, 1) * 2,
    "credit for what was released": frame(FrameKind.RELEASE, 2) + frame(FrameKind.CREDIT, 2, 1),
    "a release of what ended with its call": result(1) + frame(FrameKind.RELEASE, 1),
    "a target that was gone when it was sent": call(2, target=0),
    "something gone that comes home": call(2, listed=[[2, 0, None]]),
    "a number that was left out": call(9, listed=[[0, 9, None]]) + frame(FrameKind.CANCEL, 5),
    "the longest answer": result(1, payload=bytes(PAYLOAD_PART_BYTES)),
    "an error after parts of a result": frame(FrameKind.RESULT_PART, 1, PART) + frame(FrameKind.ERROR, 1, ("", "", 0)),
    "parts of two calls in turn": (frame(FrameKind.CALL_PART, 2, PART) + frame(FrameKind.CALL_PART, 3, PART)) * 2
    + call(2)
    + call(3),
    "exactly the credit": frame(FrameKind.DATA, 2, bytes(10)),
    "the most credit": frame(FrameKind.CREDIT, 2, CREDIT_BYTES_MAX),
    "an end, then bytes that were under way no more": frame(FrameKind.END, 2) + frame(FrameKind.DATA, 2, b"x"),
}


@pytest.mark.parametrize("data", LATE.values(), ids=LATE.keys())
def test_what_crosses_another_frame_is_no_violation(data: bytes) -> None:
    made = session()
    made.feed_untrusted(data)
    assert not made._pending.held_bytes


def test_what_is_gone_arrives_as_a_stub_of_nothing() -> None:
    made = session()
    [event] = made.feed_untrusted(LATE["something that comes home after it was released"])
    assert isinstance(event, CallReceived)
    [gone] = event.capabilities
    assert isinstance(gone, StubExport)
    assert gone.target is None
    [event] = made.feed_untrusted(call(3, target=0))
    assert isinstance(event, CallReceived)
    assert event.target is None


def test_a_returned_event_says_whether_the_callee_goes_on() -> None:
    made = session()
    first, second = made.feed_untrusted(result(1, True) + result(2))
    assert isinstance(first, CallReturned)
    assert isinstance(second, CallReturned)
    assert (first.open, second.open) == (True, False)
