"""The platform's own file, `tenantry.toml`, and the settings that a host is started with.

    [gateway]
    worker = "my-binding-dispatcher"    # the Worker that gets the tenants' requests

    [[worker]]
    path = "my-binding-dispatcher"      # a folder with a wrangler configuration, relative to this file

    [[worker]]
    path = "customer-worker-1"
    namespace = "bindings"              # the dispatch namespace to deploy into
    customer = "user1"                  # its name under "customers" in DATA/dev.json

    [egress]                            # where fetch() of the Workers may go: see config.egress
    policy = "public"

    [worker.egress]                     # the same for one Worker, below its [[worker]]
    policy = "deny"

    memory_mib_total = 16000            # what all worker processes may hold together, above all tables

    [limits]                            # what every Worker may use, and [worker.limits] for one: see config.plans
    concurrent_invocations = 100

    [[kv_namespace]]                    # one KV namespace, by its title or its id: see config.kv
    title = "customer-worker-1-USER_KV"
    consistency = "cloudflare_like"

A folder that has a wrangler configuration and no `tenantry.toml` is a platform of that one Worker.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from tenantry.config.egress import PUBLIC, EgressFile, EgressPolicies, EgressPolicy, parse_egress
from tenantry.config.files import read_config_file
from tenantry.config.identity import IdentitySettings
from tenantry.config.kv import STRONG, KvNamespaceFile, KvNamespaceSettings, parse_kv_namespaces
from tenantry.config.limits import LOG_DAYS_DEFAULT, LOGS_MIB_DEFAULT, MEMORY_MIB_MIN
from tenantry.config.plans import DEFAULT_PLANS, PlanFile, Plans, parse_plan, parse_plans
from tenantry.config.quotas import Quotas, QuotasFile, parse_quotas
from tenantry.config.wrangler import WorkerProject, find_config, load_project
from tenantry.errors import ConfigError

__all__ = ["PLATFORM_FILE", "Platform", "PlatformSettings", "PlatformWorker", "load_platform"]

PLATFORM_FILE = "tenantry.toml"


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """What a host is started with. Ports may be 0 (any free one); `gateway_worker` may not be deployed yet."""

    data: Path
    gateway_worker: str
    host: str = "127.0.0.1"
    port: int = 8787
    control_host: str | None = None
    """None: as `host`."""
    control_port: int = 8788
    s3_host: str | None = None
    """None: as `host`."""
    s3_port: int = 8789
    s3_domains: tuple[str, ...] = ("s3.localhost", "localhost")
    """Hosts in front of which a bucket may stand, more specific ones first."""
    tail_port: int = 0
    """Where the live tails of Workers are read: beside the control plane, for a WebSocket that wrangler can use."""
    isolation: Literal["strict", "container", "none"] = "strict"
    # "full": an acknowledged write survives a power cut. "process": it survives kill -9.
    durability: Literal["full", "process"] = "full"
    # Who tenants' requests are from; None: the Workers see for themselves, and take anybody's word.
    identity: IdentitySettings | None = None
    # What requests get to end after a stop was asked for, and how long before that clients are asked to go elsewhere.
    drain_seconds: float = 10.0
    drain_notice_seconds: float = 0.0
    egress: EgressPolicies = PUBLIC
    plans: Plans = DEFAULT_PLANS
    # What all worker processes may hold together. None: most of what the machine has.
    memory_mib_total: int | None = None
    kv: KvNamespaceSettings = STRONG
    quotas: Quotas = field(default_factory=dict)
    # What is kept of what Workers said: so much, for so long. 0: nothing.
    logs_mib: int = LOGS_MIB_DEFAULT
    log_days: float = LOG_DAYS_DEFAULT


@dataclass(frozen=True, slots=True)
class PlatformWorker:
    """One Worker of a platform. `customer` is the name of the end customer it belongs to, if of one."""

    project: WorkerProject
    namespace: str | None = None
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class Platform:
    """A platform as it stands in its folder. `file` is None for a folder of one Worker."""

    folder: Path
    file: Path | None
    gateway_worker: str
    workers: tuple[PlatformWorker, ...]
    egress: EgressPolicies = PUBLIC
    plans: Plans = DEFAULT_PLANS
    memory_mib_total: int | None = None
    kv: KvNamespaceSettings = STRONG
    quotas: Quotas = field(default_factory=dict)


class _Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    worker: str


class _Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    namespace: str | None = None
    customer: str | None = None
    egress: EgressFile | None = None
    limits: PlanFile = PlanFile()


MemoryMibTotal = Annotated[int, msgspec.Meta(ge=MEMORY_MIB_MIN)]
"""What all worker processes may hold together."""


class _PlatformFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway: _Gateway
    worker: list[_Worker]
    egress: EgressFile = EgressFile()
    limits: PlanFile = PlanFile()
    memory_mib_total: MemoryMibTotal | None = None
    kv_namespace: list[KvNamespaceFile] = []
    quotas: QuotasFile = QuotasFile()


def deploy_order(workers: Iterable[PlatformWorker]) -> list[PlatformWorker]:
    """Workers with those before them that they have a service binding to; else first those of a dispatch namespace, so
    that a dispatcher that answers finds all of them, and as they stand in the file.

    A binding to what is not deployed yet is refused. Of Workers that bind one another in a circle one has to be
    deployed without its binding first, by hand.
    """
    customers_first = sorted(workers, key=lambda worker: worker.namespace is None)
    left = {(worker.namespace, worker.project.name): worker for worker in customers_first}
    ordered: list[PlatformWorker] = []

    def place(worker: PlatformWorker) -> None:
        for service in worker.project.services:
            bound = left.pop((None, service.service), None)
            if bound is not None:
                place(bound)
        ordered.append(worker)

    while left:
        place(left.pop(next(iter(left))))
    return ordered


def load_platform(folder: Path) -> Platform:
    """The platform in `folder`. Raises ConfigError, naming the file and the path in it."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    folder = folder.resolve()
    file = folder / PLATFORM_FILE
    if file.is_file():
        return _from_file(folder, file)
    if find_config(folder) is not None:
        project = load_project(folder)
        return Platform(folder, None, project.name, (PlatformWorker(project),))
    raise ConfigError(f"{folder}: holds neither {PLATFORM_FILE} nor a wrangler configuration (wrangler.jsonc)")


