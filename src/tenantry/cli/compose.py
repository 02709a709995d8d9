"""The composition root: the only place that knows all the parts of a host and puts them together."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from tenantry.cli.machine import allow_open_files, keeping_everything
from tenantry.cli.metrics import metrics_of
from tenantry.cli.operator_log import OperatorLog
from tenantry.cli.s3_directory import StoreDirectory
from tenantry.cli.store import open_store
from tenantry.config.deployment import DeployedWorker
from tenantry.config.kv import KvNamespaceSettings
from tenantry.config.platform import PlatformSettings
from tenantry.config.quotas import ServiceQuota
from tenantry.control import BundleStore, LogRing, Store, Tails, TailServer, create_app
from tenantry.control.resources import Resources
from tenantry.gateway import Gateway, listening
from tenantry.host import BytecodeCache, Host, PythonRuntime
from tenantry.host.runtime import python_policy
from tenantry.s3 import S3Endpoint
from tenantry.sandbox import CgroupTree
from tenantry.services import ServiceSettings
from tenantry.services.assets import AssetStore
from tenantry.services.installed import InstalledServices
from tenantry.services.quota import Limit, Quota
from tenantry.services.r2 import R2Service
from tenantry.wire.limits import MIB

if TYPE_CHECKING:
    from tenantry.gateway.identity import Identity

__all__ = ["RunningPlatform", "running", "serving"]

_BACKLOG: Final = 4096
_LISTENING_POLL_SECONDS: Final = 0.005
_GC_YOUNG_MAX: Final = 20_000
_SWITCH_SECONDS: Final = 0.001
"""How long a thread that computes in Python keeps the loop from going on. Python's own 5 ms are felt: a request comes
to the loop some ten times."""
_ATTENTION_SECONDS: Final = 30.0
"""Whoever follows a Worker's log looks more often than that, or has gone."""
_DEV_TOKEN: Final = "tenantry dev"  # noqa: S105 - the name of a token, not a token


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    """A host that serves its ports. `admin_token` is empty where none was asked for."""

    gateway_url: str
    control_url: str
    account_id: str
    s3_url: str
    admin_token: str = field(repr=False)
    drain: Callable[[float], Awaitable[None]] = field(repr=False)
    """Before the end: `/readyz` says no, and clients are asked to use other connections, for so many seconds. Nothing
    is refused meanwhile."""


def running(settings: PlatformSettings) -> AbstractAsyncContextManager[RunningPlatform]:
    """A host for `tenantry dev`, with a fresh admin token, until the block ends. Raises ConfigError, IsolationError."""
    return _running(settings, with_token=True)


def serving(settings: PlatformSettings) -> AbstractAsyncContextManager[RunningPlatform]:
    """A host for `tenantry serve`, which only tokens open that were made on purpose. Raises as `running` does."""
    return _running(settings, with_token=False)


