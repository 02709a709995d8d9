"""Checksums against published check values, and joined without their bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry.services.r2.checksums import CHECKSUM_BYTES, FULL_OBJECT, digest_of, hasher, join_checksums

# reveng.sourceforge.io/crc-catalogue: the CRC of the ASCII text "123456789".
CHECK = {"crc32": "cbf43926", "crc32c": "e3069283", "crc64nvme": "ae8b14860a799888"}


@pytest.mark.parametrize("name", CHECK)
def test_a_crc_has_its_published_check_value(name: str) -> None:
    assert digest_of(name, b"123456789").hex() == CHECK[name]


@pytest.mark.parametrize("name", CHECKSUM_BYTES)
def test_a_digest_in_pieces_is_that_of_the_whole(name: str) -> None:
    digest = hasher(name)
    for piece in (b"1234", memoryview(b"56"), bytearray(b"789"), b""):
        digest.update(piece)

    assert digest.digest() == digest_of(name, b"123456789")
    assert len(digest.digest()) == CHECKSUM_BYTES[name]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=6))
def test_the_checksum_of_parts_that_are_joined_is_that_of_the_whole(parts: list[bytes]) -> None:
    for name in FULL_OBJECT:
        joined = join_checksums(name, [(digest_of(name, part), len(part)) for part in parts])

        assert joined == digest_of(name, b"".join(parts))


def test_the_others_are_checksums_of_checksums() -> None:
    parts = [(hashlib.sha256(part).digest(), len(part)) for part in (b"one", b"two")]

    assert join_checksums("sha256", parts) == hashlib.sha256(parts[0][0] + parts[1][0]).digest()
