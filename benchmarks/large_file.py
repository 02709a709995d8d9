"""One large file through a running example platform and back: MB/s, and how much memory that takes.

    tenantry dev examples/multi-tenant --data data          # in another terminal
    python benchmarks/large_file.py data [MiB]              # 1024 by default

Prints one JSON object. `grown_bytes` is the most private memory that the host and all Workers together had above what
they had before; it must not depend on the size of the file.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

MIB = 1024 * 1024
BOUNDARY = "large-file"
KEY = "benchmark/large-file"


class MemoryWatch:
    """The most private memory of a process and all its descendants while the block runs."""

    def __init__(self, root: psutil.Process) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before_bytes = self._now()
        self.most_bytes = self.before_bytes

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.most_bytes = max(self.most_bytes, self._now())

    def _now(self) -> int:
        total = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                total += process.memory_full_info().uss
            except psutil.NoSuchProcess:
                continue
        return total


def form(size_mib: int, digest: Any) -> Iterator[bytes]:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
    yield (part % ("key", "")).encode() + KEY.encode() + b"\r\n"
    yield (part % ("file", '; filename="large"\r\nContent-Type: application/x-large')).encode()
    for number in range(size_mib):
        chunk = number.to_bytes(8, "big") * (MIB // 8)
        digest.update(chunk)
        yield chunk
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def host_process(about: dict[str, Any]) -> psutil.Process:
    port = httpx.URL(about["gateway"]).port
    for connection in psutil.net_connections("tcp"):
        address = connection.laddr
        if connection.status == psutil.CONN_LISTEN and connection.pid and address and address.port == port:
            return psutil.Process(connection.pid)
    raise SystemExit(f"nothing listens on port {port}: is the platform running, and is it yours?")


def main() -> None:
    about = json.loads((Path(sys.argv[1]) / "dev.json").read_text())
    size_mib = int(sys.argv[2]) if len(sys.argv) > 2 else 1024
    sent, received = hashlib.sha256(), hashlib.sha256()
    headers = {"X-User-ID": "user1"}
    with httpx.Client(base_url=about["gateway"], headers=headers, timeout=600) as client:
        client.get("/files").raise_for_status()  # starts the Workers
        with MemoryWatch(host_process(about)) as memory:
            started = time.perf_counter()
            response = client.post(
                "/files",
                content=form(size_mib, sent),
                headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
            )
            response.raise_for_status()
            uploaded = time.perf_counter()
            with client.stream("GET", "/files", params={"key": KEY}) as download:
                download.raise_for_status()
                for chunk in download.iter_raw(MIB):
                    received.update(chunk)
            downloaded = time.perf_counter()
        client.delete("/files", params={"key": KEY}).raise_for_status()
    result = {
        "size_bytes": size_mib * MIB,
        "upload_megabytes_per_second": round(size_mib * MIB / 1e6 / (uploaded - started), 1),
        "download_megabytes_per_second": round(size_mib * MIB / 1e6 / (downloaded - uploaded), 1),
        "before_bytes": memory.before_bytes,
        "grown_bytes": memory.most_bytes - memory.before_bytes,
        "same": sent.digest() == received.digest(),
    }
    print(json.dumps(result, indent=2))
    if not result["same"]:
        raise SystemExit("the file came back different")


if __name__ == "__main__":
    main()
