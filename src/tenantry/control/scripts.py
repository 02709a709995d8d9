"""Workers ("scripts" in Cloudflare's API), their versions, and which version is deployed.

A version never changes. A deployment says which versions of a script get the requests; the script points at its current
one. So a deploy is one transaction: a version, a deployment, the pointer.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from tenantry.config.deployment import BindingSpec, DeployedWorker, WorkerLimits
from tenantry.control.bindings import check_resources, resolve_bindings
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import NotFound
from tenantry.control.schema import deployment_versions, deployments, dispatch_namespaces, scripts, versions
from tenantry.control.upload import Upload

__all__ = ["Deploy", "Script", "Scripts"]


class _StoredBinding(msgspec.Struct, frozen=True):
    name: str
    type: str
    fields: dict[str, Any]  # JSON, see BindingSpec


class _StoredMetadata(msgspec.Struct, frozen=True):
    """A version's metadata in the database. Fields may be added with a default, never renamed or dropped."""

    main_module: str
    compatibility_date: str
    compatibility_flags: list[str]
    bindings: list[_StoredBinding]
    cpu_ms: int | None = None
    subrequests: int | None = None


@dataclass(frozen=True, slots=True)
class Script:
    """A Worker with its current version."""

    id: str
    created_on: str
    modified_on: str
    worker: DeployedWorker
    modules: dict[str, str]


@dataclass(frozen=True, slots=True)
class Deploy:
    """The outcome of a deploy. `changed` is False when the current version was the same already."""

    script: Script
    changed: bool


