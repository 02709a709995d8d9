"""`tenantry dev`: a whole platform from a folder, for developing and trying.

It starts a host, then acts as a client of it: every Worker is deployed over HTTP like anybody else's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Protocol

import typer
import uvloop

from tenantry.cli import output
from tenantry.cli.banner import banner
from tenantry.cli.client import Client
from tenantry.cli.deploy import Deployed, deploy_project
from tenantry.cli.devfile import Customer, remove_devfile, write_devfile
from tenantry.cli.machine import check_port, data_folder, keeping_everything
from tenantry.cli.provision import ensure_dispatch_namespace, fresh_access_key
from tenantry.cli.signals import exit_on_signals, stop_on_signals
from tenantry.cli.watch import affected, watch
from tenantry.config.platform import Platform, PlatformSettings, PlatformWorker, deploy_order, load_platform
from tenantry.config.wrangler import load_project
from tenantry.errors import ConfigError, TenantryError

__all__ = ["RunningPlatform", "dev", "run_platform"]

_READY_SECONDS_MAX = 15.0


class RunningPlatform(Protocol):
    """A started host. `admin_token` is fresh at each start."""

    @property
    def gateway_url(self) -> str: ...
    @property
    def control_url(self) -> str: ...
    @property
    def s3_url(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def admin_token(self) -> str: ...


Running = Callable[[PlatformSettings], AbstractAsyncContextManager[RunningPlatform]]


def dev(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A folder with a tenantry.toml, or with one Worker's wrangler configuration."
        ),
    ],
    data: Annotated[Path, typer.Option(help="Where everything is kept; a second start finds it again.")] = Path("data"),
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The tenants' port; 0 takes any free one.")] = 8787,
    control_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The control plane's port; 0 takes any free one.")
    ] = 8788,
    s3_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The S3 endpoint's port; 0 takes any free one.")
    ] = 8789,
    isolation: Annotated[
        Literal["strict", "container", "none"],
        typer.Option(help="How Workers are locked in. none is for machines that cannot, and for trusted code only."),
    ] = "strict",
    durability: Annotated[
        Literal["full", "process"],
        typer.Option(help="What an acknowledged write survives: a power cut, or the end of the process."),
    ] = "full",
) -> None:
    """Start the platform of a folder, deploy its Workers, and deploy them again when their sources change.

    While it runs, DATA/dev.json says where: the addresses, the account, an admin token, the customers.

    [bold]Examples[/bold]

      tenantry dev examples/multi-tenant

      tenantry dev my-worker --data scratch --port 9000 --control-port 9001 --s3-port 9002
    """
    exit_on_signals()
    platform = load_platform(folder)
    with data_folder(data) as held:
        remove_devfile(held)
        given = [one for one in (port, control_port, s3_port) if one]
        if len(set(given)) < len(given):
            raise ConfigError(
                "tenants, control plane and S3 need a port each: choose others with --control-port and --s3-port"
            )
        check_port(host, port, "--port")
        check_port(host, control_port, "--control-port")
        check_port(host, s3_port, "--s3-port")
        settings = PlatformSettings(
            data=held,
            host=host,
            port=port,
            control_port=control_port,
            s3_port=s3_port,
            isolation=isolation,
            gateway_worker=platform.gateway_worker,
            durability=durability,
            egress=platform.egress,
            plans=platform.plans,
            memory_mib_total=platform.memory_mib_total,
            kv=platform.kv,
            quotas=platform.quotas,
        )
        # Here, not above: the host is a lot to import, and `deploy` and `--help` need none of it.
        with keeping_everything():
            from tenantry.cli import compose

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signal(platform, settings, compose.running))


async def _until_signal(platform: Platform, settings: PlatformSettings, running: Running) -> None:
    await run_platform(platform, settings, running, stop_on_signals())


async def run_platform(platform: Platform, settings: PlatformSettings, running: Running, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises TenantryError when the platform cannot be started or first deployed."""
    if settings.isolation == "none":
        output.warn("isolation is none: every Worker can read and change everything that this user can")
    async with running(settings) as started, _client(started) as client:
        session = _Session(platform, settings, started, client)
        try:
            if await _unless(stop, session.start()):
                await session.reload_until(stop)
        finally:
            remove_devfile(settings.data)
    output.say("Stopped.")


