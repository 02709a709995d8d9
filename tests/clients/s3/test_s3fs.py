"""s3fs, and with it pandas, dask and everything else on fsspec."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import fsspec
import pytest


@pytest.fixture
def files(endpoint: Any) -> Iterator[Any]:
    found = fsspec.filesystem(
        "s3",
        key=endpoint.admin.id,
        secret=endpoint.admin.secret,
        endpoint_url=endpoint.url,
        client_kwargs={"region_name": "auto"},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    yield found
    # Its session is closed by a finalizer that warns; here, while its loop is there.
    fsspec.asyn.sync(found.loop, found._s3creator.__aexit__, None, None, None)


def test_files_folders_and_ranges(files: Any, bucket: str) -> None:
    data = os.urandom(11 * 1024 * 1024)

    with files.open(f"{bucket}/folder/big.bin", "wb", block_size=5 * 1024 * 1024) as file:
        file.write(data)
    files.pipe_file(f"{bucket}/folder/small ü.txt", b"hello")
    with files.open(f"{bucket}/folder/big.bin", "rb") as file:
        file.seek(6 * 1024 * 1024)
        middle = file.read(1000)

    assert middle == data[6 * 1024 * 1024 :][:1000]
    assert files.cat_file(f"{bucket}/folder/small ü.txt") == b"hello"
    assert sorted(files.ls(f"{bucket}/folder", detail=False)) == [
        f"{bucket}/folder/big.bin",
        f"{bucket}/folder/small ü.txt",
    ]
    assert files.info(f"{bucket}/folder/big.bin")["size"] == len(data)
    files.copy(f"{bucket}/folder/big.bin", f"{bucket}/copy.bin")
    files.mv(f"{bucket}/copy.bin", f"{bucket}/moved.bin")
    assert files.cat_file(f"{bucket}/moved.bin") == data
    assert not files.exists(f"{bucket}/copy.bin")
    files.rm(f"{bucket}/folder", recursive=True)
    assert files.find(bucket) == [f"{bucket}/moved.bin"]
