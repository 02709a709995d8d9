"""`aws-chunked` against the examples that AWS publishes, whole and byte by byte, and against those who cheat.

Source: docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, sigv4-streaming-trailers.html.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.s3.chunked import ChunkedDecoder, ChunkSigner
from tenantry.s3.errors import S3Error
from tenantry.s3.limits import TRAILER_BYTES_MAX
from tenantry.s3.sigv4 import signing_key

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
KEY = signing_key(SECRET, "20130524", "us-east-1")
SCOPE = "20130524/us-east-1/s3/aws4_request"
PAYLOAD = b"a" * 66_560
TRAILER = "x-amz-checksum-crc32c"


def body(*signatures: str, trailer: bytes = b"") -> bytes:
    first, second, last = (f";chunk-signature={one}" if one else "" for one in signatures)
    return b"".join(
        (
            f"10000{first}\r\n".encode(),
            PAYLOAD[:65_536],
            f"\r\n400{second}\r\n".encode(),
            PAYLOAD[65_536:],
            f"\r\n0{last}\r\n".encode(),
            trailer,
            b"\r\n",
        )
    )


SIGNED = body(
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
)
SIGNED_TRAILER = body(
    "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
    "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
    "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    trailer=b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n",
)
PLAIN = body("", "", "", trailer=b"x-amz-checksum-crc32c:sOO8/Q==\r\n")


def signer(seed: str) -> ChunkSigner:
    return ChunkSigner(KEY, "20130524T000000Z", SCOPE, seed)


def decoder(form: str, length: int = len(PAYLOAD)) -> ChunkedDecoder:
    if form == "signed":
        return ChunkedDecoder(length, signer("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"), ())
    if form == "signed trailer":
        return ChunkedDecoder(
            length, signer("106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"), [TRAILER]
        )
    return ChunkedDecoder(length, None, [TRAILER])


FORMS = {"signed": SIGNED, "signed trailer": SIGNED_TRAILER, "plain trailer": PLAIN}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [1, 7, 1000, 1_000_000])
def test_the_published_bodies_decode_in_pieces_of_any_size(form: str, step: int) -> None:
    decode, sent = decoder(form), FORMS[form]
    pieces: list[bytes] = []

    for start in range(0, len(sent), step):
        pieces += decode.feed(sent[start : start + step])
    decode.finish()

    assert b"".join(pieces) == PAYLOAD
    assert decode.values == ({} if form == "signed" else {TRAILER: "sOO8/Q=="})


def refused(form: str, sent: bytes, length: int = len(PAYLOAD)) -> str:
    def decode_all() -> None:
        decode = decoder(form, length)
        decode.feed(sent)
        decode.finish()

    with pytest.raises(S3Error) as caught:
        decode_all()
    return caught.value.name


@pytest.mark.parametrize("form", ["signed", "signed trailer"])
@pytest.mark.parametrize("position", [3, 100, 65_700, -30, -120])
def test_a_byte_that_is_changed_is_found(form: str, position: int) -> None:
    sent = bytearray(FORMS[form])
    sent[position] ^= 1

    assert refused(form, bytes(sent)) in ("SignatureDoesNotMatch", "InvalidRequest", "IncompleteBody")


def test_a_chunk_of_another_request_is_not_taken() -> None:
    decode = ChunkedDecoder(len(PAYLOAD), signer("0" * 64), ())

    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        decode.feed(SIGNED)


def test_chunks_cannot_be_dropped_or_swapped() -> None:
    second, last = SIGNED.index(b"400;"), SIGNED.index(b"0;chunk-signature=b6c6")

    assert refused("signed", SIGNED[second:]) == "SignatureDoesNotMatch"
    assert refused("signed", SIGNED[:second] + SIGNED[last:]) == "SignatureDoesNotMatch"
    assert refused("signed", SIGNED[:last]) == "IncompleteBody"


@pytest.mark.parametrize(
    ("sent", "length", "name"),
    [
        (b"", 0, "IncompleteBody"),
        (b"1\r\na\r\n", 1, "IncompleteBody"),
        (b"1\r\na\r\n0\r\nx-amz-checksum-crc32c:AA==\r\n\r\n", 2, "IncompleteBody"),
        (b"2\r\nab\r\n0\r\n\r\n", 1, "IncompleteBody"),
        (b"2\r\nabc\r\n0\r\n\r\n", 2, "InvalidRequest"),
        (b"2\nab\r\n0\r\n\r\n", 2, "InvalidRequest"),
        (b"-1\r\n", 1, "InvalidRequest"),
        (b"0x1\r\na\r\n", 1, "InvalidRequest"),
        (b"\r\n", 1, "InvalidRequest"),
        (b"1;chunk-signature=" + b"0" * 64 + b"\r\na\r\n", 1, "InvalidRequest"),
        (b"f" * 16 + b"\r\n", 1, "IncompleteBody"),
        (b"f" * 17 + b"\r\n", 1, "InvalidRequest"),
        (b"1" * 100_000, 1, "InvalidRequest"),
        (b"0\r\n\r\n", 0, "InvalidRequest"),
        (b"0\r\nx-amz-checksum-crc32c:AA==\r\nx-amz-checksum-crc32c:AA==\r\n\r\n", 0, "InvalidRequest"),
        (b"0\r\nx-amz-checksum-crc32c:AA==\r\nhost:evil\r\n\r\n", 0, "InvalidRequest"),
        (b"0\r\nno colon\r\n\r\n", 0, "InvalidRequest"),
        (b"0\r\n" + b"x" * (TRAILER_BYTES_MAX + 1), 0, "InvalidRequest"),
    ],
)
def test_a_body_of_a_wrong_form_is_refused(sent: bytes, length: int, name: str) -> None:
    assert refused("plain trailer", sent, length) == name


@given(st.binary(max_size=400), st.integers(0, 400), st.sampled_from(sorted(FORMS)), st.integers(1, 50))
def test_any_bytes_give_a_payload_or_one_clean_error(sent: bytes, length: int, form: str, step: int) -> None:
    decode = decoder(form, length)
    pieces: list[bytes] = []
    try:
        for start in range(0, len(sent), step):
            pieces += decode.feed(sent[start : start + step])
        decode.finish()
    except S3Error:
        assert sum(map(len, pieces)) <= length
        return
    assert sum(map(len, pieces)) == length


@given(st.binary(min_size=1, max_size=2000), st.lists(st.integers(1, 300), max_size=8), st.integers(1, 40))
def test_any_payload_in_any_chunks_comes_out_as_it_went_in(data: bytes, sizes: list[int], step: int) -> None:
    sent, left = b"", data
    for size in [*sizes, len(data)]:
        chunk, left = left[:size], left[size:]
        if chunk:
            sent += f"{len(chunk):X}\r\n".encode() + chunk + b"\r\n"
    sent += b"0\r\nX-Amz-Checksum-Crc32c: AAAAAA==\r\n\r\n"
    decode = decoder("plain trailer", len(data))

    pieces = [piece for start in range(0, len(sent), step) for piece in decode.feed(sent[start : start + step])]
    decode.finish()

    assert b"".join(pieces) == data
