"""`tenantry dev` on the example, started and killed as often as a test likes."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

__all__ = ["Platform", "wait_until"]

EXAMPLE = Path(__file__).parents[3] / "examples" / "multi-tenant"
SECONDS_MAX = 60.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: without one each of them reads the certificates of the world, for 25 ms."""


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited {SECONDS_MAX:.0f} s for {what}"
        time.sleep(0.005)


class Platform:
    """In a process group of its own. `prefix` goes before the command: to run it in a namespace, say."""

    def __init__(self, data: Path, *options: str, prefix: tuple[str, ...] = ()) -> None:
        self.data = data
        # Beside the disk, not on it.
        self.log = (data.parent.parent if prefix else data.parent) / f"{data.name}.log"
        self._options = options
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None
        self.about: dict[str, Any] = {}

    def start(self) -> None:
        if not self._prefix:
            (self.data / "dev.json").unlink(missing_ok=True)
        program = str(Path(sys.executable).with_name("tenantry"))
        command = [*self._prefix, program, "dev", str(EXAMPLE), "--data", str(self.data), *self._options]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", "0", "--control-port", "0", "--s3-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._process
        file = self.mounted / self.data.name / "dev.json"
        wait_until(lambda: file.exists() or process.poll() is not None, "tenantry dev to write dev.json")
        assert process.poll() is None, self.log_text()[-4000:]
        self.about = json.loads(file.read_text())

    @property
    def mounted(self) -> Path:
        """The folder that the data lies in, as the platform sees it."""
        assert self._process is not None
        parent = self.data.parent
        return Path(f"/proc/{self._process.pid}/root{parent}") if self._prefix else parent

    def kill(self) -> None:
        """kill -9 of everything at once. Returns when the last process is gone."""
        process, self._process = self._process, None
        if process is None:
            return
        root = psutil.Process(process.pid)
        everything = [root, *root.children(recursive=True)] if root.is_running() else []
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not any(map(_is_alive, everything)), "the processes to be gone")

    def client(self, user: str, **options: Any) -> httpx.Client:
        headers = {"X-User-ID": user}
        return httpx.Client(
            base_url=self.about["gateway"], headers=headers, timeout=SECONDS_MAX, verify=NO_TLS, **options
        )

    def control(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.about['admin_token']}"}
        return httpx.Client(base_url=self.about["control"], headers=headers, timeout=SECONDS_MAX, verify=NO_TLS)

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
