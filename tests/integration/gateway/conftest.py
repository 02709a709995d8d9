"""The gateway behind its real server, on a real socket, with Workers written in the test."""

from __future__ import annotations

import asyncio
import hashlib
import json
import textwrap
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tenantry.config.deployment import BindingSpec, DeployedWorker, WorkerLimits
from tenantry.gateway import Gateway, listening
from tenantry.host import Host, LogEvent, PythonRuntime
from tenantry.host.runtime import python_policy
from tenantry.services import ServiceSettings
from tenantry.services.installed import InstalledServices


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    whole: bool
    """Whether the body ended as its framing says, rather than with the connection."""

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """HTTP/1.1 by hand, so that a test says every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        async with asyncio.timeout(20):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        return status, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2])]

    async def reply(self, method: str = "GET") -> Reply:
        status, headers = await self.head()
        found = {name.lower(): value for name, value in headers}
        body, whole = b"", True
        async with asyncio.timeout(20):
            if method == "HEAD" or status in (204, 304):
                pass
            elif "content-length" in found:
                try:
                    body = await self.reader.readexactly(int(found["content-length"]))
                except asyncio.IncompleteReadError as error:
                    body, whole = error.partial, False
            elif found.get("transfer-encoding") == "chunked":
                body, whole = await self._chunks()
        return Reply(status, headers, body, whole)

    async def _chunks(self) -> tuple[bytes, bool]:
        body = b""
        try:
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return body, False
        return body, True

    def close(self) -> None:
        self.writer.transport.abort()


@dataclass
class Site:
    host: Host
    data: Path
    port: int = 0
    said: list[tuple[str, str]] = field(default_factory=list)
    """By whom, and what."""
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _connections: list[Connection] = field(default_factory=list)

    def on_log(self, event: LogEvent) -> None:
        self.said += [(event.worker, message) for message in event.messages]
        self._arrived.set()

    async def wait_log(self, text: str) -> None:
        async with asyncio.timeout(20):
            while not any(text in message for _, message in self.said):
                self._arrived.clear()
                await self._arrived.wait()

    def deploy(
        self,
        source: str,
        bindings: dict[str, tuple[str, dict[str, Any]]] | None = None,
        *,
        name: str = "front",
        namespace: str | None = None,
        limits: WorkerLimits | None = None,
    ) -> None:
        """Make this the Worker that gets the requests, or another one beside it."""
        text = textwrap.dedent(source)
        bundle = hashlib.sha256(text.encode()).hexdigest()
        folder = self.data / "bundles" / bundle
        if not folder.exists():
            folder.mkdir()
            (folder / "entry.py").write_text(text)
        self.said.clear()
        self.host.deployed(
            DeployedWorker(
                namespace=namespace,
                name=name,
                version_id=f"{bundle[:8]} {limits}",
                bundle=bundle,
                main_module="entry.py",
                compatibility_date="2026-09-01",
                compatibility_flags=("python_workers",),
                bindings=tuple(BindingSpec(key, kind, fields) for key, (kind, fields) in (bindings or {}).items()),
                limits=limits or WorkerLimits(),
            )
        )

    def logs(self, worker: str = "front") -> str:
        return "\n".join(message for name, message in self.said if name == worker)

    def pids(self, worker: str = "front") -> list[int]:
        return [process["pid"] for process in self.host.processes() if process["worker"] == worker]

    async def connect(self, buffer_bytes: int = 2**20) -> Connection:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=buffer_bytes)
        connection = Connection(reader, writer)
        self._connections.append(connection)
        return connection

    async def send(self, request: bytes, method: str = "GET") -> Reply:
        connection = await self.connect()
        await connection.send(request)
        return await connection.reply(method)

    async def get(self, target: str = "/", *headers: str, method: str = "GET") -> Reply:
        lines = [f"{method} {target} HTTP/1.1", "host: example.com", *headers]
        return await self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", method)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """A test module's `HOST_OPTIONS` and `GATEWAY_OPTIONS` are what both are made with beside the usual."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    (data / "bundles").mkdir()
    runtime = PythonRuntime(python_policy(data, "strict"))
    await runtime.open()
    made: list[Site] = []
    services = InstalledServices(ServiceSettings(data / "accounts" / "account", "process"))
    host = Host(
        data,
        services,
        runtime,
        lambda event: made[0].on_log(event),
        **getattr(request.module, "HOST_OPTIONS", {}),
    )
    made.append(Site(host, data))
    gateway = Gateway(host, "front", **getattr(request.module, "GATEWAY_OPTIONS", {}))
    async with listening(gateway, "127.0.0.1", 0, 10.0) as port:
        made[0].port = port
        yield made[0]
        made[0].close()
    await host.aclose()
    await services.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def site(platform: Site) -> AsyncIterator[Site]:
    yield platform
    platform.close()
