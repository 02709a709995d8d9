"""The bindings of a project as upload metadata; what they name is found, or made where it is not there yet.

As wrangler does: a resource with an id is taken as it is, one with a name is looked up and made if absent, one with
neither gets the name `<worker>-<binding>`, in lower case and with `-` for `_`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tenantry.cli.client import ApiError, Client
from tenantry.config.wrangler import OutboundWorker, WorkerProject

__all__ = ["Provisioned", "ensure_dispatch_namespace", "fresh_access_key", "provision"]

# "It exists already": somebody else made it since we looked.
_KV_EXISTS = 10014
_BUCKET_EXISTS = 10004
_DATABASE_EXISTS = 7502


@dataclass(slots=True)
class Provisioned:
    """The bindings to upload, and the resources behind them: KV and D1 by id, R2 by name. `made` is for people."""

    bindings: list[dict[str, object]] = field(default_factory=list)
    kv: list[str] = field(default_factory=list)
    r2: list[str] = field(default_factory=list)
    d1: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


def provision(client: Client, project: WorkerProject) -> Provisioned:
    """Blocks. Raises ApiError."""
    result = Provisioned()
    for kv in project.kv_namespaces:
        namespace_id = kv.id or _kv(client, _name(project, kv.binding), result)
        result.kv.append(namespace_id)
        result.bindings.append({"name": kv.binding, "type": "kv_namespace", "namespace_id": namespace_id})
    for bucket in project.r2_buckets:
        name = bucket.bucket_name or _name(project, bucket.binding)
        _bucket(client, name, result)
        result.r2.append(name)
        binding: dict[str, object] = {"name": bucket.binding, "type": "r2_bucket", "bucket_name": name}
        if bucket.jurisdiction is not None:
            binding["jurisdiction"] = bucket.jurisdiction
        result.bindings.append(binding)
    for database in project.d1_databases:
        name = database.database_name or _name(project, database.binding)
        database_id = database.database_id or _database(client, name, result)
        result.d1.append(database_id)
        result.bindings.append({"name": database.binding, "type": "d1", "id": database_id})
    for dispatch in project.dispatch_namespaces:
        ensure_dispatch_namespace(client, dispatch.namespace, result.made)
        binding = {"name": dispatch.binding, "type": "dispatch_namespace", "namespace": dispatch.namespace}
        if dispatch.outbound is not None:
            binding["outbound"] = _outbound(dispatch.outbound)
        result.bindings.append(binding)
    for service in project.services:
        binding = {"name": service.binding, "type": "service", "service": service.service}
        for key in ("entrypoint", "environment"):
            if (value := getattr(service, key)) is not None:
                binding[key] = value
        result.bindings.append(binding)
    if project.assets is not None and project.assets.binding is not None:
        result.bindings.append({"name": project.assets.binding, "type": "assets"})
    for name, value in project.vars.items():
        if isinstance(value, str):
            result.bindings.append({"name": name, "type": "plain_text", "text": value})
        else:
            result.bindings.append({"name": name, "type": "json", "json": value})
    return result


def _outbound(outbound: OutboundWorker) -> dict[str, object]:
    """As the API has it: wrangler's files are flatter."""
    worker = {"service": outbound.service, "environment": outbound.environment, "entrypoint": outbound.entrypoint}
    return {
        "worker": {key: value for key, value in worker.items() if value is not None},
        "params": [{"name": name} for name in outbound.parameters],
    }


def ensure_dispatch_namespace(client: Client, name: str, made: list[str]) -> None:
    """Make the namespace if it is not there, and note it in `made`."""
    if name in client.dispatch_namespaces():
        return
    try:
        client.create_dispatch_namespace(name)
    except ApiError:
        # Perhaps somebody else was faster: only then is it there now.
        if name not in client.dispatch_namespaces():
            raise
    else:
        made.append(f"dispatch namespace {name}")


def fresh_access_key(client: Client, name: str, bucket: str) -> dict[str, str]:
    """A new access key for a bucket in place of those of the same name: secrets are shown only once."""
    for old in client.s3_credentials():
        if old["name"] == name:
            client.revoke_s3_credential(old["access_key_id"])
    made = client.create_s3_credential(name, "object-read-write", bucket)
    return {
        "access_key_id": made["access_key_id"],
        "secret_access_key": made["secret_access_key"],
        "bucket": bucket,
    }


def _kv(client: Client, title: str, result: Provisioned) -> str:
    return _find_or_make(
        lambda: client.kv_namespace(title),
        lambda: client.create_kv_namespace(title),
        _KV_EXISTS,
        lambda: result.made.append(f"KV namespace {title}"),
    )


def _database(client: Client, name: str, result: Provisioned) -> str:
    return _find_or_make(
        lambda: client.database(name),
        lambda: client.create_database(name),
        _DATABASE_EXISTS,
        lambda: result.made.append(f"D1 database {name}"),
    )


def _bucket(client: Client, name: str, result: Provisioned) -> None:
    if client.has_bucket(name):
        return
    try:
        client.create_bucket(name)
    except ApiError as error:
        if error.code != _BUCKET_EXISTS:
            raise
    else:
        result.made.append(f"R2 bucket {name}")


def _find_or_make(
    find: Callable[[], str | None], make: Callable[[], str], exists_code: int, on_made: Callable[[], None]
) -> str:
    if (found := find()) is not None:
        return found
    try:
        made = make()
    except ApiError as error:
        if error.code == exists_code and (found := find()) is not None:
            return found
        raise
    on_made()
    return made


def _name(project: WorkerProject, binding: str) -> str:
    return f"{project.name}-{binding.lower().replace('_', '-')}"
