"""Frames as clients send them: masked or, as wrangler does, not; whole and byte by byte; bounded."""

from __future__ import annotations

import pytest

from tenantry.control.websocket import PING, TEXT, Frame, FrameReader, accept_key, encode_frame
from tenantry.errors import ProtocolError

MASKED_HELLO = bytes.fromhex("818537fa213d7f9f4d5158")  # RFC 6455, section 5.7


def test_the_answer_to_a_key_is_the_rfcs_example() -> None:
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("data", [MASKED_HELLO, encode_frame(TEXT, b"Hello")])
def test_a_frame_with_and_without_a_mask(data: bytes) -> None:
    assert FrameReader().feed_untrusted(data) == [Frame(TEXT, b"Hello")]


def test_frames_byte_by_byte_and_with_what_follows() -> None:
    data = MASKED_HELLO + encode_frame(PING, b"x") + b"\x81"
    reader, frames = FrameReader(), []
    for index in range(len(data)):
        frames += reader.feed_untrusted(data[index : index + 1])

    assert frames == [Frame(TEXT, b"Hello"), Frame(PING, b"x")]
    assert FrameReader().feed_untrusted(data) == frames


@pytest.mark.parametrize("size", [0, 1, 125, 126, 4096])
def test_lengths_of_all_three_forms(size: int) -> None:
    assert FrameReader().feed_untrusted(encode_frame(TEXT, b"x" * size)) == [Frame(TEXT, b"x" * size)]


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1\x00",  # a reserved bit
        b"\x83\x00",  # a reserved opcode
        b"\x89\x7e\x00\x7e",  # a ping that is too long
        b"\x09\x00",  # a ping in pieces
        b"\x81\x7e\xff\xff",  # more than may come
        b"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
)
def test_what_is_no_frame_is_refused_before_it_is_complete(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameReader().feed_untrusted(data)


def test_a_large_frame_of_ours_has_a_long_length() -> None:
    assert encode_frame(TEXT, b"x" * 70_000)[:10] == b"\x81\x7f" + (70_000).to_bytes(8, "big")
