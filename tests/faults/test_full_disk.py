"""A full disk: a clear error, reads go on, and writes do again when there is room."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from injection import crowded
from injection.crowded import leave_room
from injection.example_platform import Platform
from injection.namespace import small_disk, why_not

WRITES_MAX = 400
ROOM_BYTES = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def test_every_service_says_that_the_disk_is_full_and_goes_on(disk: Path) -> None:
    command = [*small_disk(disk, "24m"), sys.executable, crowded.__file__, str(disk)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert len(ended.stdout.splitlines()) == 3
    print(ended.stdout, end="")


@pytest.fixture
def platform(disk: Path) -> Iterator[Platform]:
    """One whose data lies on the small disk."""
    data = disk / "data"
    prefix = small_disk(disk, "64m")
    made = Platform(data, prefix=prefix)
    try:
        yield made
    finally:
        made.kill()


METADATA = {
    "main_module": "m.py",
    "compatibility_date": "2026-01-01",
    "compatibility_flags": ["python_workers"],
}


def deploy(control: httpx.Client, account: str, module: bytes) -> httpx.Response:
    files = {
        "metadata": (None, json.dumps(METADATA), "application/json"),
        "m.py": ("m.py", module, "text/x-python"),
    }
    return control.put(f"/client/v4/accounts/{account}/workers/scripts/new", files=files)


def test_a_platform_on_a_full_disk_refuses_writes_answers_reads_and_recovers(platform: Platform) -> None:
    platform.start()
    ballast = None
    with platform.client("user1") as client, platform.control() as control:
        client.post("/data", json={"key": "kept", "value": 1}).raise_for_status()
        file = b"x" * 100_000
        client.post("/files", data={"key": "kept"}, files={"file": ("f", file)}).raise_for_status()
        ballast = leave_room(platform.mounted, ROOM_BYTES)
        refused = None
        for number in range(WRITES_MAX):
            response = client.post("/files", data={"key": f"{number}"}, files={"file": ("f", file)})
            if response.status_code != 200:
                refused = response
                break
        assert refused is not None, "the disk did not fill up"
        assert refused.status_code == 500
        assert str(platform.data) not in refused.text
        read = client.get("/data", params={"key": "kept"})
        assert read.status_code == 200, read.text
        assert read.json()["value"] == 1
        assert client.get("/files", params={"key": "kept"}).content == file
        answer = deploy(control, platform.about["account_id"], b"#" * 2_000_000)
        assert answer.status_code == 507, answer.text
        assert not answer.json()["success"]
        ballast.unlink()
        client.post("/data", json={"key": "after", "value": 2}).raise_for_status()
        client.post("/files", data={"key": "after"}, files={"file": ("f", file)}).raise_for_status()
        assert client.get("/files", params={"key": "after"}).content == file
        answer = deploy(control, platform.about["account_id"], b"from workers import Response\n" + b"#" * 2_000_000)
        assert answer.status_code == 200, answer.text
