"""Starts the example platform as its users do, and hands out clients for it.

A session has one platform; what a test writes it writes under keys of its own, for the tests share three customers.
A test that kills things starts a platform for itself.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "multi-tenant"
START_SECONDS_MAX = 60.0
REQUEST_SECONDS_MAX = 60.0
PROCESSES = "/tenantry/v1/processes"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: without one each of them reads the certificates of the world, for 25 ms."""


def wait_until(condition: Callable[[], Any], what: str, seconds_max: float = 30.0) -> Any:
    """What `condition` gives once it is true. Fails the test when it does not become true."""
    deadline = time.monotonic() + seconds_max
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds_max:.0f} s for {what}")
        time.sleep(0.02)


class Platform:
    """`tenantry dev` on a folder, in a process group of its own."""

    wait_until = staticmethod(wait_until)

    def __init__(self, data: Path, folder: Path = EXAMPLE) -> None:
        self.data = data
        self.folder = folder
        self.log = data.parent / f"{data.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._about: dict[str, Any] = {}

    def start(self) -> None:
        about = self.data / "dev.json"
        about.unlink(missing_ok=True)
        command = [str(Path(sys.executable).with_name("tenantry")), "dev", str(self.folder), "--data", str(self.data)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", "0", "--control-port", "0", "--s3-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = self._process

        def is_up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"tenantry dev ended with {process.returncode}:\n{self.log_text()[-4000:]}")
            return about.exists()

        wait_until(is_up, "tenantry dev to write dev.json", START_SECONDS_MAX)
        self._about = json.loads(about.read_text())

    def kill(self) -> None:
        """kill -9 of everything at once. Returns when the last process is gone."""
        if self._process is None:
            return
        everything = self.processes()
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None
        wait_until(lambda: not any(map(is_alive, everything)), "the processes to be gone")

    def stop(self) -> int:
        """Asks it to end, as Ctrl-C does, and returns its exit code."""
        assert self._process is not None
        everything = self.processes()
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(timeout=30)
        self._process = None
        wait_until(lambda: not any(map(is_alive, everything)), "the processes to be gone")
        return code

    def client(self, user: str | None) -> httpx.Client:
        headers = {} if user is None else {"X-User-ID": user}
        return httpx.Client(
            base_url=self._about["gateway"], headers=headers, timeout=REQUEST_SECONDS_MAX, verify=NO_TLS
        )

    def async_client(self, user: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._about["gateway"],
            headers={"X-User-ID": user},
            timeout=REQUEST_SECONDS_MAX,
            limits=httpx.Limits(max_connections=100),
            verify=NO_TLS,
        )

    def crowd(self, user: str) -> aiohttp.ClientSession:
        """A client with as many connections as it has requests."""
        return aiohttp.ClientSession(
            self._about["gateway"],
            headers={"X-User-ID": user},
            timeout=aiohttp.ClientTimeout(REQUEST_SECONDS_MAX),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def wait_busy(self, at_least: dict[str, int]) -> None:
        """Returns once each of these Workers has as many invocations running."""
        missing: dict[str, int] = {}
        deadline = time.monotonic() + 30
        async with httpx.AsyncClient(**self._control) as client:
            while time.monotonic() < deadline:
                running = dict.fromkeys(at_least, 0)
                for entry in (await client.get(PROCESSES)).json()["result"]:
                    if entry["worker"] in running:
                        running[entry["worker"]] += entry["in_flight"]
                missing = {worker: count for worker, count in running.items() if count < at_least[worker]}
                if not missing:
                    return
        pytest.fail(f"the Workers did not become busy: {missing}")

    def kill_workers(self, worker: str) -> int:
        """kill -9 of a Worker's processes. Returns how many there were, when they are gone."""
        with httpx.Client(**self._control) as client:
            response = client.get(PROCESSES)
        pids = {entry["pid"] for entry in response.json()["result"] if entry["worker"] == worker}
        own = [process for process in self.processes() if process.pid in pids]
        assert own or not pids, "the control plane names processes that are not of this platform"
        for process in own:
            with suppress(psutil.NoSuchProcess):  # it ended by itself meanwhile, as another may have before
                process.kill()
        wait_until(lambda: not any(map(is_alive, own)), "the Worker's processes to be gone")
        return len(own)

    @property
    def _control(self) -> dict[str, Any]:
        """Arguments of a client for the control plane."""
        return {
            "base_url": self._about["control"],
            "headers": {"Authorization": f"Bearer {self._about['admin_token']}"},
            "timeout": REQUEST_SECONDS_MAX,
            "verify": NO_TLS,
        }

    @property
    def about(self) -> dict[str, Any]:
        """What dev.json says."""
        return self._about

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def processes(self) -> list[psutil.Process]:
        assert self._process is not None
        try:
            root = psutil.Process(self._process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def is_alive(process: psutil.Process) -> bool:
    try:
        # A zombie has ended; only its parent has not asked yet.
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    started = Platform(tmp_path_factory.mktemp("platform") / "data")
    try:
        started.start()
        yield started
    finally:
        started.kill()


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that the test may kill, not started yet."""
    own = Platform(tmp_path / "data")
    try:
        yield own
    finally:
        own.kill()


@pytest.fixture
def platform_of(tmp_path: Path) -> Iterator[Callable[[Path], Platform]]:
    """Starts a platform of the test's own folder."""
    started: list[Platform] = []

    def start(folder: Path) -> Platform:
        started.append(Platform(tmp_path / f"data-{len(started)}", folder))
        started[-1].start()
        return started[-1]

    try:
        yield start
    finally:
        for each in started:
            each.kill()


@pytest.fixture
def user1(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client("user1") as client:
        yield client


@pytest.fixture
def user2(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client("user2") as client:
        yield client


@pytest.fixture
def test_user(platform: Platform) -> Iterator[httpx.Client]:
    with platform.client("test-user") as client:
        yield client


@pytest.fixture
def nobody(platform: Platform) -> Iterator[httpx.Client]:
    """A client that does not say who it is."""
    with platform.client(None) as client:
        yield client


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"n{uuid.uuid4().hex}"


@pytest.fixture
def unique_name() -> str:
    """A name that no other test has, and that every product takes."""
    return f"t{uuid.uuid4().hex[:12]}"
