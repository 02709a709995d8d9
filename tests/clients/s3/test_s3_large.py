"""boto3 and REST with objects that are larger than memory should be: 5 GiB in `make large`, a little in `make test`.

None of it is on a disk but in the bucket: a body is made as it is sent, and only its digest is kept of what comes back.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError

from tenantry.services.r2.limits import PART_BYTES_MIN, PUT_BYTES_MAX

MIB = 1024 * 1024
OBJECT_BYTES = int(os.environ.get("R2_OBJECT_BYTES", str(16 * MIB)))
PARTS = 4
PART_BYTES = max(PART_BYTES_MIN, OBJECT_BYTES // PARTS)
ONE_PUT_BYTES = min(OBJECT_BYTES, PUT_BYTES_MAX)
GROWTH_BYTES_MAX = 32 * MIB
"""Half of the budget that the design allows for a slow upload of 5 GB."""

pytestmark = pytest.mark.slow


class Generated:
    """A file that is nowhere: it can be read again from any place, as a client does that signs what it sends."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._block = os.urandom(MIB)
        self._place = 0

    def read(self, size: int | None = None) -> bytes:
        left = self._size - self._place
        start = self._place % MIB
        piece = self._block[start : start + min(left, MIB if size is None or size < 0 else size)]
        self._place += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read():
            yield piece

    def digest(self) -> bytes:
        self.seek(0)
        digest = hashlib.md5()
        for piece in self:
            digest.update(piece)
        self.seek(0)
        return digest.digest()


class Peak:
    """By how much the memory of a process grows at most, from here on."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text("5")
        self._start = self._read("VmRSS")

    def _read(self, field: str) -> int:
        match = re.search(rf"{field}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def growth(self) -> int:
        return self._read("VmHWM") - self._start


def digest_of(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.md5()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


@pytest.fixture
def warm(endpoint: Any, s3: Any, bucket: str) -> Iterator[Peak]:
    """The host's memory after something small took each way, and its bound at the end."""
    s3.put_object(Bucket=bucket, Key="warm", Body=bytes(6 * MIB))
    s3.get_object(Bucket=bucket, Key="warm")["Body"].read()
    peak = Peak(endpoint.pid)
    yield peak
    for found in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=found["Key"])
    assert peak.growth() < GROWTH_BYTES_MAX


def say(what: str, peak: Peak) -> None:
    print(f"{what}: the host grew by {peak.growth() / MIB:.1f} MiB at most")


def test_a_large_object_comes_in_parts_and_goes_whole_with_flat_memory(s3: Any, bucket: str, warm: Peak) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="large")["UploadId"]
    parts, digests, whole = [], b"", hashlib.md5()
    for number in range(1, PARTS + 1):
        body = Generated(PART_BYTES if number < PARTS else max(1, OBJECT_BYTES - PART_BYTES * (PARTS - 1)))
        for piece in body:
            whole.update(piece)
        digests += body.digest()
        sent = s3.upload_part(Bucket=bucket, Key="large", UploadId=upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    made = s3.complete_multipart_upload(Bucket=bucket, Key="large", UploadId=upload, MultipartUpload={"Parts": parts})
    assert made["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-{PARTS}"'
    got = s3.get_object(Bucket=bucket, Key="large")
    assert got["ContentLength"] == OBJECT_BYTES
    assert digest_of(got["Body"].iter_chunks(MIB)) == whole.digest()
    say(f"S3, {OBJECT_BYTES / MIB:.0f} MiB in {PARTS} parts, and back", warm)


def test_a_single_put_is_as_large_as_it_may_be_and_no_larger(endpoint: Any, s3: Any, bucket: str, warm: Peak) -> None:
    body = Generated(ONE_PUT_BYTES)
    made = s3.put_object(Bucket=bucket, Key="large", Body=body)
    assert made["ETag"] == f'"{body.digest().hex()}"'
    assert s3.head_object(Bucket=bucket, Key="large")["ContentLength"] == ONE_PUT_BYTES

    # One byte more is refused for what its header says, before any of it was sent.
    url = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "larger"}))
    head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nhost: {url.netloc}\r\ncontent-length: {PUT_BYTES_MAX + 1}\r\n\r\n"
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(64 * 1024)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"<Code>EntityTooLarge</Code>" in answer
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="larger")
    say(f"S3, a single PUT of {ONE_PUT_BYTES / MIB:.0f} MiB", warm)


def test_rest_takes_and_gives_what_a_single_put_does(endpoint: Any, bucket: str, warm: Peak) -> None:
    about = endpoint.about
    path = f"/client/v4/accounts/{about['account_id']}/r2/buckets/{bucket}/objects"
    headers = {"Authorization": f"Bearer {about['admin_token']}"}
    with httpx.Client(base_url=about["control"], headers=headers, timeout=600) as client:
        body = Generated(ONE_PUT_BYTES)
        length = {"content-length": str(ONE_PUT_BYTES)}
        stored = client.put(f"{path}/large", content=iter(body), headers=length).raise_for_status().json()["result"]
        assert (stored["etag"], stored["size"]) == (body.digest().hex(), str(ONE_PUT_BYTES))
        with client.stream("GET", f"{path}/large") as answer:
            assert answer.headers["content-length"] == str(ONE_PUT_BYTES)
            assert digest_of(answer.iter_bytes(MIB)) == body.digest()
        with socket.create_connection((client.base_url.host, client.base_url.port), timeout=60) as connection:
            head = f"PUT {path}/larger HTTP/1.1\r\nhost: x\r\nauthorization: {headers['Authorization']}\r\n"
            connection.sendall(f"{head}content-length: {PUT_BYTES_MAX + 1}\r\n\r\n".encode())
            answer = connection.recv(64 * 1024)
        assert answer.startswith(b"HTTP/1.1 413 "), answer
        assert client.get(f"{path}/larger").status_code == 404
    say(f"REST, {ONE_PUT_BYTES / MIB:.0f} MiB and back", warm)
