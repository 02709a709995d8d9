"""Terms go in front of the arguments and come off again; nothing hostile in them does anything else than fail."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.errors import ProtocolError
from tenantry.wire.limits import TERMS_BYTES_MAX
from tenantry.wire.terms import pack_terms, split_terms_untrusted
from tenantry.wire.values import DataCloneError, RequestValue, StubValue, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.binary())
def test_what_was_put_in_front_comes_off(terms: dict[str, object], arguments: bytes) -> None:
    assert split_terms_untrusted(pack_terms(terms) + arguments) == (terms, arguments)


@given(st.binary())
def test_any_bytes_are_terms_or_a_protocol_error(payload: bytes) -> None:
    try:
        terms, rest = split_terms_untrusted(payload)
    except ProtocolError:
        return
    assert isinstance(terms, dict)
    assert payload.endswith(rest)


@pytest.mark.parametrize(
    "value", [StubValue(0), [StubValue(0)], {"a": RequestValue("GET", "http://a.b/", [])}, {1, 2}, object()]
)
def test_only_plain_values_are_sent(value: object) -> None:
    with pytest.raises(DataCloneError):
        pack_terms({"outbound": value})


@pytest.mark.parametrize("value", [[1], {"outbound": StubValue(0)}, {"outbound": {"a": [StubValue(3)]}}, {"a": {1}}])
def test_only_plain_values_are_taken(value: object) -> None:
    packed = encode(value)
    with pytest.raises(ProtocolError):
        split_terms_untrusted(len(packed).to_bytes(4, "big") + packed)


def test_they_are_bounded() -> None:
    with pytest.raises(DataCloneError):
        pack_terms({"a": "x" * TERMS_BYTES_MAX})
    packed = encode({"a": "x" * TERMS_BYTES_MAX})
    with pytest.raises(ProtocolError):
        split_terms_untrusted(len(packed).to_bytes(4, "big") + packed)
