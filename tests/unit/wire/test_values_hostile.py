"""Payloads from a hostile peer: a value or a ProtocolError, for little time and little memory."""

from __future__ import annotations

import pickle
import struct
import tracemalloc

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tenantry.errors import ProtocolError
from tenantry.wire.limits import BIGINT_BYTES_MAX, PAYLOAD_BYTES_MAX, VALUE_ITEMS_MAX
from tenantry.wire.shape import FEW_TAGS, check_shape_untrusted
from tenantry.wire.values import BlobValue, FormDataValue, RequestValue, decode_untrusted, encode

BIGINT, SET, ERROR, REQUEST, RESPONSE, HEADERS, FORM_DATA, BLOB, STREAM, STUB, DATE = range(1, 12)
PADDING = b"\xc4\xff" + b"\x90" * 255
"""A value with which a payload is looked at: bytes that could all be tags, and are none."""

pack = msgspec.msgpack.encode


def ext(code: int, data: bytes) -> bytes:
    return b"\xc9" + struct.pack(">IB", len(data), code) + data


def array(*items: bytes) -> bytes:
    return b"\xdd" + struct.pack(">I", len(items)) + b"".join(items)


def mapping(*items: bytes) -> bytes:
    return b"\xdf" + struct.pack(">I", len(items) // 2) + b"".join(items)


def colliding(index: int) -> bytes:
    """An integer whose hash is 0, whatever the index."""
    return ext(BIGINT, ((2**61 - 1) * (index + 1) << 61).to_bytes(20, "little"))


REFUSED = {
    "nothing": b"",
    "a claimed huge array": b"\xdd\xff\xff\xff\xff",
    "a claimed huge array of a few": b"\xdd\xff\xff\xff\xff" + bytes(300),
    "a claimed huge map": b"\xdf\xff\xff\xff\xff" + bytes(300),
    "a claimed huge text": b"\xdb\xff\xff\xff\xff" + bytes(300),
    "claimed huge bytes": b"\xc6\xff\xff\xff\xff" + bytes(300),
    "a claimed huge extension": b"\xc9\xff\xff\xff\xff\x02" + bytes(300),
    "huge arrays in huge arrays": b"\xdd\x00\x00\xff\xff" * 100,
    "deep lists": b"\x91" * 100_000,
    "deep maps": b"\x81\xa1a" * 100_000,
    "deep lists that end": b"\x91" * 100_000 + b"\xc0",
    "deep extensions": b"\xc0",
    "trailing bytes": b"\xc0\xc0",
    "trailing bytes after a long value": PADDING + b"\xc0",
    "a value that ends early": b"\x92\xc0",
    "a long value that ends early": PADDING[:-1],
    "the tag that msgpack never uses": b"\xc1",
    "the tag that msgpack never uses, later": array(PADDING, b"\xc1"),
    "a text that is not UTF-8": b"\xa1\xff",
    "a text with a surrogate": b"\xa3\xed\xa0\x80",
    "a key that is not UTF-8": b"\x81\xa1\xff\xc0",
    "a list as a key": mapping(b"\x91\xc0", PADDING),
    "a map as a key": b"\x81\x80\xc0",
    "a list with a map in it as a key": b"\x81\x91\x80\xc0",
    "nil as a key": mapping(b"\xc0", PADDING),
    "bytes as a key": mapping(b"\xc4\x01a", PADDING),
    "a float as a key": mapping(pack(1.5), PADDING),
    "true as a key": mapping(b"\xc3", PADDING),
    "an extension as a key": mapping(colliding(1), PADDING),
    "a bad key after a good one": mapping(b"\xa1a", PADDING, b"\xc0", b"\xc0"),
    "a bad key deep inside": array(mapping(b"\x01", mapping(b"\x91\xc0", PADDING))),
    "a bad key in the cf of a request": ext(
        REQUEST,
        pack(["GET", "", [], None, ""])[:-1].replace(b"\x95", b"\x96", 1) + b"\xa0" + mapping(b"\x91\xc0", PADDING),
    ),
    "an extension of unknown code": b"\xd4\x63\x00",
    "an extension of code 0": b"\xd4\x00\x00",
    "an extension of negative code": b"\xd4\x80\x00",
    "a long extension of unknown code": ext(99, PADDING),
    "an integer that is too long": ext(BIGINT, bytes(BIGINT_BYTES_MAX + 1)),
    "a set that is a map": ext(SET, b"\x80"),
    "a set that is an integer": ext(SET, b"\x05"),
    "an empty set extension": ext(SET, b""),
    "a set with trailing bytes": ext(SET, b"\x90\xc0"),
    "a long set with trailing bytes": ext(SET, array(PADDING) + b"\xc0"),
    "a long set that is longer than its extension": b"\xc9\x00\x00\x00\x10\x02" + array(PADDING),
    "a list in a set": ext(SET, b"\x91\x90"),
    "a map in a set": ext(SET, b"\x91\x80"),
    "a set in a set": ext(SET, array(ext(SET, b"\x90"))),
    "a large integer in a set": ext(SET, array(colliding(1))),
    "a date that is a text": ext(DATE, b"\xa0"),
    "a date that is nil": ext(DATE, b"\xc0"),
    "a date that is true": ext(DATE, b"\xc3"),
    "a date that is a fraction": ext(DATE, pack(1.5)),
    "a date that is not a number": ext(DATE, pack(float("nan"))),
    "a date at infinity": ext(DATE, pack(float("inf"))),
    "a date before the year 1": ext(DATE, pack(-(2**63))),
    "a date after the year 9999": ext(DATE, pack(2**64 - 1)),
    "an empty date": ext(DATE, b""),
    "an error without a message": ext(ERROR, pack(["Error"])),
    "an error with a field more": ext(ERROR, pack(["Error", "", ""])),
    "an error that is a map": ext(ERROR, pack({"name": "a", "message": "b"})),
    "an error that is not msgpack": ext(ERROR, b"\xc1"),
    "headers that are a map": ext(HEADERS, pack([{"a": "b"}])),
    "headers with one text to a pair": ext(HEADERS, pack([[["a"]]])),
    "headers with three texts to a pair": ext(HEADERS, pack([[["a", "b", "c"]]])),
    "headers of bytes": ext(HEADERS, pack([[[b"a", b"b"]]])),
    "a request without fields": ext(REQUEST, b"\x90"),
    "a request whose body is a text": ext(REQUEST, pack(["GET", "", [], "text"])),
    "a request with a field more": ext(REQUEST, pack(["GET", "", [], None, "", None, None])),
    "a response whose status is a text": ext(RESPONSE, pack(["200", []])),
    "a form whose entry is a number": ext(FORM_DATA, pack([[["a", 1]]])),
    "a form whose blob has a bad body": ext(FORM_DATA, pack([[["a", [None, 0]]]])),
    "a blob without a size": ext(BLOB, pack([b""])),
    "a blob of fractional size": ext(BLOB, pack([b"", 0.5])),
    "a stream of nothing": ext(STREAM, pack([None])),
    "a stub that is a text": ext(STUB, pack(["0"])),
    "a stub that is true": ext(STUB, pack([True])),
    "a pickle": pickle.dumps({"a": [1, 2, 3]}),
    "a long pickle": pickle.dumps(list(range(1000))),
}
nested_extension = b"\x90"
for _ in range(2_000):
    nested_extension = ext(SET, nested_extension)
REFUSED["deep extensions"] = nested_extension


@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED.keys())
def test_a_payload_that_no_honest_peer_sends_is_refused(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_untrusted(payload)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x91" * 1000, "a payload that is nested too deeply"),
        (b"\xdd\xff\xff\xff\xff" + PADDING, "a payload of too many items"),
        (array(PADDING, b"\xc1"), "a payload with an unknown tag"),
        (array(PADDING, b"\x91"), "a payload that ends early"),
        (mapping(b"\xc0", PADDING), "a key that is neither a string nor an integer"),
        (ext(SET, array(PADDING) + b"\xc0"), "an extension that does not hold one value"),
        (b"\xc1", "a payload that cannot be read: DecodeError"),
        (ext(STUB, pack(["0"])), "a payload that cannot be read: ValidationError"),
    ],
)
def test_a_refusal_says_what_was_wrong_and_nothing_of_this_side(payload: bytes, message: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_untrusted(payload)
    assert str(caught.value) == message


def peak_bytes(payload: bytes) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            decode_untrusted(payload)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "item", [b"\x90", b"\x80", b"\xc0", b"\xd4\x01\x00"], ids=["lists", "maps", "nils", "integers"]
)
def test_a_payload_of_the_largest_size_does_not_become_gigabytes(item: bytes) -> None:
    count = PAYLOAD_BYTES_MAX // len(item) - 5
    assert peak_bytes(b"\xdd" + struct.pack(">I", count) + item * count) < 100_000


