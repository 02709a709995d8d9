"""obstore: the `object_store` crate, on which much of the Rust data world is built."""

from __future__ import annotations

import os
from typing import Any

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store


def store_of(endpoint: Any, bucket: str, **config: Any) -> S3Store:
    return S3Store(
        bucket,
        endpoint=endpoint.url,
        access_key_id=endpoint.admin.id,
        secret_access_key=endpoint.admin.secret,
        region="auto",
        client_options={"allow_http": True},
        **config,
    )


def test_objects_parts_ranges_and_listings(endpoint: Any, bucket: str) -> None:
    store = store_of(endpoint, bucket)
    data = os.urandom(11 * 1024 * 1024)

    obstore.put(store, "a b/ü.txt", b"hello", attributes={"Content-Type": "text/plain", "note": "one"})
    obstore.put(store, "big.bin", data, chunk_size=5 * 1024 * 1024, max_concurrency=2)
    got = obstore.get(store, "a b/ü.txt")

    assert bytes(got.bytes()) == b"hello"
    assert got.attributes["Content-Type"] == "text/plain"
    assert got.attributes["note"] == "one"
    assert bytes(obstore.get_range(store, "big.bin", start=6_000_000, length=1000)) == data[6_000_000:6_001_000]
    assert bytes(obstore.get(store, "big.bin").bytes()) == data
    assert sorted(entry["path"] for entry in obstore.list(store).collect()) == ["a b/ü.txt", "big.bin"]
    folders = obstore.list_with_delimiter(store)
    assert (folders["common_prefixes"], [entry["path"] for entry in folders["objects"]]) == (["a b"], ["big.bin"])
    obstore.copy(store, "big.bin", "copy.bin")
    assert obstore.head(store, "copy.bin")["size"] == len(data)
    obstore.delete(store, ["big.bin", "copy.bin", "a b/ü.txt"])
    assert obstore.list(store).collect() == []


def test_a_put_that_must_not_replace(endpoint: Any, bucket: str) -> None:
    store = store_of(endpoint, bucket)
    obstore.put(store, "once", b"1", mode="create")

    with pytest.raises(AlreadyExistsError):
        obstore.put(store, "once", b"2", mode="create")


def test_a_checksum_and_unsigned_payloads(endpoint: Any, bucket: str) -> None:
    store = store_of(endpoint, bucket, checksum_algorithm="SHA256", unsigned_payload=True)

    obstore.put(store, "k", b"hello", use_multipart=False)

    assert bytes(obstore.get(store, "k").bytes()) == b"hello"
