"""The AWS CLI: sync, cp, ls, presign, rm and s3api."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

# What `aws` does, for several command lines: most of one command's time is the start of its process.
DRIVER = """
import json, sys
from awscli.clidriver import create_clidriver
for words in json.loads(sys.argv[1]):
    code = create_clidriver().main(words)
    sys.stdout.write("\\0")
    sys.stdout.flush()
    if code:
        sys.exit(f"{words}: {code}")
"""


def run(command: Sequence[str], environment: dict[str, str], folder: Path, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        command, env=environment, cwd=folder, input=stdin, capture_output=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def test_what_people_type(endpoint: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "css").mkdir(parents=True)
    (site / "index.html").write_text("<h1>hello</h1>")
    (site / "css" / "ü b.css").write_text("body {}")
    (site / "big.bin").write_bytes(os.urandom(9 * 1024 * 1024))  # above the CLI's threshold for parts
    environment = endpoint.environment(tmp_path)

    commands = [
        ["s3", "cp", "-", f"s3://{bucket}/stream"],
        ["s3", "sync", "site", f"s3://{bucket}/site/"],
        ["s3", "ls", f"s3://{bucket}", "--recursive"],
        ["s3", "sync", f"s3://{bucket}/site/", "back"],
        ["s3", "presign", f"s3://{bucket}/stream"],
        ["s3api", "head-object", "--bucket", bucket, "--key", "stream", "--checksum-mode", "ENABLED"],
    ]
    driver = [sys.executable, "-c", DRIVER, json.dumps(commands)]
    _, _, listed, _, url, head, _ = run(driver, environment, tmp_path, stdin=b"from a pipe").split("\0")
    streamed = httpx.get(url.strip()).content
    run(["aws", "s3", "rm", f"s3://{bucket}/", "--recursive"], environment, tmp_path)

    assert [line.split(maxsplit=3)[3] for line in listed.splitlines()] == [
        "site/big.bin",
        "site/css/ü b.css",
        "site/index.html",
        "stream",
    ]
    for file in ("index.html", "css/ü b.css", "big.bin"):
        assert (tmp_path / "back" / file).read_bytes() == (site / file).read_bytes()
    assert streamed == b"from a pipe"
    assert json.loads(head)["ContentLength"] == 11
    assert json.loads(head)["ChecksumCRC32"]
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
