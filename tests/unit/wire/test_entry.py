"""What the host says of a call that it passes on, in front of the arguments of its caller."""

from __future__ import annotations

import pytest

from tenantry.errors import ProtocolError
from tenantry.wire.entry import Entry, enter, pack_entry, split_entry
from tenantry.wire.events import InvocationKind
from tenantry.wire.limits import ENTRY_BYTES_MAX, TERMS_BYTES_MAX
from tenantry.wire.values import DataCloneError, encode

ARGUMENTS = encode(["color", {"a": b"1"}])


@pytest.mark.parametrize("kind", [InvocationKind.FETCH, InvocationKind.RPC])
@pytest.mark.parametrize(
    "entry",
    [Entry(), Entry("Admin", {"tenant": "acme", "plan": {"limits": [1, 2.5, None, True]}}), Entry(env={"a": [1]})],
    ids=["nothing", "an entrypoint with properties", "an environment"],
)
def test_what_is_put_in_front_comes_off_again(kind: InvocationKind, entry: Entry) -> None:
    assert split_entry(enter(kind), pack_entry(entry) + ARGUMENTS) == (entry, kind, ARGUMENTS)


@pytest.mark.parametrize("kind", [kind for kind in InvocationKind if not kind.name.startswith("ENTRY")])
def test_arguments_alone_stay_what_they_are(kind: InvocationKind) -> None:
    forged = pack_entry(Entry("Admin")) + ARGUMENTS
    assert split_entry(kind, forged) == (None, kind, forged)


def test_no_worker_process_can_start_a_call_with_an_entry() -> None:
    """The host closes the channel on every kind behind RPC."""
    assert min(enter(InvocationKind.FETCH), enter(InvocationKind.RPC)) > InvocationKind.RPC


def test_parameters_of_the_largest_terms_have_room() -> None:
    text = "x" * (TERMS_BYTES_MAX - 64)
    assert split_entry(InvocationKind.ENTRY_FETCH, pack_entry(Entry("Out", env={"a": text})))[0] == Entry(
        "Out", env={"a": text}
    )
    with pytest.raises(DataCloneError):
        pack_entry(Entry(props={"a": "x" * ENTRY_BYTES_MAX}))


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\5abc", b"\xff\xff\xff\xff" + ARGUMENTS])
def test_what_is_cut_off_is_no_entry(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        split_entry(InvocationKind.ENTRY_RPC, payload)
