"""Values: everything on the list of structured clone comes out as it went in, and what cannot cross says why."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, UserDict
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import ProtocolError
from tenantry.wire.limits import BIGINT_BYTES_MAX, PAYLOAD_BYTES_MAX, VALUE_DEPTH_MAX, VALUE_ITEMS_MAX
from tenantry.wire.values import (
    BlobValue,
    DataCloneError,
    ErrorValue,
    FormDataValue,
    HeadersValue,
    RequestValue,
    ResponseValue,
    StreamValue,
    Struct,
    StubValue,
    capability,
    decode_untrusted,
    encode,
)

BIGINT_BITS = 8 * BIGINT_BYTES_MAX - 1

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
moments = st.datetimes(timezones=st.just(UTC))
integers = st.one_of(st.integers(-(2**80), 2**80), st.integers(-(2**BIGINT_BITS) + 1, 2**BIGINT_BITS - 1))
members = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), texts, st.binary(max_size=12), moments
)
pairs = st.lists(st.tuples(texts, texts), max_size=4)
indexes = st.integers(0, 4096)
bodies = st.one_of(st.binary(max_size=12), indexes)
blobs = st.builds(BlobValue, bodies, st.integers(0, 2**53), texts, st.none() | texts, st.integers(0, 2**53))
plain = st.recursive(
    st.one_of(members, integers, st.sets(members, max_size=4)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts | st.integers(-(2**63), 2**64 - 1), inner, max_size=4)
    ),
    max_leaves=12,
)
structs = st.one_of(
    st.builds(ErrorValue, texts, texts),
    st.builds(HeadersValue, pairs),
    st.builds(RequestValue, texts, texts, pairs, st.none() | bodies, texts, plain),
    st.builds(ResponseValue, st.integers(0, 999), pairs, st.none() | bodies, texts, texts, st.booleans()),
    blobs,
    st.builds(FormDataValue, st.lists(st.tuples(texts, texts | blobs), max_size=4)),
    st.builds(StreamValue, bodies),
    st.builds(StubValue, indexes),
)
values = st.recursive(
    plain | structs,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=6,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: True is not 1, 1 is not 1.0, and NaN is NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (
            one == other and math.copysign(1, one) == math.copysign(1, other)
        )
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set):
        return len(one) == len(other) and all(any(same(item, match) for match in other) for item in one)
    if isinstance(one, Struct):
        return all(same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__)
    return bool(one == other)


def round_trip(value: Any) -> Any:
    return decode_untrusted(encode(value))


@given(values)
def test_every_value_comes_out_as_it_went_in(value: Any) -> None:
    assert same(round_trip(value), value)


@pytest.mark.parametrize(
    "value",
    [
        0,
        -(2**63),
        2**64 - 1,
        2**64,
        -(2**63) - 1,
        2**BIGINT_BITS - 1,
        -(2**BIGINT_BITS) + 1,
        -0.0,
        math.inf,
        -math.inf,
        math.nan,
        "",
        "\0",
        "\U0010ffff",
        b"",
        [],
        {},
        set(),
        {"": [], 0: {}, -1: set(), 2**64 - 1: None},
        {None, True, 2, 0.5, "a", b"a", datetime(2024, 2, 29, tzinfo=UTC)},
        datetime.min.replace(tzinfo=UTC),
        datetime.max.replace(tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(9000, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        RequestValue("GET", "http://a", [], cf={"big": 2**70, "when": datetime(2024, 1, 1, tzinfo=UTC), "set": {1}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_at_the_edge(value: Any) -> None:
    assert same(round_trip(value), value)


class Color(str, enum.Enum):  # noqa: UP042 - the old spelling is the trap: str() of a member is its name
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 3


class Ratio(float, enum.Enum):
    HALF = 0.5


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (Color.RED, "red"),
        (Size.LARGE, 3),
        (Ratio.HALF, 0.5),
        ({Color.RED: Color.RED, Size.LARGE: Size.LARGE}, {"red": "red", 3: 3}),
        ({True: 1}, {1: 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (type("Items", (list,), {})([1, [2]]), [1, [2]]),
        (frozenset({1, 2}), {1, 2}),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - the case is a naive one
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2023, 12, 31, 22, tzinfo=UTC)),
    ],
)
def test_a_subclass_crosses_as_what_it_is_a_kind_of(sent: Any, received: Any) -> None:
    assert same(round_trip(sent), received)


class Nowhere(tzinfo):
    def utcoffset(self, _: datetime | None) -> None:
        return None


def test_a_zone_without_an_offset_is_utc_too() -> None:
    assert round_trip(datetime(2024, 1, 1, tzinfo=Nowhere())) == datetime(2024, 1, 1, tzinfo=UTC)


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


def refused(kind: str) -> str:
    return f'Could not serialize object of type "{kind}". This type does not support serialization.'


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (object(), refused("object")),
        ((1, 2), refused("tuple")),
        ([{"a": (1, 2)}], refused("tuple")),
        (len, refused("builtin_function_or_method")),
        (Decimal(1), refused("Decimal")),
        (date(2024, 1, 1), refused("date")),
        (bytearray(b"a"), refused("bytearray")),
        (1j, refused("complex")),
        (UserDict(), refused("UserDict")),
        ({None: 1}, 'A dict with a key of type "NoneType" could not be cloned: use str.'),
        ({1.5: 1}, 'A dict with a key of type "float" could not be cloned: use str.'),
        ({b"a": 1}, 'A dict with a key of type "bytes" could not be cloned: use str.'),
        ({(1, 2): 1}, 'A dict with a key of type "tuple" could not be cloned: use str.'),
        ({2**64: 1}, 'A dict with a key of type "int" could not be cloned: use str.'),
        ({frozenset({1})}, 'A set with an item of type "frozenset" could not be cloned.'),
        ({2**64}, 'A set with an item of type "int" could not be cloned.'),
        ({(1, 2)}, refused("tuple")),
        (2**BIGINT_BITS, "An integer of 8,192 bits or more could not be cloned."),
        (-(2**BIGINT_BITS), "An integer of 8,192 bits or more could not be cloned."),
        ("\ud800", "A str with a lone surrogate could not be cloned."),
        ({"\udfff": 1}, "A str with a lone surrogate could not be cloned."),
        (ErrorValue("Error", "\ud800"), "A str with a lone surrogate could not be cloned."),
        (RequestValue("GET", "", [], cf=(1,)), refused("tuple")),
        (RequestValue("GET", "", [], cf=object()), refused("object")),
        (nested(VALUE_DEPTH_MAX + 1), "A value nested more than 200 deep could not be cloned."),
        (
            datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
            "A datetime that is outside of the years 1 to 9999 in UTC could not be cloned.",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_cross_says_why(value: Any, message: str) -> None:
    with pytest.raises(DataCloneError) as caught:
        encode(value)
    assert str(caught.value) == message


def test_a_value_that_contains_itself_is_too_deep() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(DataCloneError, match="nested"):
        encode(value)


def test_a_stack_that_is_nearly_used_up_is_a_refusal_too() -> None:
    def deeper() -> None:
        try:
            deeper()
        except RecursionError:
            encode(nested(VALUE_DEPTH_MAX))
            raise

    with pytest.raises(DataCloneError, match="stack"):
        deeper()


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: {1: [inner]}])
@pytest.mark.parametrize(
    "innermost", [set(), {1}, FormDataValue([("a", BlobValue(b"a", 1))]), RequestValue("GET", "", [("a", "b")])]
)
def test_what_is_as_deep_as_can_be_sent_can_be_received(wrap: Any, innermost: Any) -> None:
    value, depth = innermost, 1
    while True:
        deeper = wrap(value)
        try:
            payload = encode(deeper)
        except DataCloneError:
            break
        value, depth = deeper, depth + 1
        assert same(decode_untrusted(payload), value)
    assert depth >= VALUE_DEPTH_MAX // 2 - 1


def test_a_value_of_the_largest_size_passes_and_one_byte_more_says_how_large_it_was() -> None:
    largest = bytes(PAYLOAD_BYTES_MAX - 5)
    assert len(decode_untrusted(encode(largest))) == len(largest)
    with pytest.raises(DataCloneError) as caught:
        encode(largest + b"x")
    assert str(caught.value) == (
        "Serialized RPC arguments or return values are limited to 32MiB, "
        f"but the size of this value was: {PAYLOAD_BYTES_MAX + 1} bytes."
    )


def test_a_value_of_as_many_items_as_are_allowed_passes_and_one_more_does_not() -> None:
    assert len(decode_untrusted(encode([None] * (VALUE_ITEMS_MAX - 1)))) == VALUE_ITEMS_MAX - 1
    with pytest.raises(DataCloneError, match=r"^A value of more than 1,048,576 items could not be cloned\.$"):
        encode([None] * VALUE_ITEMS_MAX)


def test_an_object_of_the_callers_own_is_converted() -> None:
    class Function:
        pass

    first, second = Function(), Function()
    exported: list[Any] = []

    def convert(value: Any) -> Any:
        if not isinstance(value, Function):
            raise DataCloneError("no")
        exported.append(value)
        return StubValue(len(exported) - 1)

    decoded = decode_untrusted(encode({"a": [first, 1], "b": second}, convert))
    assert exported == [first, second]
    assert (decoded["a"][0].capability, decoded["b"].capability) == (0, 1)
    with pytest.raises(DataCloneError, match=r"^no$"):
        encode([object()], convert)


def test_a_set_takes_what_convert_made_only_where_the_other_side_can_hash_it() -> None:
    assert isinstance(decode_untrusted(encode({object()}, lambda _: StubValue(0))).pop(), StubValue)
    with pytest.raises(DataCloneError, match="A set with an item"):
        encode({object()}, lambda _: [])


def test_an_endless_convert_ends() -> None:
    with pytest.raises(DataCloneError, match="nested"):
        encode(object(), lambda _: object())


@pytest.mark.parametrize("index", [-1, 2, 2**40, True, "0", b"x", None, 0.0])
def test_a_payload_cannot_name_a_capability_that_was_not_sent(index: Any) -> None:
    with pytest.raises(ProtocolError, match="names a capability that was not sent"):
        capability(index, ["a", "b"])


def test_a_payload_names_a_capability_by_its_index() -> None:
    assert capability(1, ["a", "b"]) == "b"
