"""The settings of `tenantry serve`: a file, and environment variables that win over it.

    data = "/var/lib/tenantry"
    gateway_worker = "my-binding-dispatcher"   # the Worker that gets the tenants' requests
    host = "0.0.0.0"
    control_host = "127.0.0.1"

    [identity]                                 # see config.identity
    api_keys = true

    [egress]                                   # see config.egress
    policy = "public"

    [limits]                                   # see config.plans
    memory_mib = 128

    [[worker]]                                 # what is different for one Worker
    name = "customer-worker-1"
    namespace = "bindings"
    limits = { memory_mib = 256 }
    egress = { policy = "deny" }

    [[kv_namespace]]                           # what is set for one KV namespace: see config.kv
    title = "customer-worker-1-USER_KV"
    consistency = "cloudflare_like"

A variable is the path of a key in capitals behind `TENANTRY_`, with `__` between its steps:
`TENANTRY_CONTROL_PORT=9001`, `TENANTRY_IDENTITY__JWT__SECRET=...`. Its value is read as TOML, and as text where it is
none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from tenantry.config.egress import EgressFile, EgressPolicies, parse_egress
from tenantry.config.files import read_config_file
from tenantry.config.identity import IdentityFile, parse_identity
from tenantry.config.kv import KvNamespaceFile, parse_kv_namespaces
from tenantry.config.limits import (
    DRAIN_NOTICE_SECONDS_DEFAULT,
    DRAIN_SECONDS_DEFAULT,
    DRAIN_SECONDS_MAX,
    LOG_DAYS_DEFAULT,
    LOG_DAYS_MAX,
    LOGS_MIB_DEFAULT,
    LOGS_MIB_MAX,
)
from tenantry.config.plans import PlanFile, Plans, parse_plan, parse_plans
from tenantry.config.platform import MemoryMibTotal, PlatformSettings
from tenantry.config.quotas import QuotasFile, parse_quotas
from tenantry.errors import ConfigError

__all__ = ["ENVIRONMENT_PREFIX", "load_installation"]

ENVIRONMENT_PREFIX: Final = "TENANTRY_"
_OF_CLIENTS: Final = frozenset({"TENANTRY_URL", "TENANTRY_TOKEN", "TENANTRY_ACCOUNT", "TENANTRY_PROFILE"})
"""What the client commands read. It may stand in the same environment."""
_DOMAIN: Final = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_OF_SERVE: Final = frozenset({"TENANTRY_CONFIG", "TENANTRY_SECRETS_KEYS"})


class _Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    namespace: str | None = None
    egress: EgressFile | None = None
    limits: PlanFile = PlanFile()


class _InstallationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway_worker: str
    identity: IdentityFile
    data: str = "data"
    host: str = "127.0.0.1"
    port: int = 8787
    control_host: str = "127.0.0.1"
    control_port: int = 8788
    s3_host: str = "127.0.0.1"
    s3_port: int = 8789
    s3_domains: tuple[str, ...] = ()
    tail_port: int = 8790
    isolation: Literal["strict", "container"] = "strict"
    durability: Literal["full", "process"] = "full"
    drain_seconds: float = DRAIN_SECONDS_DEFAULT
    drain_notice_seconds: float = DRAIN_NOTICE_SECONDS_DEFAULT
    memory_mib_total: MemoryMibTotal | None = None
    logs_mib: Annotated[int, msgspec.Meta(ge=0, le=LOGS_MIB_MAX)] = LOGS_MIB_DEFAULT
    log_days: Annotated[float, msgspec.Meta(gt=0, le=LOG_DAYS_MAX)] = LOG_DAYS_DEFAULT
    egress: EgressFile = EgressFile()
    limits: PlanFile = PlanFile()
    worker: list[_Worker] = []
    kv_namespace: list[KvNamespaceFile] = []
    quotas: QuotasFile = QuotasFile()


@dataclass(frozen=True, slots=True)
class _Source:
    """What was read, and from where: for messages."""

    content: _InstallationFile
    where: str
    folder: Path


def load_installation(file: Path | None, environment: Mapping[str, str]) -> PlatformSettings:
    """The settings to start with. Relative paths are relative to the file's folder, else to the current one.

    Raises ConfigError, which names the key. A variable that begins with TENANTRY_ and is no key is one too.
    """
    source = _read(file, environment)
    content, where = source.content, source.where
    for key in ("port", "control_port", "s3_port", "tail_port"):
        if not 0 <= getattr(content, key) <= 65535:
            raise ConfigError(f"{where}{key} is {getattr(content, key)}, which is not a port")
    places = [
        (content.host, content.port),
        (content.control_host, content.control_port),
        (content.s3_host, content.s3_port),
        (content.control_host, content.tail_port),
    ]
    listening = [place for place in places if place[1] != 0]
    if len(set(listening)) < len(listening):
        raise ConfigError(
            f"{where}tenants, control plane, S3 and tails need a port each: see port, control_port, s3_port, tail_port"
        )
    for key in ("drain_seconds", "drain_notice_seconds"):
        if not 0 <= getattr(content, key) <= DRAIN_SECONDS_MAX:
            raise ConfigError(f"{where}{key} is not between 0 and {DRAIN_SECONDS_MAX:g}")
    addresses = _addresses(source)
    return PlatformSettings(
        data=source.folder / content.data,
        gateway_worker=content.gateway_worker,
        host=content.host,
        port=content.port,
        control_host=content.control_host,
        control_port=content.control_port,
        s3_host=content.s3_host,
        s3_port=content.s3_port,
        s3_domains=_domains(content.s3_domains, where),
        tail_port=content.tail_port,
        isolation=content.isolation,
        durability=content.durability,
        identity=parse_identity(content.identity, f"{where}identity", source.folder),
        drain_seconds=content.drain_seconds,
        drain_notice_seconds=content.drain_notice_seconds,
        egress=_egress(source, addresses),
        plans=_plans(source, addresses),
        memory_mib_total=content.memory_mib_total,
        logs_mib=content.logs_mib,
        log_days=content.log_days,
        kv=parse_kv_namespaces(content.kv_namespace, f"{where}kv_namespace"),
        quotas=parse_quotas(content.quotas, f"{where}quotas"),
    )


def _domains(given: tuple[str, ...], where: str) -> tuple[str, ...]:
    """In lower case, those that end in another before it, so that the more specific one is found first."""
    for domain in given:
        if not _DOMAIN.fullmatch(domain):
            raise ConfigError(f"{where}s3_domains: {domain[:80]!r} is not a host name, such as s3.example.com")
    return tuple(sorted((domain.lower() for domain in given), key=len, reverse=True))


def _read(file: Path | None, environment: Mapping[str, str]) -> _Source:
    document: dict[str, Any] = {}  # Any: TOML
    if file is not None:
        try:
            document = tomllib.loads(read_config_file(file))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{file}: {error}") from error
    for name in sorted(environment):
        if name.startswith(ENVIRONMENT_PREFIX) and name not in _OF_CLIENTS | _OF_SERVE:
            _put(document, name, environment[name])
    where = f"{file}: " if file is not None else ""
    try:
        content = msgspec.convert(document, _InstallationFile)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}{error}{_variables(environment)}") from error
    return _Source(content, f"{where}$.", file.resolve().parent if file is not None else Path.cwd())


def _put(document: dict[str, Any], name: str, value: str) -> None:
    *tables, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    for table in tables:
        document = document.setdefault(table, {})
        if not isinstance(document, dict):
            raise ConfigError(f"{name}: {table!r} is not a table in the file")
    try:
        document[key] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        document[key] = value


def _variables(environment: Mapping[str, str]) -> str:
    """Names only: values may be secret."""
    names = [name for name in sorted(environment) if name.startswith(ENVIRONMENT_PREFIX) and name not in _OF_CLIENTS]
    return f" (with {', '.join(names)} from the environment)" if names else ""


def _addresses(source: _Source) -> list[tuple[str | None, str]]:
    addresses = [(worker.namespace, worker.name) for worker in source.content.worker]
    for index, address in enumerate(addresses):
        if address in addresses[:index]:
            raise ConfigError(f"{source.where}worker[{index}] is a second entry for the Worker {address[1]!r}")
    return addresses


def _egress(source: _Source, addresses: list[tuple[str | None, str]]) -> EgressPolicies:
    own = {
        address: parse_egress(worker.egress, f"{source.where}worker[{index}].egress")
        for index, (address, worker) in enumerate(zip(addresses, source.content.worker, strict=True))
        if worker.egress is not None
    }
    return EgressPolicies(parse_egress(source.content.egress, f"{source.where}egress"), own)


def _plans(source: _Source, addresses: list[tuple[str | None, str]]) -> Plans:
    default = parse_plan(source.content.limits, f"{source.where}limits")
    own = {
        address: (worker.limits, f"{source.where}worker[{index}].limits")
        for index, (address, worker) in enumerate(zip(addresses, source.content.worker, strict=True))
    }
    own.setdefault((None, source.content.gateway_worker), (PlanFile(), f"{source.where}limits"))
    return parse_plans(default, own, source.content.gateway_worker)