def test_headers_of_empty_pairs_do_not_become_gigabytes() -> None:
    count = PAYLOAD_BYTES_MAX // 4
    headers = ext(HEADERS, b"\x91\xdd" + struct.pack(">I", count) + b"\x92\xa0\xa0" * count)
    assert peak_bytes(headers) < 100_000


def test_many_small_lists_together_are_too_many_items() -> None:
    inner = b"\x9f" + b"\xc0" * 15
    count = VALUE_ITEMS_MAX // 16 + 1
    assert peak_bytes(b"\xdd" + struct.pack(">I", count) + inner * count) < 100_000


def test_keys_and_items_whose_hashes_collide_are_refused_before_any_is_hashed() -> None:
    # 50,000 of them in one dict or set would take minutes.
    numbers = [colliding(index) for index in range(50_000)]
    with pytest.raises(ProtocolError, match="a key that is neither"):
        decode_untrusted(mapping(*(part for number in numbers for part in (number, b"\xc0"))))
    with pytest.raises(ProtocolError, match="cannot be read: ValueError"):
        decode_untrusted(ext(SET, array(*numbers)))


def test_more_strange_keys_than_a_few_are_refused_in_the_shortest_payload() -> None:
    keys = [pack(float(index)) for index in range(FEW_TAGS)]
    with pytest.raises(ProtocolError, match="a key that is neither"):
        check_shape_untrusted(mapping(*(part for key in keys for part in (key, b"\xc0"))))
    with pytest.raises(ProtocolError, match="nested too deeply"):
        check_shape_untrusted(b"\x91" * 250 + b"\xc0")


