"""What is asked of a session: two of them, an honest pair until the input does something to the bytes between them.

The input is a program: each step makes one side do something that its owner may do (call, answer, hand on, release,
ask for bytes, send them, …), delivers what was written, or changes, drops or inserts bytes that are under way. So the
fuzzer gets deep into a session's states without having to invent msgpack, and breaks the protocol there.

* While nobody touched the bytes no side may find a violation; afterwards `feed_untrusted` gives events or one
  ProtocolError.
* What the owner may do raises nothing but WireLimitError, whatever the peer did before.
* What a session keeps stays within its bounds, and its tables agree with each other, after every step.
* However the bytes are cut on their way, the same comes out.
* When it is closed nothing is left alive.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from fuzz_input import Choices
from fuzz_side import Side, close

from tenantry.errors import ProtocolError
from tenantry.wire.bodies import pack
from tenantry.wire.events import (
    Capability,
    InvocationKind,
    PeerError,
    StreamExport,
    StubExport,
    WireLimitError,
)
from tenantry.wire.frames import FrameKind, encode_frame
from tenantry.wire.limits import (
    CREDIT_BYTES_MAX,
    DATA_BYTES_MAX,
    LOG_WINDOW_BYTES,
    PAYLOAD_PART_BYTES,
)

__all__ = ["check"]

_STEPS_MAX: Final = 400
"""A longer program shows nothing that a shorter one does not, and slows the search down."""


class _Over(Exception):
    """One side found a violation, which is the end of the channel."""


class _Pair:
    def __init__(self, choices: Choices, pieces: int) -> None:
        self.sides = (Side(pieces), Side(pieces))
        self.choices = choices
        self.touched = False

    def run(self) -> bool:
        """Whether it came to its end without a violation."""
        try:
            for _ in range(_STEPS_MAX):
                if not self.choices.are_left:
                    break
                step = self.choices.byte()
                side, peer = self.sides if step & 0x80 else self.sides[::-1]
                with contextlib.suppress(WireLimitError):
                    _STEPS[step % len(_STEPS)](self, side, peer)
                side.settle()
            for _ in range(2):
                for side, peer in (self.sides, self.sides[::-1]):
                    self._deliver_bytes(side, peer, 2**26)
        except _Over:
            return False
        finally:
            for side in self.sides:
                close(side)
        return True

    # What an owner does --------------------------------------------------------------------------------------------

    def _payload(self) -> bytes:
        size = self.choices.byte()
        # The boundaries of parts, now and then.
        return bytes(
            {255: PAYLOAD_PART_BYTES + 1, 254: PAYLOAD_PART_BYTES, 253: 2 * PAYLOAD_PART_BYTES + 1}.get(size, size & 31)
        )

    def _capabilities(self, side: Side) -> list[Capability]:
        capabilities: list[Capability] = []
        for _ in range(self.choices.byte() & 3):
            what = self.choices.byte()
            if what & 3 == 0:
                capabilities.append(StubExport("stub"))
            elif what & 3 == 1:
                capabilities.append(StreamExport("stream", what >> 2 if what & 4 else None))
                side.sent.append(capabilities[-1])  # type: ignore[arg-type]  # it is one
            elif what & 3 == 2 and side.held:
                capabilities.append(side.held[(what >> 2) % len(side.held)])
            elif capabilities:
                capabilities.append(capabilities[0])
        return capabilities

    def _call(self, side: Side, peer: Side) -> None:
        stubs = [held.identifier for held in side.held if held.kind == "stub"]
        target = self.choices.one([1, *stubs, 0])
        kind = self.choices.one(tuple(InvocationKind))
        parent = self.choices.one([0, *side.waiting, *side.open])
        payload, capabilities = self._payload(), self._capabilities(side)
        side.made.append(side.session.call(target, kind, "method", payload, capabilities, parent))

    def _result(self, side: Side, peer: Side) -> None:
        if side.waiting:
            call = self.choices.one(side.waiting)
            is_open = bool(self.choices.byte() & 1)
            side.session.result(call, self._payload(), self._capabilities(side), open=is_open)
            side.waiting.remove(call)
            if is_open:
                side.open.append(call)

    def _error(self, side: Side, peer: Side) -> None:
        if side.waiting:
            call = self.choices.one(side.waiting)
            side.waiting.remove(call)
            side.session.error(call, PeerError("Error", "message", self.choices.byte()))

    def _done(self, side: Side, peer: Side) -> None:
        if side.open:
            call = self.choices.one(side.open)
            side.open.remove(call)
            side.session.done(call)

    def _cancel(self, side: Side, peer: Side) -> None:
        if side.made:
            side.session.cancel(self.choices.one(side.made))

    def _release(self, side: Side, peer: Side) -> None:
        if side.held:
            held = self.choices.one(side.held)
            side.session.release(held)
            side.held.remove(held)

    def _credit(self, side: Side, peer: Side) -> None:
        streams = [held for held in side.held if held.kind == "stream"]
        if streams:
            stream = self.choices.one(streams)
            size = self.choices.one((1, 1000, DATA_BYTES_MAX + 1, CREDIT_BYTES_MAX))
            if stream.credit + size <= CREDIT_BYTES_MAX:
                side.session.credit(stream, size)

    def _data(self, side: Side, peer: Side) -> None:
        if side.sent:
            stream = self.choices.one(side.sent)
            size = min(stream.credit, self.choices.one((0, 1, 1000, DATA_BYTES_MAX + 1)))
            side.session.data(stream, bytes(size))

    def _end(self, side: Side, peer: Side) -> None:
        if side.sent:
            side.session.end(self.choices.one(side.sent))

    def _abort(self, side: Side, peer: Side) -> None:
        if side.sent:
            side.session.abort(self.choices.one(side.sent), "it broke off")

    def _log(self, side: Side, peer: Side) -> None:
        side.session.log(self.choices.byte(), "info", "a line\ud800"[: self.choices.byte() & 7])
        if side.log_owed and self.choices.byte() & 1:
            side.session.grant_log(side.log_owed)
            side.log_owed = 0

    def _ask(self, side: Side, peer: Side) -> None:
        number = self.choices.byte()
        assert side.session.is_open(number) or not side.session.has_imports(number)

    # What happens between them -------------------------------------------------------------------------------------

    def _deliver(self, side: Side, peer: Side) -> None:
        self._deliver_bytes(side, peer, 2**26)

    def _deliver_some(self, side: Side, peer: Side) -> None:
        self._deliver_bytes(side, peer, self.choices.one((1, 5, 9, 30, 1000)))

    def _deliver_bytes(self, side: Side, peer: Side, size: int) -> None:
        side.flush()
        data = bytes(side.wire[:size])
        del side.wire[:size]
        try:
            peer.feed(data)
        except ProtocolError:
            assert self.touched, "an honest peer broke the protocol"
            raise _Over from None
        peer.settle()

    def _touch(self, side: Side) -> bytearray:
        side.flush()
        self.touched = True
        return side.wire

    def _flip(self, side: Side, peer: Side) -> None:
        wire = self._touch(side)
        if wire:
            wire[self.choices.word() % len(wire)] ^= self.choices.byte() or 1

    def _drop(self, side: Side, peer: Side) -> None:
        wire = self._touch(side)
        at = self.choices.word() % (len(wire) + 1)
        del wire[at : at + self.choices.byte()]

    def _insert(self, side: Side, peer: Side) -> None:
        wire = self._touch(side)
        at = self.choices.word() % (len(wire) + 1)
        wire[at:at] = self.choices.short()

    def _insert_frame(self, side: Side, peer: Side) -> None:
        """A frame of the input's own, where a frame can be."""
        self._touch(side).extend(encode_frame(self.choices.byte(), self.choices.byte(), self.choices.short()))

    def _insert_numbered_frame(self, side: Side, peer: Side) -> None:
        number = self.choices.integer(4)
        self._touch(side).extend(encode_frame(self.choices.byte(), number, self.choices.short()))

    def _forge(self, side: Side, peer: Side) -> None:
        """A frame that is well formed, about something that both sides know, or nearly."""
        kind = self.choices.one(tuple(FrameKind))
        numbers = [*side.made, *side.waiting, *side.open, *peer.made]
        numbers += [stream.identifier for stream in side.sent]
        numbers += [held.identifier for held in (*side.held, *peer.held)]
        near = self.choices.byte()
        number = max(0, self.choices.one([1, *numbers]) + {1: 1, 2: -1, 3: 2**31}.get(near, 0))
        body = b""
        if kind in (FrameKind.CALL, FrameKind.RESULT):
            listed = [
                (self.choices.byte() & 3, self.choices.one([0, 1, *numbers]), self.choices.one((None, 5)))
                for _ in range(self.choices.byte() & 3)
            ]
            if kind == FrameKind.CALL:
                target, parent = self.choices.one([0, 1, *numbers]), self.choices.one([0, 1, *numbers])
                body = pack((target, self.choices.byte() % 7, "method", parent, listed, b"forged"))
            else:
                body = pack((bool(self.choices.byte() & 1), listed, b"forged"))
        elif kind == FrameKind.ERROR:
            body = pack(("Error", "forged", 0))
        elif kind == FrameKind.CREDIT:
            body = pack(self.choices.one((1, 1000, CREDIT_BYTES_MAX, CREDIT_BYTES_MAX + 1, 0, -1)))
        elif kind == FrameKind.ABORT:
            body = pack("forged")
        elif kind == FrameKind.LOG:
            body = pack(("info", ["forged" * self.choices.one((1, 10_000))] * (1 + near % 17)))
        elif kind in (FrameKind.LOG_CREDIT, FrameKind.LOG_LOST):
            number = 0 if near else number
            body = pack(self.choices.one((1, 1000, LOG_WINDOW_BYTES, LOG_WINDOW_BYTES + 1, 0, -1)))
        elif kind in (FrameKind.CALL_PART, FrameKind.RESULT_PART):
            body = bytes(PAYLOAD_PART_BYTES if near == 4 else near)
        elif kind == FrameKind.DATA or near == 5:
            body = bytes(self.choices.one((1, 1000, DATA_BYTES_MAX + 1)))
        self._touch(side).extend(encode_frame(kind, number, body))

    def _repeat(self, side: Side, peer: Side) -> None:
        """Bytes that were honest once, again."""
        wire = self._touch(side)
        at = self.choices.word() % (len(wire) + 1)
        wire += wire[at : at + self.choices.word()]


_STEPS: Final[tuple[Callable[[_Pair, Side, Side], None], ...]] = (
    _Pair._deliver,
    _Pair._call,
    _Pair._result,
    _Pair._error,
    _Pair._done,
    _Pair._cancel,
    _Pair._release,
    _Pair._credit,
    _Pair._data,
    _Pair._end,
    _Pair._abort,
    _Pair._log,
    _Pair._ask,
    _Pair._deliver_some,
    _Pair._flip,
    _Pair._drop,
    _Pair._insert,
    _Pair._insert_frame,
    _Pair._insert_numbered_frame,
    _Pair._repeat,
    _Pair._forge,
    _Pair._forge,
    _Pair._forge,
    _Pair._forge,
)


def check(data: bytes) -> None:
    """Run the program that the input is, twice, cut differently. Raises what is a finding."""
    pairs = [_Pair(Choices(data), pieces) for pieces in (1, 3)]
    ends = [pair.run() for pair in pairs]
    assert ends[0] == ends[1], "whether it is a violation depends on how the bytes are cut"
    if ends[0]:
        for whole, cut in zip(pairs[0].sides, pairs[1].sides, strict=True):
            assert whole.seen == cut.seen, "what comes out depends on how the bytes are cut"
