"""What the store keeps of a Worker, and the statements that read and write it, on a connection of the caller's.

A version never changes. A deployment says which versions of a script get its requests, and in which shares; the script
points at its current one. The values of secrets stand in a table of their own (`secrets`); a version has their ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, insert, select, update

from tenantry.config.deployment import AssetsConfig, BindingSpec, DeployedAssets, WorkerLimits
from tenantry.control.errors import NotFound
from tenantry.control.schema import deployment_versions, deployments, dispatch_namespaces, scripts, versions

__all__ = [
    "Deployment",
    "Origin",
    "Schedule",
    "Script",
    "ScriptRef",
    "ScriptSettings",
    "Share",
    "Version",
    "VersionMetadata",
    "absent",
    "deploy_versions",
    "deployment_of",
    "find_script",
    "insert_version",
    "latest_version",
    "namespace_id_of",
    "need_script",
    "place_of",
    "read_script",
    "read_version",
    "script_query",
    "version_query",
    "write_settings",
]


@dataclass(frozen=True, slots=True)
class ScriptRef:
    """A Worker as a request names it. `namespace` is None outside dispatch namespaces."""

    account_id: str
    namespace: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who asked for a change, and what they said about it. `source` is a word of Cloudflare's: wrangler, api."""

    source: str = "api"
    annotations: Mapping[str, str] = field(default_factory=dict)

    def triggered_by(self, what: str) -> Origin:
        return Origin(self.source, {"workers/triggered_by": what, **self.annotations})


class Schedule(msgspec.Struct, frozen=True):
    cron: str
    created_on: str
    modified_on: str


class ScriptSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What belongs to a Worker and to none of its versions. Fields may be added with a default, never renamed."""

    tags: tuple[str, ...] = ()
    logpush: bool = False
    observability: dict[str, Any] | None = None  # JSON, stored and shown as it came
    tail_consumers: tuple[dict[str, Any], ...] = ()
    schedules: tuple[Schedule, ...] = ()
    subdomain_enabled: bool = True
    previews_enabled: bool = False


class _StoredBinding(msgspec.Struct, frozen=True):
    name: str
    type: str
    fields: dict[str, Any]  # JSON, see BindingSpec; of a secret `{"secret": <id>}`


class _StoredAssets(msgspec.Struct, frozen=True):
    """Fields may be added with a default, never renamed or dropped."""

    manifest: str
    html_handling: str
    not_found_handling: str
    run_worker_first: bool | tuple[str, ...]
    redirects: str
    headers: str


class _StoredMetadata(msgspec.Struct, frozen=True):
    """Fields may be added with a default, never renamed or dropped."""

    main_module: str
    compatibility_date: str
    compatibility_flags: list[str]
    bindings: list[_StoredBinding]
    cpu_ms: int | None = None
    subrequests: int | None = None
    assets: _StoredAssets | None = None


@dataclass(frozen=True, slots=True)
class VersionMetadata:
    """What a version is made of beside its files. Secrets among the bindings are ids. `main_module` is empty where it
    has no code."""

    main_module: str
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    bindings: tuple[BindingSpec, ...]
    limits: WorkerLimits
    assets: DeployedAssets | None = None

    def document(self) -> str:
        stored = _StoredMetadata(
            main_module=self.main_module,
            compatibility_date=self.compatibility_date,
            compatibility_flags=list(self.compatibility_flags),
            bindings=[_StoredBinding(binding.name, binding.type, dict(binding.fields)) for binding in self.bindings],
            cpu_ms=self.limits.cpu_ms,
            subrequests=self.limits.subrequests,
            assets=None if self.assets is None else _stored_assets(self.assets),
        )
        return msgspec.json.encode(stored).decode()

    @classmethod
    def read(cls, document: str) -> VersionMetadata:
        stored = msgspec.json.decode(document, type=_StoredMetadata)
        return cls(
            stored.main_module,
            stored.compatibility_date,
            tuple(stored.compatibility_flags),
            tuple(BindingSpec(binding.name, binding.type, binding.fields) for binding in stored.bindings),
            WorkerLimits(stored.cpu_ms, stored.subrequests),
            None if stored.assets is None else _read_assets(stored.assets),
        )


def _stored_assets(assets: DeployedAssets) -> _StoredAssets:
    config = assets.config
    return _StoredAssets(
        assets.manifest,
        config.html_handling,
        config.not_found_handling,
        config.run_worker_first,
        config.redirects,
        config.headers,
    )


def _read_assets(stored: _StoredAssets) -> DeployedAssets:
    config = AssetsConfig(
        stored.html_handling,
        stored.not_found_handling,
        stored.run_worker_first,
        stored.redirects,
        stored.headers,
    )
    return DeployedAssets(stored.manifest, config)


@dataclass(frozen=True, slots=True)
class Version:
    """Immutable. `modules` maps the name of each file to its content type."""

    id: str
    number: int
    bundle: str
    metadata: VersionMetadata
    modules: dict[str, str]
    annotations: dict[str, str]
    source: str
    startup_ms: int
    created_on: str


@dataclass(frozen=True, slots=True)
class Share:
    version_id: str
    percentage: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """`shares` add up to 100, the largest first."""

    id: str
    shares: tuple[Share, ...]
    annotations: dict[str, str]
    source: str
    created_on: str


@dataclass(frozen=True, slots=True)
class Script:
    """A Worker, with the version that gets the largest share of its requests."""

    id: str
    name: str
    namespace: str | None
    created_on: str
    modified_on: str
    settings: ScriptSettings
    version: Version
    deployment_id: str


def namespace_id_of(connection: Connection, account_id: str, namespace: str) -> str:
    """Raises NotFound (10007)."""
    query = select(dispatch_namespaces.c.id).where(
        dispatch_namespaces.c.account_id == account_id, dispatch_namespaces.c.name == namespace
    )
    namespace_id: str | None = connection.execute(query).scalar()
    if namespace_id is None:
        raise NotFound(10007, f"dispatch namespace {namespace[:80]!a} not found")
    return namespace_id


def place_of(connection: Connection, account_id: str, namespace: str | None) -> ColumnElement[bool]:
    """The condition for the scripts of a namespace, or those outside of them. Raises NotFound (10007)."""
    place: ColumnElement[bool] = scripts.c.namespace_id.is_(None)
    if namespace is not None:
        place = scripts.c.namespace_id == namespace_id_of(connection, account_id, namespace)
    return and_(scripts.c.account_id == account_id, place)


# Any: the rows of joined tables have no type that is worth writing down; columns are read by name.
def script_query() -> Select[Any]:
    """Scripts beside the version with the largest share."""
    largest = (
        select(deployment_versions.c.version_id)
        .where(deployment_versions.c.deployment_id == scripts.c.deployment_id)
        .order_by(deployment_versions.c.percentage.desc(), deployment_versions.c.version_id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            scripts.c.name,
            scripts.c.created_on.label("script_created_on"),
            scripts.c.modified_on,
            scripts.c.settings,
            scripts.c.deployment_id,
            versions,
            dispatch_namespaces.c.name.label("namespace"),
        )
        .select_from(scripts)
        .join(versions, versions.c.id == largest)
        .outerjoin(dispatch_namespaces, dispatch_namespaces.c.id == scripts.c.namespace_id)
    )


def read_script(row: Row[Any]) -> Script:
    return Script(
        row.script_id,
        row.name,
        row.namespace,
        row.script_created_on,
        row.modified_on,
        msgspec.json.decode(row.settings, type=ScriptSettings),
        read_version(row),
        row.deployment_id,
    )


def read_version(row: Row[Any]) -> Version:
    return Version(
        row.id,
        row.number,
        row.bundle,
        VersionMetadata.read(row.metadata),
        msgspec.json.decode(row.modules, type=dict[str, str]),
        msgspec.json.decode(row.annotations, type=dict[str, str]),
        row.source,
        row.startup_ms,
        row.created_on,
    )


def find_script(connection: Connection, ref: ScriptRef) -> Script | None:
    """None for a Worker that is absent. Raises NotFound (10007) for its namespace."""
    place = place_of(connection, ref.account_id, ref.namespace)
    query = script_query().where(place, scripts.c.name == ref.name)
    row = connection.execute(query).first()
    return None if row is None else read_script(row)


def need_script(connection: Connection, ref: ScriptRef) -> Script:
    """Raises NotFound: 10007 for an ordinary Worker or a namespace, 10092 for a user Worker."""
    script = find_script(connection, ref)
    if script is None:
        raise absent(ref.namespace)
    return script


def absent(namespace: str | None) -> NotFound:
    if namespace is None:
        return NotFound(10007, "This Worker does not exist on your account.")
    return NotFound(
        10092, "workers.api.error.environment_not_found: there is no such Worker in this dispatch namespace"
    )


def version_query(script_id: str) -> Select[Any]:
    """The newest first."""
    return select(versions).where(versions.c.script_id == script_id).order_by(versions.c.number.desc())


def latest_version(connection: Connection, script_id: str) -> Version:
    return read_version(connection.execute(version_query(script_id).limit(1)).one())


def deployment_of(connection: Connection, row: Row[Any]) -> Deployment:
    query = (
        select(deployment_versions.c.version_id, deployment_versions.c.percentage)
        .where(deployment_versions.c.deployment_id == row.id)
        .order_by(deployment_versions.c.percentage.desc(), deployment_versions.c.version_id)
    )
    shares = tuple(Share(version_id, percentage) for version_id, percentage in connection.execute(query))
    annotations = msgspec.json.decode(row.annotations, type=dict[str, str])
    return Deployment(row.id, shares, annotations, row.source, row.created_on)


def insert_version(
    connection: Connection,
    script_id: str,
    metadata: VersionMetadata,
    bundle: str,
    modules: Mapping[str, str],
    origin: Origin,
    startup_ms: int,
    moment: str,
) -> Version:
    last = select(func.coalesce(func.max(versions.c.number), 0)).where(versions.c.script_id == script_id)
    made = Version(
        str(uuid.uuid4()),
        connection.execute(last).scalar_one() + 1,
        bundle,
        metadata,
        dict(modules),
        dict(origin.annotations),
        origin.source,
        startup_ms,
        moment,
    )
    connection.execute(
        insert(versions).values(
            id=made.id,
            script_id=script_id,
            number=made.number,
            bundle=bundle,
            metadata=metadata.document(),
            modules=msgspec.json.encode(made.modules, order="sorted").decode(),
            annotations=msgspec.json.encode(made.annotations).decode(),
            source=made.source,
            startup_ms=startup_ms,
            created_on=moment,
        )
    )
    return made


def deploy_versions(
    connection: Connection, script_id: str, shares: Iterable[Share], origin: Origin, moment: str
) -> Deployment:
    """The script's new current deployment. `shares` are valid."""
    last = select(func.coalesce(func.max(deployments.c.number), 0)).where(deployments.c.script_id == script_id)
    made = Deployment(
        str(uuid.uuid4()),
        tuple(sorted(shares, key=lambda share: (-share.percentage, share.version_id))),
        dict(origin.annotations),
        origin.source,
        moment,
    )
    connection.execute(
        insert(deployments).values(
            id=made.id,
            script_id=script_id,
            number=connection.execute(last).scalar_one() + 1,
            annotations=msgspec.json.encode(made.annotations).decode(),
            source=made.source,
            created_on=moment,
        )
    )
    for share in made.shares:
        connection.execute(
            insert(deployment_versions).values(
                deployment_id=made.id, version_id=share.version_id, percentage=share.percentage
            )
        )
    connection.execute(
        update(scripts).where(scripts.c.id == script_id).values(deployment_id=made.id, modified_on=moment)
    )
    return made


def write_settings(connection: Connection, script_id: str, settings: ScriptSettings, moment: str) -> None:
    document = msgspec.json.encode(settings).decode()
    connection.execute(update(scripts).where(scripts.c.id == script_id).values(settings=document, modified_on=moment))
