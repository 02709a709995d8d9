"""Downloads as HTTP has them: types, ranges, conditions, HEAD; and files that are too large to hold."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import aiohttp
import httpx
import psutil
import pytest

if TYPE_CHECKING:
    from conftest import Platform

MIB = 1024 * 1024
CONTENT = b"0123456789" * 10


@pytest.fixture
def file(user1: httpx.Client, name: str) -> str:
    """The key of a file with CONTENT in it."""
    user1.post("/files", data={"key": name}, files={"file": ("a.txt", CONTENT, "text/plain")}).raise_for_status()
    return name


@pytest.mark.parametrize(
    ("range_", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=95-", 95, 99),
        ("bytes=-5", 95, 99),
        ("bytes=0-", 0, 99),
        ("bytes=90-1000", 90, 99),
        ("bytes=-1000", 0, 99),
        ("bytes=99-99", 99, 99),
    ],
)
def test_a_range_is_answered_with_that_part(user1: httpx.Client, file: str, range_: str, first: int, last: int) -> None:
    response = user1.get("/files", params={"key": file}, headers={"Range": range_})

    assert response.status_code == 206
    assert response.content == CONTENT[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/100"
    assert response.headers["content-length"] == str(last - first + 1)
    assert response.headers["content-type"] == "text/plain"


@pytest.mark.parametrize("range_", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_outside_of_the_file_cannot_be_satisfied(user1: httpx.Client, file: str, range_: str) -> None:
    response = user1.get("/files", params={"key": file}, headers={"Range": range_})

    assert response.status_code == 416
    assert response.headers["content-range"] == "bytes */100"
    assert "100 bytes" in response.json()["error"]


@pytest.mark.parametrize(
    "range_", ["bytes=5-2", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", f"bytes=0-{10**40}"]
)
def test_a_range_that_cannot_be_used_is_ignored(user1: httpx.Client, file: str, range_: str) -> None:
    response = user1.get("/files", params={"key": file}, headers={"Range": range_})

    assert response.status_code == 200
    assert response.content == CONTENT


def test_a_range_of_another_version_is_ignored(user1: httpx.Client, file: str) -> None:
    response = user1.get("/files", params={"key": file}, headers={"Range": "bytes=0-1", "If-Range": '"old"'})

    assert (response.status_code, response.content) == (200, CONTENT)


def test_what_the_client_has_is_not_sent_again(user1: httpx.Client, file: str) -> None:
    etag = user1.get("/files", params={"key": file}).headers["etag"]

    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = user1.get("/files", params={"key": file}, headers={"If-None-Match": known})
        assert response.status_code == 304, known
        assert response.content == b""
        assert response.headers["etag"] == etag
    for unknown in ('"other"', "", ",", '"'):
        response = user1.get("/files", params={"key": file}, headers={"If-None-Match": unknown})
        assert (response.status_code, response.content) == (200, CONTENT), unknown

    user1.post("/files", data={"key": file}, files={"file": ("a.txt", b"new", "text/plain")}).raise_for_status()
    response = user1.get("/files", params={"key": file}, headers={"If-None-Match": etag})
    assert (response.status_code, response.content) == (200, b"new")


def test_head_answers_what_get_does_without_the_bytes(user1: httpx.Client, file: str) -> None:
    get = user1.get("/files", params={"key": file})
    head = user1.head("/files", params={"key": file})

    assert (head.status_code, head.content) == (200, b"")
    for header in ("content-type", "content-length", "etag"):
        assert head.headers[header] == get.headers[header]
    assert user1.head("/files", params={"key": "absent"}).status_code == 404
    assert user1.get("/").status_code == 200  # the connection is still in order


def test_a_file_without_a_type_has_the_general_one(user1: httpx.Client, name: str) -> None:
    body = (
        f'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n{name}\r\n'
        '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nbytes\r\n--x--\r\n'
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}

    uploaded = user1.post("/files", content=body.encode(), headers=headers)
    assert uploaded.json() == {"success": True, "key": name, "size": 5}

    response = user1.get("/files", params={"key": name})
    assert response.content == b"bytes"
    assert response.headers["content-type"] in ("application/octet-stream", "text/plain")


def test_an_empty_file_is_a_file(user1: httpx.Client, name: str) -> None:
    uploaded = user1.post("/files", data={"key": name}, files={"file": ("a", b"", "text/plain")})
    assert uploaded.json() == {"success": True, "key": name, "size": 0}

    response = user1.get("/files", params={"key": name})
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == "0"


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/b/c", "files:list", ".", "..", "grüße 🎉", 'a"b\\c', "%2e"])
def test_any_text_is_a_key(user1: httpx.Client, user2: httpx.Client, key: str) -> None:
    uploaded = user1.post("/files", data={"key": key}, files={"file": ("a", key.encode(), "text/plain")})
    assert uploaded.status_code == 200, uploaded.text
    assert uploaded.json()["key"] == key

    assert user1.get("/files", params={"key": key}).content == key.encode()
    assert key in {file["key"] for file in user1.get("/files").json()["files"]}
    assert user2.get("/files", params={"key": key}).status_code == 404
    assert user1.delete("/files", params={"key": key}).status_code == 200


async def test_a_listing_has_every_page_and_so_have_the_stats(platform: Platform, name: str) -> None:
    """R2 answers 1,000 files a page."""
    async with platform.async_client("test-user") as client, platform.crowd("test-user") as crowd:
        before = (await client.get("/stats")).json()
        keys = [f"{name}-{number:04}" for number in range(1001)]
        places = asyncio.Semaphore(50)

        async def upload(key: str) -> None:
            form = aiohttp.FormData({"key": key})
            form.add_field("file", b"12", filename="a", content_type="text/plain")
            async with places, crowd.post("/files", data=form) as sent:
                sent.raise_for_status()

        await asyncio.gather(*map(upload, keys))

        listed = (await client.get("/files")).json()
        assert set(keys) <= {file["key"] for file in listed["files"]}
        after = (await client.get("/stats")).json()
        assert after["files"]["count"] == after["storage"]["r2Objects"] == listed["count"]
        assert after["files"]["count"] == before["files"]["count"] + 1001
        assert after["files"]["totalSize"] == before["files"]["totalSize"] + 2002


def test_a_large_file_passes_through_without_being_held(platform: Platform, user1: httpx.Client, name: str) -> None:
    size = 64 * MIB
    user1.get("/files").raise_for_status()  # the Workers run
    before = memory_of(platform)
    most = 0
    sent = hashlib.sha256()

    def body() -> Iterator[bytes]:
        yield f'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\n{name}\r\n'.encode()
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: video/mp4\r\n\r\n'
        nonlocal most
        for number in range(size // MIB):
            if number % 16 == 15:
                most = max(most, memory_of(platform))
            chunk = number.to_bytes(8) * (MIB // 8)
            sent.update(chunk)
            yield chunk
        yield b"\r\n--x--\r\n"

    uploaded = user1.post("/files", content=body(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert uploaded.json() == {"success": True, "key": name, "size": size}

    received = hashlib.sha256()
    with user1.stream("GET", "/files", params={"key": name}) as response:
        assert response.headers["content-length"] == str(size)
        assert response.headers["content-type"] == "video/mp4"
        for number, chunk in enumerate(response.iter_bytes(MIB)):
            if number % 16 == 15:
                most = max(most, memory_of(platform))
            received.update(chunk)
    assert received.digest() == sent.digest()
    grown = most - before
    assert grown < size // 2, f"{grown / MIB:.0f} MiB more memory for a file of {size // MIB} MiB"
    user1.delete("/files", params={"key": name}).raise_for_status()


def memory_of(platform: Platform) -> int:
    """Private bytes of the host and all its Workers."""
    total = 0
    for process in platform.processes():
        try:
            total += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            continue
    return total