@asynccontextmanager
async def _client(started: RunningPlatform) -> AsyncIterator[Client]:
    with Client(started.control_url, started.admin_token, started.account_id) as client:
        yield client


class _Session:
    """One run: what is deployed, and what is told about it."""

    def __init__(
        self, platform: Platform, settings: PlatformSettings, started: RunningPlatform, client: Client
    ) -> None:
        self._platform = platform
        self._settings = settings
        self._started = started
        self._client = client
        self._versions: dict[tuple[str | None, str], str] = {}

    async def start(self) -> None:
        """Deploy everything, wait until it answers, say so."""
        await _wait_for_server(self._started.control_url)
        customers: list[tuple[str, Customer]] = []
        for worker in deploy_order(self._platform.workers):
            for warning in worker.project.warnings:
                output.warn(warning)
            deployed = await asyncio.to_thread(self._deploy, worker)
            self._versions[(worker.namespace, deployed.name)] = deployed.version_id
            if worker.customer is not None:
                customers.append((worker.customer, await asyncio.to_thread(self._customer, worker.customer, deployed)))
        await _wait_for_server(self._started.gateway_url)
        await _wait_for_server(self._started.s3_url)
        write_devfile(
            self._settings.data,
            gateway=self._started.gateway_url,
            control=self._started.control_url,
            s3=self._started.s3_url,
            account_id=self._started.account_id,
            admin_token=self._started.admin_token,
            customers=customers,
        )
        first = next((name for name, _ in customers), None)
        output.show(banner(self._started, first))

    def _customer(self, name: str, deployed: Deployed) -> Customer:
        """What the devfile says of a customer, with an access key of its own for its bucket."""
        customer = Customer.of(deployed)
        if customer.r2 is None:
            return customer
        return replace(customer, s3=fresh_access_key(self._client, f"tenantry dev: {name}"[:120], customer.r2))

    async def reload_until(self, stop: asyncio.Event) -> None:
        """Deploy a Worker again when one of its files changes."""
        try:
            async for changed in watch(self._platform, [self._settings.data], stop):
                if self._platform.file in changed:
                    output.warn(f"{self._platform.file} has changed: start tenantry dev again to have it take effect")
                for worker in affected(self._platform, changed):
                    if stop.is_set():
                        return
                    await self._reload(worker)
        except OSError as error:
            # No more inotify watches, say: the platform runs on, only without this comfort.
            output.warn(f"sources are not watched any more: {error}")
            await stop.wait()

    async def _reload(self, worker: PlatformWorker) -> None:
        name = worker.project.name
        try:
            deployed = await asyncio.to_thread(self._deploy_anew, worker)
        except TenantryError as error:
            output.fail(f"{name}: {error}")
            output.say(f"{name}: the version before goes on running")
            return
        address = (worker.namespace, deployed.name)
        if self._versions.get(address) != deployed.version_id:
            self._versions[address] = deployed.version_id
            output.say(f"{name}: deployed anew ({deployed.version_id})")

    def _deploy_anew(self, worker: PlatformWorker) -> Deployed:
        project = load_project(worker.project.file)
        if project.name != worker.project.name:
            raise ConfigError(f"its name is {project.name!r} now: start tenantry dev again")
        return self._deploy(PlatformWorker(project, worker.namespace, worker.customer))

    def _deploy(self, worker: PlatformWorker) -> Deployed:
        made: list[str] = []
        if worker.namespace is not None:
            ensure_dispatch_namespace(self._client, worker.namespace, made)
        deployed = deploy_project(self._client, worker.project, worker.namespace)
        for thing in (*made, *deployed.resources.made):
            output.say(f"{worker.project.name}: made {thing}")
        return deployed


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work`, or leave it when `stop` is set first. True when it was done."""
    task = asyncio.ensure_future(work)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
            return not stop.is_set()
        return False
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def _wait_for_server(url: str) -> None:
    """Until something accepts connections at `url`. Raises ConfigError when that takes too long."""
    authority = url.split("://", 1)[1].split("/", 1)[0]
    host, _, port = authority.rpartition(":")
    deadline = asyncio.get_running_loop().time() + _READY_SECONDS_MAX
    while True:
        try:
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError as error:
            if asyncio.get_running_loop().time() > deadline:
                raise ConfigError(f"{url} does not answer: {error.strerror}") from error
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