def _from_file(folder: Path, file: Path) -> Platform:
    try:
        content = msgspec.convert(tomllib.loads(read_config_file(file)), _PlatformFile)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{file}: {error}") from error
    workers = tuple(
        PlatformWorker(_project(folder, file, index, entry), entry.namespace, entry.customer)
        for index, entry in enumerate(content.worker)
    )
    _check_unique(file, workers)
    names = [worker.project.name for worker in workers if worker.namespace is None]
    if content.gateway.worker not in names:
        raise ConfigError(
            f"{file}: $.gateway.worker is {content.gateway.worker!r}, which is not a Worker of this file without a "
            f"namespace ({', '.join(names) or 'there is none'})"
        )
    return Platform(
        folder,
        file,
        content.gateway.worker,
        workers,
        _egress(file, content, workers),
        _plans(file, content, workers),
        content.memory_mib_total,
        parse_kv_namespaces(content.kv_namespace, f"{file}: $.kv_namespace"),
        parse_quotas(content.quotas, f"{file}: $.quotas"),
    )


def _egress(file: Path, content: _PlatformFile, workers: tuple[PlatformWorker, ...]) -> EgressPolicies:
    own: dict[tuple[str | None, str], EgressPolicy] = {}
    for index, (entry, worker) in enumerate(zip(content.worker, workers, strict=True)):
        if entry.egress is not None:
            policy = parse_egress(entry.egress, f"{file}: $.worker[{index}].egress")
            own[(worker.namespace, worker.project.name)] = policy
    return EgressPolicies(parse_egress(content.egress, f"{file}: $.egress"), own)


def _plans(file: Path, content: _PlatformFile, workers: tuple[PlatformWorker, ...]) -> Plans:
    own = {
        (worker.namespace, worker.project.name): (entry.limits, f"{file}: $.worker[{index}].limits")
        for index, (entry, worker) in enumerate(zip(content.worker, workers, strict=True))
    }
    return parse_plans(parse_plan(content.limits, f"{file}: $.limits"), own, content.gateway.worker)


def _project(folder: Path, file: Path, index: int, entry: _Worker) -> WorkerProject:
    for key, value in (("namespace", entry.namespace), ("customer", entry.customer)):
        if value is not None and not value.strip():
            raise ConfigError(f"{file}: $.worker[{index}].{key} is empty; leave it out instead")
    path = folder / entry.path
    if not path.is_dir():
        raise ConfigError(f"{file}: $.worker[{index}].path is {entry.path!r}: no such folder")
    return load_project(path)


def _check_unique(file: Path, workers: tuple[PlatformWorker, ...]) -> None:
    deployed: set[tuple[str | None, str]] = set()
    customers: set[str] = set()
    for index, worker in enumerate(workers):
        address = (worker.namespace, worker.project.name)
        if address in deployed:
            raise ConfigError(f"{file}: $.worker[{index}] is a second Worker with the name {worker.project.name!r}")
        deployed.add(address)
        if worker.customer is not None and worker.customer in customers:
            raise ConfigError(f"{file}: $.worker[{index}].customer {worker.customer!r} stands there twice")
        customers.update([worker.customer] if worker.customer is not None else [])