@pytest.mark.parametrize(
    "value",
    [
        {"a" * 300: [1, {"b": b"c" * 70_000}], 5: "d" * 70_000, -(2**63): {2**64 - 1: None}},
        [0.5, -1, 200, 70_000, 2**40, -200, -70_000, -(2**40), 2**70, -(2**2000), "é" * 300, None, True],
        {"a" * index for index in range(300)},
        FormDataValue([(f"name {index}", BlobValue(b"x" * index, index)) for index in range(300)]),
        RequestValue("GET", "http://a/" + "b" * 300, [("c", "d")] * 20, b"e" * 70_000, cf={"f": {1, 2}, "g": 2**70}),
        [[[[list(range(20))] * 20] * 5]],
        {str(index): {"n": index} for index in range(70_000)},
    ],
)
def test_the_look_before_decoding_lets_every_honest_payload_through(value: object) -> None:
    payload = encode([value, PADDING])
    check_shape_untrusted(payload)
    decode_untrusted(payload)


msgpack_like = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=8),
        st.binary(max_size=8),
    ).map(lambda value: msgspec.msgpack.encode(value) if not isinstance(value, str) else pack(value)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(lambda items: array(*items)),
        st.lists(inner, max_size=6).map(lambda items: mapping(*items[: len(items) // 2 * 2])),
        st.tuples(st.integers(0, 13), inner).map(lambda pair: ext(*pair)),
    ),
    max_leaves=20,
)


@given(st.one_of(st.binary(max_size=400), msgpack_like), st.booleans())
@example(b"", True)
def test_any_bytes_give_a_value_or_a_protocol_error(payload: bytes, long: bool) -> None:
    if long:
        payload = array(payload, PADDING)
    try:
        decode_untrusted(payload)
    except ProtocolError:
        return


@given(msgpack_like, st.data())
def test_a_mutated_payload_gives_a_value_or_a_protocol_error(payload: bytes, data: st.DataObject) -> None:
    mutated = bytearray(array(payload, PADDING))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(payload) + 7))] = data.draw(st.integers(0, 255))
    try:
        decode_untrusted(bytes(mutated))
    except ProtocolError:
        return
