"""Objects that are larger than memory should be, through a Worker's binding. `make large` takes 5 GiB.

The host runs in this process, so its high-water mark is what the kernel says of this process.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tenantry.services.r2.limits import PUT_BYTES_MAX

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

MIB = 1024 * 1024
OBJECT_BYTES = int(os.environ.get("R2_OBJECT_BYTES", str(72 * MIB)))
GROWTH_BYTES_MAX = 32 * MIB
"""Half of the budget that the design allows for a slow upload of 5 GB."""
PARTS = 3

WORKER = """
import hashlib
from workers import Response, WorkerEntrypoint

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        bucket, path = self.env.BUCKET, request.url.split("/", 3)[3].split("/")
        if path[0] == "put":
            return Response((await bucket.put("key", request.body)).etag)
        if path[0] == "get":
            return Response((await bucket.get("key")).body)
        if path[0] == "copy":
            return Response((await bucket.put("copy", (await bucket.get("key")).body)).etag)
        if path[0] == "begin":
            return Response((await bucket.createMultipartUpload("parts")).uploadId)
        if path[0] == "part":
            upload = bucket.resumeMultipartUpload("parts", path[1])
            return Response((await upload.uploadPart(int(path[2]), request.body)).etag)
        if path[0] == "complete":
            parts = [{"partNumber": n + 1, "etag": etag} for n, etag in enumerate(path[2].split(","))]
            return Response((await bucket.resumeMultipartUpload("parts", path[1]).complete(parts)).etag)
        if path[0] == "tail":
            return Response((await bucket.get("parts", range={"suffix": int(path[1])})).body)
        if path[0] == "hash":
            digest = hashlib.md5()
            async for chunk in (await bucket.get("key")).body:
                digest.update(bytes(chunk))
            return Response(digest.hexdigest())
"""


class Generated:
    """A stream that makes its bytes as it is read. `digest` is that of what was read."""

    def __init__(self, size: int) -> None:
        self.length: int | None = size
        self._left = size
        self._block = os.urandom(MIB)
        self.digest = hashlib.md5()

    async def read(self, size_max: int) -> bytes:
        piece = self._block[: min(size_max, self._left, MIB)]
        self._left -= len(piece)
        self.digest.update(piece)
        return piece

    async def aclose(self) -> None:
        self._left = 0


class Peak:
    """By how much the memory of a process grows at most, from here on."""

    def __init__(self, pid: int | str = "self") -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text("5")
        self._start = self._read("VmRSS")

    def _read(self, field: str) -> int:
        match = re.search(rf"{field}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    def growth(self) -> int:
        return self._read("VmHWM") - self._start


async def digest_of(answer: Any) -> str:
    digest = hashlib.md5()
    while chunk := await answer.stream.read(MIB):
        digest.update(chunk)
    await answer.stream.aclose()
    return digest.hexdigest()


async def test_a_large_object_comes_and_goes_with_flat_memory(platform: Any) -> None:
    platform.deploy("large", WORKER, bindings={"BUCKET": ("r2_bucket", {"bucket_name": "large"})}, cpu_ms=300_000)
    size = min(OBJECT_BYTES, PUT_BYTES_MAX)
    await platform.text("large", "/put", method="PUT", body=b"warm" * 100_000)
    (worker,) = platform.pids("large")
    host, guest = Peak(), Peak(worker)

    data = Generated(size)
    stored = await platform.text("large", "/put", method="PUT", body=data)
    assert stored == data.digest.hexdigest()
    assert await digest_of(await platform.fetch("large", "/get")) == stored
    assert await platform.text("large", "/copy", method="POST") == stored
    assert guest.growth() < 8 * MIB  # none of it came by
    assert await platform.text("large", "/hash") == stored

    upload = await platform.text("large", "/begin", method="POST")
    part_size = OBJECT_BYTES // PARTS
    digests, etags = b"", []
    for number in range(PARTS):
        part = Generated(part_size)
        etags.append(await platform.text("large", f"/part/{upload}/{number + 1}", method="PUT", body=part))
        digests += part.digest.digest()
    made = await platform.text("large", f"/complete/{upload}/{','.join(etags)}", method="POST")
    assert made == f"{hashlib.md5(digests).hexdigest()}-{PARTS}"
    tail = await platform.body(await platform.fetch("large", f"/tail/{MIB}"))
    assert len(tail) == MIB

    grown = f"host {host.growth() / MIB:.1f} MiB, Worker {guest.growth() / MIB:.1f} MiB"
    print(f"objects of {OBJECT_BYTES / MIB:.0f} MiB; grown: {grown}")
    assert host.growth() < GROWTH_BYTES_MAX
    assert guest.growth() < GROWTH_BYTES_MAX
