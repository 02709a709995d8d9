"""One large file, downloaded in turns from a customer of ours and from nginx."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

import httpx

from benchmarks.failure import BenchmarkError
from benchmarks.fixtures import check
from benchmarks.nginx import running_nginx
from benchmarks.ours import Platform
from benchmarks.rows import Row, Target, make_row

__all__ = ["DOWNLOAD_BYTES", "measure_download"]

DOWNLOAD_BYTES: Final = 300_000_000
_BLOCK_BYTES: Final = 1_000_000
_READ_BYTES: Final = 1024 * 1024
_USER: Final = "test-user"
_KEY: Final = "large-file"
_SECONDS_MAX: Final = 120.0


def measure_download(platform: Platform, nginx: str | None, work: Path, rounds: int, say: Callable[[str], None]) -> Row:
    """Without nginx there is our figure alone. Raises BenchmarkError when a download is not the file."""
    folder = work / "nginx"
    file = folder / "files" / _KEY
    file.parent.mkdir(parents=True)
    digest = _write_file(file)
    _upload(platform, file)
    ours_url = f"{platform.gateway}/files?key={_KEY}"
    ours: list[float] = []
    theirs: list[float] = []
    _verify("ours", ours_url, digest)
    if nginx is None:
        say("nginx is not installed: the download is measured without it (Debian and Ubuntu: apt-get install nginx)")
        ours = [_megabytes_per_second(ours_url) for _ in range(rounds)]
    else:
        with running_nginx(nginx, folder) as base:
            _verify("nginx", f"{base}/{_KEY}", digest)
            for _ in range(rounds):
                ours.append(_megabytes_per_second(ours_url))
                theirs.append(_megabytes_per_second(f"{base}/{_KEY}"))
    say(f"download: ours {_words(ours)}{f', nginx {_words(theirs)}' if theirs else ''} MB/s")
    return make_row(
        "GET /files 300 MB, one client, beside nginx",
        "MB/s",
        median(ours),
        median(theirs) if theirs else None,
        Target("ratio", ">=", 0.8),
    )


def _write_file(path: Path) -> bytes:
    """Random bytes, over and over: no file system squeezes them. Gives their SHA-256."""
    block = os.urandom(_BLOCK_BYTES)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(DOWNLOAD_BYTES // _BLOCK_BYTES):
            file.write(block)
            digest.update(block)
    return digest.digest()


def _upload(platform: Platform, path: Path) -> None:
    with path.open("rb") as file:
        response = httpx.post(
            f"{platform.gateway}/files",
            headers={"X-User-ID": _USER},
            data={"key": _KEY},
            files={"file": ("file.bin", file, "application/octet-stream")},
            timeout=_SECONDS_MAX,
            trust_env=False,
        )
    good = response.status_code == 200 and response.json().get("size") == DOWNLOAD_BYTES
    check(good, f"the upload of the large file answered {response.status_code}: {response.text[:300]}")


def _verify(name: str, url: str, digest: bytes) -> None:
    found = hashlib.sha256()
    _download(url, found.update)
    check(found.digest() == digest, f"{name}: the file came back different")


def _megabytes_per_second(url: str) -> float:
    started = time.perf_counter()
    _download(url, lambda _: None)
    return DOWNLOAD_BYTES / 1e6 / (time.perf_counter() - started)


def _download(url: str, take: Callable[[memoryview], object]) -> None:
    """All of the file, into one buffer that is used again and again: the client must not be what is measured."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_SECONDS_MAX)
    buffer = memoryview(bytearray(_READ_BYTES))
    size = 0
    try:
        connection.request("GET", f"{address.path}?{address.query}", headers={"X-User-ID": _USER})
        response = connection.getresponse()
        check(response.status == 200, f"the download of the large file answered {response.status}")
        while count := response.readinto(buffer):
            take(buffer[:count])
            size += count
    except (OSError, http.client.HTTPException) as error:
        raise BenchmarkError(f"the download of the large file failed: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    check(size == DOWNLOAD_BYTES, f"the download of the large file ended after {size} bytes")


def _words(figures: list[float]) -> str:
    return " ".join(f"{figure:,.0f}" for figure in figures)