@asynccontextmanager
async def _running(settings: PlatformSettings, *, with_token: bool) -> AsyncIterator[RunningPlatform]:
    allow_open_files()
    durable = settings.durability == "full"
    async with AsyncExitStack() as stack:
        start = stack.enter_context(ExitStack())
        start.enter_context(keeping_everything())
        operator_log = OperatorLog()
        stack.callback(operator_log.close)
        operator_log.configure()
        store = open_store(settings.data, durable=durable, quotas=settings.quotas)
        stack.callback(store.close)
        bundles = BundleStore(settings.data / "bundles", durable=durable)
        bundles.remove_unreferenced(store.scripts.bundles())
        account = store.accounts.default()
        assets = AssetStore(settings.data / "assets", durable=durable)
        assets.of(account.id).remove_unreferenced(*store.asset_sessions.referenced(account.id))
        store.tokens.revoke_named(account.id, _DEV_TOKEN)
        token = store.tokens.issue(account.id, _DEV_TOKEN)[1] if with_token else ""
        store.api_keys.load()
        cgroups = CgroupTree.try_claim()
        if cgroups is not None:
            stack.callback(cgroups.close)
        runtime = PythonRuntime(
            python_policy(
                settings.data,
                settings.isolation,
                sockets=settings.egress.any_sockets,
                memory_mib_max=settings.plans.memory_mib_max,
            ),
            cgroups,
        )
        stack.push_async_callback(runtime.aclose)
        await runtime.open()
        folder = settings.data / "accounts" / account.id
        of_resource = _ResourceSettings(settings.kv, store.resources)
        quotas = {name: _quota(quota) for name, quota in settings.quotas.items()}
        services = InstalledServices(ServiceSettings(folder, settings.durability, of_resource, quotas))
        stack.push_async_callback(services.aclose)
        # Before the host, so that it hears of the host's end.
        logs: LogRing | None = None
        if settings.logs_mib:
            seconds = settings.log_days * 24 * 3600
            logs = LogRing(settings.data / "logs" / "logs.sqlite", settings.logs_mib * MIB, seconds)
            stack.callback(logs.close)
        host = Host(
            settings.data,
            services,
            runtime,
            operator_log,
            settings.egress,
            plans=settings.plans,
            memory_bytes_max=None if settings.memory_mib_total is None else settings.memory_mib_total * MIB,
            assets=assets.of(account.id),
        )
        stack.push_async_callback(host.aclose)
        if logs is not None:
            host.traces.watch_notable(logs)
        bytecode = BytecodeCache(settings.data / "bundles", runtime)
        stack.push_async_callback(bytecode.aclose)
        deployed = list(store.all_deployed())
        host.load(deployed)
        for worker in deployed:
            if worker.bundle:
                bytecode.want(worker.bundle)
        gateway = Gateway(
            host,
            settings.gateway_worker,
            settings.plans.of(None, settings.gateway_worker).request_body_bytes,
            await stack.enter_async_context(_identity(settings, store)),
        )
        stop_seconds = settings.drain_seconds
        gateway_port = await stack.enter_async_context(listening(gateway, settings.host, settings.port, stop_seconds))
        watch = _Watch(host, gateway)
        tails = Tails(host.traces)
        tail_server = TailServer(tails)
        control_host = settings.control_host or settings.host
        stack.push_async_callback(tail_server.aclose)
        tail_port = await tail_server.open(control_host, settings.tail_port)
        control = create_app(
            store,
            bundles,
            _Deployments(host, bytecode),
            services,
            watch,
            assets=assets,
            starter=host,
            gateway_url=_url(settings.host, gateway_port),
            tails=tails,
            tail_port=tail_port,
            logs=logs,
            attend=lambda namespace, name: host.traces.keeping.attend((namespace, name), _ATTENTION_SECONDS),
        )
        control_port = await stack.enter_async_context(
            _listening(control, control_host, settings.control_port, stop_seconds)
        )
        r2 = services.by_name["r2"]
        assert isinstance(r2, R2Service)
        s3 = S3Endpoint(StoreDirectory(store, r2, account.id), r2.bucket, domains=settings.s3_domains)
        s3_host = settings.s3_host or settings.host
        s3_port = await stack.enter_async_context(_listening(s3, s3_host, settings.s3_port, stop_seconds))
        # What a start leaves behind lives as long as the process, but for some two thousand objects that are not worth
        # the search: the collector need not look at it again, and its pauses shrink from tens of milliseconds to what
        # requests have made.
        gc.freeze()
        start.close()
        # A request leaves some hundred objects and hardly ever a cycle: every tenth of them would start the collector.
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(_GC_YOUNG_MAX)
        stack.callback(gc.unfreeze)
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(_SWITCH_SECONDS)
        watch.serving = True
        yield RunningPlatform(
            gateway_url=_url(settings.host, gateway_port),
            control_url=_url(control_host, control_port),
            s3_url=_url(s3_host, s3_port),
            account_id=account.id,
            admin_token=token,
            drain=watch.drain,
        )


class _ResourceSettings:
    """What the operator set for one resource. Its title is looked up, since a service knows ids only."""

    def __init__(self, kv: KvNamespaceSettings, resources: Resources) -> None:
        self._kv = kv
        self._resources = resources

    def __call__(self, service: str, resource_id: str) -> Mapping[str, str]:
        if service != "kv" or self._kv.empty:
            return {}
        return self._kv.of(resource_id, self._resources.kv_title(resource_id))


@asynccontextmanager
async def _identity(settings: PlatformSettings, store: Store) -> AsyncIterator[Identity | None]:
    if settings.identity is None:
        yield None
        return
    # Here, not above: what verifies tokens is a lot to import, and `tenantry dev` verifies none.
    from tenantry.gateway.identity import Identity

    identity = Identity(settings.identity, store.api_keys)
    await identity.open()
    try:
        yield identity
    finally:
        await identity.aclose()


class _Watch:
    """What the control plane may say of the rest."""

    def __init__(self, host: Host, gateway: Gateway) -> None:
        self._gateway = gateway
        self.processes = host.processes
        self.metrics = metrics_of(gateway.requests, host)
        self.serving = False

    def ready(self) -> bool:
        return self.serving

    async def drain(self, notice_seconds: float) -> None:
        self.serving = False
        self._gateway.drain()
        await asyncio.sleep(notice_seconds)


def _quota(given: ServiceQuota) -> Quota:
    return Quota(
        Limit(given.resource_bytes, given.resource_count),
        Limit(given.account_bytes, given.account_count),
    )


class _Deployments:
    """Who hears of what is deployed: the host, and then whoever makes its next cold start quick."""

    def __init__(self, host: Host, bytecode: BytecodeCache) -> None:
        self._host = host
        self._bytecode = bytecode

    def deployed(self, *versions: DeployedWorker) -> None:
        self._host.deployed(*versions)
        for version in versions:
            if version.bundle:
                self._bytecode.want(version.bundle)

    def removed(self, namespace: str | None, name: str) -> None:
        self._host.removed(namespace, name)


@asynccontextmanager
async def _listening(
    app: Any,  # any ASGI application
    host: str,
    port: int,
    stop_seconds_max: float,
) -> AsyncIterator[int]:
    """Serve an application on a port of its own. Gives the port. In the end it waits for what is in flight."""
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
        await _wait_listening(serving, host, port)
        yield port
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # Granian's
        done, _ = await asyncio.wait({serving}, timeout=stop_seconds_max)
        if not done:
            serving.cancel()


async def _wait_listening(serving: asyncio.Task[None], host: str, port: int) -> None:
    """Granian does not say when it listens; whoever reads an address may use it at once. Raises as `serving` does."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(_LISTENING_POLL_SECONDS)
        else:
            writer.close()
            return
    await serving


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"
