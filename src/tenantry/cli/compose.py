"""The composition root: the only place that knows all the parts of a host and puts them together."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tenantry.cli.worker_log import WorkerLog
from tenantry.config.deployment import DeployedWorker
from tenantry.config.platform import PlatformSettings
from tenantry.control import BundleStore, Store, create_app
from tenantry.gateway import Gateway
from tenantry.host import BytecodeCache, Host, PythonRuntime
from tenantry.host.runtime import python_policy
from tenantry.services import ServiceSettings
from tenantry.services.installed import InstalledServices

__all__ = ["RunningPlatform", "running"]

_BACKLOG: Final = 4096
_STOP_SECONDS_MAX: Final = 10.0
_GC_YOUNG_MAX: Final = 20_000
_DEV_TOKEN: Final = "tenantry dev"  # noqa: S105 - the name of a token, not a token


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    gateway_url: str
    control_url: str
    account_id: str
    admin_token: str = field(repr=False)


@asynccontextmanager
async def running(settings: PlatformSettings) -> AsyncIterator[RunningPlatform]:
    """A host that serves both ports, until the block ends. Raises ConfigError and IsolationError."""
    _configure_logs()
    durable = settings.durability == "full"
    async with AsyncExitStack() as stack:
        worker_log = WorkerLog()
        stack.callback(worker_log.close)
        store = Store(settings.data / "control.db", durable=durable)
        stack.callback(store.close)
        bundles = BundleStore(settings.data / "bundles", durable=durable)
        bundles.remove_unreferenced(store.scripts.bundles())
        account = store.accounts.default()
        token = store.accounts.issue_token(account.id, _DEV_TOKEN, replace=True)
        runtime = PythonRuntime(
            python_policy(
                settings.data,
                settings.isolation,
                sockets=settings.egress.any_sockets,
                memory_mib_max=settings.plans.memory_mib_max,
            )
        )
        stack.push_async_callback(runtime.aclose)
        await runtime.open()
        services = InstalledServices(ServiceSettings(settings.data / "accounts" / account.id, settings.durability))
        stack.push_async_callback(services.aclose)
        host = Host(settings.data, services, runtime, worker_log, settings.egress, plans=settings.plans)
        stack.push_async_callback(host.aclose)
        bytecode = BytecodeCache(settings.data / "bundles", runtime)
        stack.push_async_callback(bytecode.aclose)
        deployed = list(store.all_deployed())
        host.load(deployed)
        for worker in deployed:
            bytecode.want(worker.bundle)
        body_bytes_max = settings.plans.of(None, settings.gateway_worker).request_body_bytes
        gateway_port = await stack.enter_async_context(
            _listening(Gateway(host, settings.gateway_worker, body_bytes_max), settings.host, settings.port)
        )
        control = create_app(store, bundles, _Deployments(host, bytecode), services, processes=host.processes)
        control_port = await stack.enter_async_context(_listening(control, settings.host, settings.control_port))
        # What a start leaves behind lives as long as the process: the collector need not look at it again, and its
        # pauses shrink from tens of milliseconds to what requests have made.
        gc.collect()
        gc.freeze()
        # A request leaves some hundred objects and hardly ever a cycle: every tenth of them would start the collector.
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(_GC_YOUNG_MAX)
        stack.callback(gc.unfreeze)
        yield RunningPlatform(
            gateway_url=_url(settings.host, gateway_port),
            control_url=_url(settings.host, control_port),
            account_id=account.id,
            admin_token=token,
        )


class _Deployments:
    """Who hears of what is deployed: the host, and then whoever makes its next cold start quick."""

    def __init__(self, host: Host, bytecode: BytecodeCache) -> None:
        self._host = host
        self._bytecode = bytecode

    def deployed(self, worker: DeployedWorker) -> None:
        self._host.deployed(worker)
        self._bytecode.want(worker.bundle)

    def removed(self, namespace: str | None, name: str) -> None:
        self._host.removed(namespace, name)


@asynccontextmanager
async def _listening(app: Any, host: str, port: int) -> AsyncIterator[int]:  # any ASGI application
    """Serve an application on a port of its own. Gives the port."""
    port = port or _free_port(host)
    server = Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.auto,
        http1_settings=HTTP1Settings(header_read_timeout=30_000, max_buffer_size=256 * 1024),
        backlog=_BACKLOG,
        backpressure=_BACKLOG,
        log_enabled=False,
        websockets=True,
    )
    serving = asyncio.create_task(server.serve())
    try:
        yield port
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # Granian's
        done, _ = await asyncio.wait({serving}, timeout=_STOP_SECONDS_MAX)
        if not done:
            serving.cancel()


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _configure_logs() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Plain: the other formats print the values of local variables, and some of those are tenants'.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
        # A line and its end in one write: print() would leave room between them for a line of a Worker's.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )
