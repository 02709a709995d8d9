"""A host without its listeners: real zygote, real sandbox, real services, and Workers written in the test."""

from __future__ import annotations

import asyncio
import hashlib
import textwrap
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tenantry.config.deployment import BindingSpec, DeployedWorker, WorkerLimits
from tenantry.host import Answer, Host, LogEvent, PythonRuntime
from tenantry.host.runtime import python_policy
from tenantry.services import ServiceSettings
from tenantry.services.assets import AccountAssets, AssetStore
from tenantry.services.installed import InstalledServices
from tenantry.streams import BytesStream, ByteStream, read_all
from tenantry.wire.values import RequestValue

MIB = 1024 * 1024


@dataclass
class Platform:
    """A host to deploy to and to send requests to."""

    host: Host
    services: InstalledServices
    data: Path
    assets: AccountAssets
    said: list[tuple[str, str]] = field(default_factory=list)
    """By whom, and what."""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _versions: int = 0

    def on_log(self, event: LogEvent) -> None:
        self.said += [(event.worker, message) for message in event.messages]
        self._arrived.set()

    def logs(self, worker: str) -> str:
        return "\n".join(message for name, message in self.said if name == worker)

    async def wait_log(self, worker: str, text: str) -> None:
        """Until the log of a Worker holds a text."""
        async with asyncio.timeout(20):
            while text not in self.logs(worker):
                self._arrived.clear()
                await self._arrived.wait()

    def deploy(
        self,
        name: str,
        source: str,
        *,
        namespace: str | None = None,
        bindings: Mapping[str, tuple[str, dict[str, Any]]] | None = None,
        cpu_ms: int | None = None,
        subrequests: int | None = None,
        files: Mapping[str, str] | None = None,
    ) -> DeployedWorker:
        """Put a Worker of one module into the host. `bindings`: name to (type, fields)."""
        everything = {"entry.py": textwrap.dedent(source), **(files or {})}
        address = hashlib.sha256(repr(sorted(everything.items())).encode()).hexdigest()
        folder = self.data / "bundles" / address
        if not folder.exists():
            folder.mkdir()
            for path, text in everything.items():
                file = folder / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
        self._versions += 1
        worker = DeployedWorker(
            namespace=namespace,
            name=name,
            version_id=f"version-{self._versions}",
            bundle=address,
            main_module="entry.py",
            compatibility_date="2026-09-01",
            compatibility_flags=("python_workers",),
            bindings=tuple(BindingSpec(key, kind, fields) for key, (kind, fields) in (bindings or {}).items()),
            limits=WorkerLimits(cpu_ms=cpu_ms, subrequests=subrequests),
        )
        self.host.deployed(worker)
        return worker

    async def fetch(
        self,
        worker: str,
        path: str = "/",
        *,
        method: str = "GET",
        headers: list[tuple[str, str]] | None = None,
        body: bytes | ByteStream | None = None,
    ) -> Answer:
        request = RequestValue(method, f"http://example.com{path}", headers or [])
        if isinstance(body, bytes):
            if len(body) <= 64 * 1024:
                request.body = body
                return await self.host.fetch(worker, request)
            body = BytesStream(body)
        return await self.host.fetch(worker, request, body)

    async def text(self, worker: str, path: str = "/", **options: Any) -> str:
        return (await self.body(await self.fetch(worker, path, **options))).decode()

    async def body(self, answer: Answer) -> bytes:
        if answer.stream is not None:
            return await read_all(answer.stream, 512 * MIB)
        return answer.response.body if isinstance(answer.response.body, bytes) else b""

    def pids(self, worker: str) -> list[int]:
        return [process["pid"] for process in self.host.processes() if process["worker"] == worker]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    """A test module's `HOST_OPTIONS` are what its host is made with beside the usual; `make_worker_site` fills a folder
    with the packages that its Workers may import; `QUOTAS` are the account's; `install_services` puts services in the
    place of those that are installed.
    """
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    (data / "bundles").mkdir()
    options = getattr(request.module, "HOST_OPTIONS", {})
    worker_site: Path | None = None
    if hasattr(request.module, "make_worker_site"):
        worker_site = data / "packages"
        request.module.make_worker_site(worker_site)
    sockets = options["egress"].any_sockets if "egress" in options else False
    runtime = PythonRuntime(python_policy(data, "strict", worker_site, sockets=sockets))
    await runtime.open()
    made: list[Platform] = []
    settings = ServiceSettings(data / "accounts" / "account", "process", quotas=getattr(request.module, "QUOTAS", {}))
    services = InstalledServices(settings)
    if hasattr(request.module, "install_services"):
        request.module.install_services(services, settings)
    assets = AssetStore(data / "assets", durable=False).of("0" * 32)
    host = Host(data, services, runtime, lambda event: made[0].on_log(event), assets=assets, **options)
    made.append(Platform(host, services, data, assets))
    yield made[0]
    await host.aclose()
    await services.aclose()


@pytest.fixture
def unique(request: pytest.FixtureRequest) -> str:
    """A Worker's name that no other test uses."""
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]


Deploy = Callable[..., DeployedWorker]
