"""Frames: the same ones come out however the bytes were cut, and a hostile length is refused before anybody waits."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import ProtocolError
from tenantry.wire.frames import HEADER, FrameDecoder, FrameKind, encode_frame
from tenantry.wire.limits import FRAME_BYTES_MAX

FRAMES = [
    (FrameKind.HELLO, 1, b""),
    (FrameKind.DATA, 7, b"a body that looks like a frame: \x05\x00\x00\x00\x05\x07\x00\x00\x00"),
    (FrameKind.CANCEL, 2**32 - 1, b""),
    (FrameKind.DATA, 0, bytes(300)),
]
STREAM = b"".join(encode_frame(*frame) for frame in FRAMES)


def test_a_cancel_is_the_bytes_that_the_docstring_draws() -> None:
    assert encode_frame(FrameKind.CANCEL, 7) == bytes.fromhex("05000000 05 07000000")


def test_frames_fed_whole() -> None:
    assert FrameDecoder().feed_untrusted(STREAM) == FRAMES


def test_frames_fed_byte_by_byte() -> None:
    decoder = FrameDecoder()
    assert [frame for byte in STREAM for frame in decoder.feed_untrusted(bytes([byte]))] == FRAMES


@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_frames_split_at_every_place(at: int) -> None:
    decoder = FrameDecoder()
    assert decoder.feed_untrusted(STREAM[:at]) + decoder.feed_untrusted(STREAM[at:]) == FRAMES


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_frames_in_any_pieces(cuts: list[int]) -> None:
    decoder = FrameDecoder()
    pieces = [STREAM[start:end] for start, end in pairwise([0, *sorted(cuts), len(STREAM)])]
    assert [frame for piece in pieces for frame in decoder.feed_untrusted(piece)] == FRAMES


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=64)), max_size=8))
def test_what_was_encoded_is_decoded(frames: list[tuple[int, int, bytes]]) -> None:
    assert FrameDecoder().feed_untrusted(b"".join(encode_frame(*frame) for frame in frames)) == frames


@pytest.mark.parametrize("size", range(1, len(STREAM) - HEADER.size - 300))
def test_trailing_bytes_wait_for_the_rest_of_their_frame(size: int) -> None:
    decoder = FrameDecoder()
    first = encode_frame(FrameKind.END, 3)
    follows = encode_frame(*FRAMES[1])
    size = min(size, len(follows) - 1)
    assert decoder.feed_untrusted(first + follows[:size]) == [(FrameKind.END, 3, b"")]
    assert decoder.feed_untrusted(follows[size:]) == [FRAMES[1]]


def test_nothing_fed_is_nothing_out() -> None:
    decoder = FrameDecoder()
    assert decoder.feed_untrusted(b"") == []
    assert decoder.feed_untrusted(STREAM[:11]) == [FRAMES[0]]
    assert decoder.feed_untrusted(b"") == []
    assert decoder.feed_untrusted(STREAM[11:]) == FRAMES[1:]


def test_the_largest_frame_passes_in_one_piece_and_in_many() -> None:
    body = bytes(FRAME_BYTES_MAX - 5)
    frame = encode_frame(FrameKind.DATA, 1, body)
    assert FrameDecoder().feed_untrusted(frame) == [(FrameKind.DATA, 1, body)]
    decoder = FrameDecoder()
    pieces = [frame[at : at + 4099] for at in range(0, len(frame), 4099)]
    assert [out for piece in pieces for out in decoder.feed_untrusted(piece)] == [(FrameKind.DATA, 1, body)]


def test_a_large_frame_in_tiny_pieces_is_not_copied_for_each_of_them() -> None:
    # A million copies of up to a megabyte would be hours; one append each is well under a second.
    frame = encode_frame(FrameKind.DATA, 1, bytes(FRAME_BYTES_MAX - 5))
    decoder = FrameDecoder()
    decoder.feed_untrusted(frame[: FRAME_BYTES_MAX // 2])
    for at in range(FRAME_BYTES_MAX // 2, FRAME_BYTES_MAX // 2 + 200_000):
        assert decoder.feed_untrusted(frame[at : at + 1]) == []
    assert len(decoder.feed_untrusted(frame[FRAME_BYTES_MAX // 2 + 200_000 :])) == 1


@pytest.mark.parametrize("length", [0, 1, 4, FRAME_BYTES_MAX + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("before", [b"", encode_frame(FrameKind.END, 1)], ids=["first", "later"])
def test_a_hostile_length_is_refused_as_soon_as_it_is_known(length: int, before: bytes) -> None:
    for more in (b"", b"\x08", b"\x08\x01\x00\x00\x00", bytes(64)):
        with pytest.raises(ProtocolError, match=f"^a frame of {length} bytes$"):
            FrameDecoder().feed_untrusted(before + struct.pack("<I", length) + more)


def test_a_hostile_length_that_comes_byte_by_byte_is_refused_with_its_last_byte() -> None:
    decoder = FrameDecoder()
    for byte in b"\xff\xff\xff":
        assert decoder.feed_untrusted(bytes([byte])) == []
    with pytest.raises(ProtocolError):
        decoder.feed_untrusted(b"\xff")
