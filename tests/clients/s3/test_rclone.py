"""rclone, which signs and checks in its own way: it is written in Go, and compares MD5s at the end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    shutil.which("rclone") is None, reason="rclone is not installed (apt-get install rclone)"
)


@pytest.fixture
def rclone(endpoint: Any, tmp_path: Path) -> Callable[..., str]:
    environment = endpoint.environment(tmp_path) | {
        "RCLONE_CONFIG": str(tmp_path / "rclone.conf"),
        "RCLONE_CONFIG_R2_TYPE": "s3",
        "RCLONE_CONFIG_R2_PROVIDER": "Cloudflare",
        "RCLONE_CONFIG_R2_ENDPOINT": endpoint.url,
        "RCLONE_CONFIG_R2_ACCESS_KEY_ID": endpoint.admin.id,
        "RCLONE_CONFIG_R2_SECRET_ACCESS_KEY": endpoint.admin.secret,
        "RCLONE_CONFIG_R2_REGION": "auto",
        "RCLONE_CONFIG_R2_ACL": "private",
    }

    def run(*words: str) -> str:
        done = subprocess.run(["rclone", *words], env=environment, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, f"rclone {' '.join(words)}:\n{done.stderr.decode()}"
        return done.stdout.decode()

    return run


def test_sync_check_and_purge(rclone: Callable[..., str], bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "a b+c.txt").write_text("one")
    (source / "deep" / "er" / "ü.bin").write_bytes(os.urandom(100_000))
    (source / "big.bin").write_bytes(os.urandom(11 * 1024 * 1024))
    parts = ("--s3-upload-cutoff", "5M", "--s3-chunk-size", "5M")

    rclone("sync", str(source), f"r2:{bucket}/copy", *parts)
    # Of each file: the sizes, and the MD5 where there is one, which rclone keeps in metadata for those in parts.
    rclone("check", str(source), f"r2:{bucket}/copy")
    listed = rclone("lsf", "--recursive", "--files-only", f"r2:{bucket}")
    rclone("copy", f"r2:{bucket}/copy", str(tmp_path / "back"))
    rclone("copyto", f"r2:{bucket}/copy/a b+c.txt", f"r2:{bucket}/server side.txt")
    read = rclone("cat", f"r2:{bucket}/server side.txt")
    rclone("purge", f"r2:{bucket}")

    assert sorted(listed.splitlines()) == ["copy/a b+c.txt", "copy/big.bin", "copy/deep/er/ü.bin"]
    assert (tmp_path / "back" / "big.bin").read_bytes() == (source / "big.bin").read_bytes()
    assert read == "one"
    assert bucket not in rclone("lsf", "r2:")
