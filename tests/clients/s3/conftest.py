"""A platform as its users start it, and access keys for its S3 endpoint."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config

START_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class AccessKey:
    id: str
    secret: str


class Endpoint:
    """The S3 endpoint of a running platform."""

    def __init__(self, about: dict[str, Any], pid: int) -> None:
        self.about = about
        self.pid = pid
        """Of the host."""
        self.url: str = about["s3"]
        self._api = httpx.Client(
            base_url=f"{about['control']}/client/v4/accounts/{about['account_id']}/r2",
            headers={"Authorization": f"Bearer {about['admin_token']}"},
            timeout=60,
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # it speaks plain HTTP: no certificates to be read
        )
        self.admin = self.access_key("admin-read-write")

    def access_key(self, permission: str, bucket: str | None = None) -> AccessKey:
        made = self._api.post("/s3-credentials", json={"name": "test", "permission": permission, "bucket": bucket})
        result = made.raise_for_status().json()["result"]
        return AccessKey(result["access_key_id"], result["secret_access_key"])

    def revoke(self, key: AccessKey) -> None:
        self._api.delete(f"/s3-credentials/{key.id}").raise_for_status()

    def client(
        self,
        key: AccessKey | None = None,
        *,
        endpoint_url: str | None = None,
        addressing_style: str = "path",
        **config: Any,
    ) -> Any:
        """boto3's, without retries: what is answered is what is tested."""
        key = key or self.admin
        return boto3.client(
            "s3",
            endpoint_url=endpoint_url or self.url,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            region_name="auto",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": addressing_style}, **config),
        )

    def environment(self, home: Path, key: AccessKey | None = None) -> dict[str, str]:
        """Of a client that is a program: it finds the endpoint, and nothing of whoever runs the tests."""
        key = key or self.admin
        return {
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": key.id,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_DEFAULT_REGION": "auto",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def close(self) -> None:
        self._api.close()


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """One platform with one Worker, for all tests of a test process."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "entry.py").write_text(
        "from workers import Response, WorkerEntrypoint\n\n\n"
        "class Default(WorkerEntrypoint):\n    async def fetch(self, request):\n        return Response('hello')\n"
    )
    settings = {
        "name": "hello",
        "main": "entry.py",
        "compatibility_date": "2026-01-20",
        "compatibility_flags": ["python_workers"],
    }
    (folder / "wrangler.jsonc").write_text(json.dumps(settings))
    data = folder / "data"
    command = [Path(sys.executable).with_name("tenantry"), "dev", folder, "--data", data, "--durability", "process"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--control-port", "0", "--s3-port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not (data / "dev.json").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"tenantry dev did not start:\n{(folder / 'log').read_text()[-4000:]}")
            time.sleep(0.02)
        found = Endpoint(json.loads((data / "dev.json").read_text()), process.pid)
        yield found
        found.close()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint) -> Any:
    """A client with an admin access key."""
    return endpoint.client()


@pytest.fixture
def bucket(s3: Any) -> str:
    """An empty bucket that no other test has."""
    name = f"b{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    return name
