"""The AWS CLI, as people type it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Aws = Callable[..., str]


@pytest.fixture
def aws(endpoint: Any, tmp_path: Path) -> Aws:
    # Python's start is most of what a command takes; its bytecode is kept where the environment is.
    environment = endpoint.environment(tmp_path)

    def run(*words: str, stdin: bytes | None = None) -> str:
        command = ["aws", *words]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, input=stdin, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stderr.decode()}"
        return done.stdout.decode()

    return run


def test_s3_sync_ls_cp_presign_and_rm(aws: Aws, s3: Any, bucket: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "css").mkdir(parents=True)
    (site / "index.html").write_text("<h1>hello</h1>")
    (site / "css" / "ü b.css").write_text("body {}")
    (site / "big.bin").write_bytes(os.urandom(9 * 1024 * 1024))  # above the CLI's threshold for parts

    aws("s3", "sync", "site", f"s3://{bucket}/site/")
    listed = aws("s3", "ls", f"s3://{bucket}", "--recursive")
    aws("s3", "sync", f"s3://{bucket}/site/", "back")
    url = aws("s3", "presign", f"s3://{bucket}/site/index.html").strip()
    aws("s3", "rm", f"s3://{bucket}/site/", "--recursive")

    assert [line.split(maxsplit=3)[3] for line in listed.splitlines()] == [
        "site/big.bin",
        "site/css/ü b.css",
        "site/index.html",
    ]
    for file in ("index.html", "css/ü b.css", "big.bin"):
        assert (tmp_path / "back" / file).read_bytes() == (site / file).read_bytes()
    assert httpx.get(url).status_code == 404, "the address is signed, and what it names is gone"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_s3_cp_of_a_stream_and_s3api(aws: Aws, s3: Any, bucket: str) -> None:
    aws("s3", "cp", "-", f"s3://{bucket}/stream", stdin=b"from a pipe")
    about = json.loads(aws("s3api", "head-object", "--bucket", bucket, "--key", "stream", "--checksum-mode", "ENABLED"))

    assert about["ContentLength"] == 11
    assert about["ChecksumCRC32"]
    assert s3.get_object(Bucket=bucket, Key="stream")["Body"].read() == b"from a pipe"