class Scripts:
    """The Workers of all accounts. `namespace` is None for ordinary Workers. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deploy(
        self, account_id: str, namespace: str | None, name: str, upload: Upload, *, strict_inherit: bool
    ) -> Deploy:
        """Make a version of `upload` the current one, atomically and durably.

        The same upload again changes nothing and is answered with the version it made: clients repeat an upload whose
        answer was lost. Raises NotFound for the namespace, Invalid for bindings.
        """
        with self._database.write() as connection:
            namespace_id = _namespace_id(connection, account_id, namespace)
            current = _first(connection, account_id, namespace_id, name, namespace)
            bindings = resolve_bindings(
                upload.metadata, () if current is None else current.worker.bindings, strict=strict_inherit
            )
            check_resources(connection, account_id, bindings)
            worker = DeployedWorker(
                namespace=namespace,
                name=name,
                version_id=str(uuid.uuid4()),
                bundle=upload.bundle,
                main_module=upload.metadata.main_module,
                compatibility_date=upload.metadata.compatibility_date,
                compatibility_flags=upload.metadata.compatibility_flags,
                bindings=bindings,
                limits=upload.metadata.limits,
            )
            if current is not None and _same(current, worker, upload.modules):
                return Deploy(current, changed=False)
            script_id = secrets.token_hex(16) if current is None else current.id
            moment = now()
            created_on = moment if current is None else current.created_on
            if current is None:
                connection.execute(
                    insert(scripts).values(
                        id=script_id,
                        account_id=account_id,
                        namespace_id=namespace_id,
                        name=name,
                        created_on=moment,
                        modified_on=moment,
                    )
                )
            _insert_version(connection, script_id, worker, upload.modules, moment)
            _point_at(connection, script_id, worker.version_id, moment)
            return Deploy(Script(script_id, created_on, moment, worker, upload.modules), changed=True)

    def get(self, account_id: str, namespace: str | None, name: str) -> Script:
        """Raises NotFound: 10007 for an ordinary Worker or a namespace, 10092 for a user Worker."""
        with self._database.read() as connection:
            namespace_id = _namespace_id(connection, account_id, namespace)
            script = _first(connection, account_id, namespace_id, name, namespace)
        if script is None:
            raise _absent(namespace)
        return script

    def delete(self, account_id: str, namespace: str | None, name: str) -> None:
        """Remove a Worker with all its versions. Raises NotFound as `get` does."""
        with self._database.write() as connection:
            namespace_id = _namespace_id(connection, account_id, namespace)
            script = _first(connection, account_id, namespace_id, name, namespace)
            if script is None:
                raise _absent(namespace)
            connection.execute(delete(scripts).where(scripts.c.id == script.id))

    def all_deployed(self) -> Iterator[DeployedWorker]:
        """Every Worker that gets requests."""
        with self._database.read() as connection:
            for row in connection.execute(_current(dispatch_namespaces.c.name.label("namespace"))):
                yield _worker(row, row.namespace)

    def bundles(self) -> set[str]:
        """The address of every bundle that a version names."""
        with self._database.read() as connection:
            return set(connection.execute(select(versions.c.bundle).distinct()).scalars())


# Any: the rows of joined tables have no type that is worth writing down; columns are read by name.
def _current(*more: Any) -> Select[Any]:
    """Scripts beside their current version. A split deployment is represented by the version with the largest part."""
    largest = (
        select(deployment_versions.c.version_id)
        .where(deployment_versions.c.deployment_id == scripts.c.deployment_id)
        .order_by(deployment_versions.c.percent.desc(), deployment_versions.c.version_id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            scripts.c.id,
            scripts.c.name,
            scripts.c.created_on,
            scripts.c.modified_on,
            versions.c.id.label("version_id"),
            versions.c.bundle,
            versions.c.metadata,
            *more,
        )
        .select_from(scripts)
        .join(versions, versions.c.id == largest)
        .outerjoin(dispatch_namespaces, dispatch_namespaces.c.id == scripts.c.namespace_id)
    )


def _worker(row: Row[Any], namespace: str | None) -> DeployedWorker:
    metadata = msgspec.json.decode(row.metadata, type=_StoredMetadata)
    return DeployedWorker(
        namespace=namespace,
        name=row.name,
        version_id=row.version_id,
        bundle=row.bundle,
        main_module=metadata.main_module,
        compatibility_date=metadata.compatibility_date,
        compatibility_flags=tuple(metadata.compatibility_flags),
        bindings=tuple(BindingSpec(binding.name, binding.type, binding.fields) for binding in metadata.bindings),
        limits=WorkerLimits(metadata.cpu_ms, metadata.subrequests),
    )


def _namespace_id(connection: Connection, account_id: str, namespace: str | None) -> str | None:
    if namespace is None:
        return None
    query = select(dispatch_namespaces.c.id).where(
        dispatch_namespaces.c.account_id == account_id, dispatch_namespaces.c.name == namespace
    )
    namespace_id: str | None = connection.execute(query).scalar()
    if namespace_id is None:
        raise NotFound(10007, f"dispatch namespace {namespace[:80]!a} not found")
    return namespace_id


def _first(
    connection: Connection, account_id: str, namespace_id: str | None, name: str, namespace: str | None
) -> Script | None:
    query = _current(versions.c.modules).where(
        scripts.c.account_id == account_id,
        scripts.c.namespace_id.is_(None) if namespace_id is None else scripts.c.namespace_id == namespace_id,
        scripts.c.name == name,
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    modules = msgspec.json.decode(row.modules, type=dict[str, str])
    return Script(row.id, row.created_on, row.modified_on, _worker(row, namespace), modules)


def _same(current: Script, worker: DeployedWorker, modules: dict[str, str]) -> bool:
    return (
        modules == current.modules
        and _document(worker) == _document(current.worker)
        and (worker.bundle == current.worker.bundle)
    )


def _document(worker: DeployedWorker) -> bytes:
    stored = _StoredMetadata(
        main_module=worker.main_module,
        compatibility_date=worker.compatibility_date,
        compatibility_flags=list(worker.compatibility_flags),
        bindings=[_StoredBinding(binding.name, binding.type, dict(binding.fields)) for binding in worker.bindings],
        cpu_ms=worker.limits.cpu_ms,
        subrequests=worker.limits.subrequests,
    )
    return msgspec.json.encode(stored)


def _insert_version(
    connection: Connection, script_id: str, worker: DeployedWorker, modules: dict[str, str], moment: str
) -> None:
    last = select(func.coalesce(func.max(versions.c.number), 0)).where(versions.c.script_id == script_id)
    connection.execute(
        insert(versions).values(
            id=worker.version_id,
            script_id=script_id,
            number=connection.execute(last).scalar_one() + 1,
            bundle=worker.bundle,
            metadata=_document(worker).decode(),
            modules=msgspec.json.encode(modules, order="sorted").decode(),
            created_on=moment,
        )
    )


def _point_at(connection: Connection, script_id: str, version_id: str, moment: str) -> None:
    deployment_id = str(uuid.uuid4())
    last = select(func.coalesce(func.max(deployments.c.number), 0)).where(deployments.c.script_id == script_id)
    connection.execute(
        insert(deployments).values(
            id=deployment_id,
            script_id=script_id,
            number=connection.execute(last).scalar_one() + 1,
            created_on=moment,
        )
    )
    connection.execute(
        insert(deployment_versions).values(deployment_id=deployment_id, version_id=version_id, percent=100)
    )
    connection.execute(
        update(scripts).where(scripts.c.id == script_id).values(deployment_id=deployment_id, modified_on=moment)
    )


def _absent(namespace: str | None) -> NotFound:
    if namespace is None:
        return NotFound(10007, "This Worker does not exist on your account.")
    return NotFound(
        10092, "workers.api.error.environment_not_found: there is no such Worker in this dispatch namespace"
    )
