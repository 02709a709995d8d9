"""From the bindings that an upload asks for to those that its version gets.

Inherited ones take the place of the previous version's; secrets, and types that the upload says to keep, stay unless
they are named anew; and every resource must exist in the same account.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Column, Connection, select

from tenantry.config.deployment import BindingSpec
from tenantry.control.errors import Invalid
from tenantry.control.metadata import INHERIT, SECRET_TYPES, Metadata
from tenantry.control.schema import d1_databases, dispatch_namespaces, kv_namespaces, r2_buckets

__all__ = ["check_resources", "resolve_bindings"]


def resolve_bindings(metadata: Metadata, previous: Iterable[BindingSpec], *, strict: bool) -> tuple[BindingSpec, ...]:
    """The bindings of the new version. An `inherit` without a source is left out, or Invalid (10057) if `strict`."""
    old = {binding.name: binding for binding in previous}
    resolved: dict[str, BindingSpec] = {}
    for binding in metadata.bindings:
        if binding.type != INHERIT:
            resolved[binding.name] = binding
        elif (source := old.get(binding.fields["old_name"])) is not None:
            resolved[binding.name] = BindingSpec(binding.name, source.type, source.fields)
        elif strict:
            raise Invalid(
                10057, f"inherit binding '{binding.name}' is invalid: the previous version has no binding of that name"
            )
    kept = metadata.keep_bindings | SECRET_TYPES
    named = {binding.name for binding in metadata.bindings}
    for binding in old.values():
        if binding.type in kept and binding.name not in named:
            resolved[binding.name] = binding
    return tuple(resolved.values())


def check_resources(connection: Connection, account_id: str, bindings: Iterable[BindingSpec]) -> None:
    """Raise Invalid when a binding names what does not exist in this account; another's is not told apart from none."""
    for binding in bindings:
        match binding.type:
            case "kv_namespace":
                name, column, code = binding.fields["namespace_id"], kv_namespaces.c.id, 10041
                message = f"KV namespace '{name}' not found"
            case "r2_bucket":
                name, column, code = binding.fields["bucket_name"], r2_buckets.c.name, 10085
                message = f"R2 bucket {name[:80]!a} not found"
            case "d1":
                name, column, code = binding.fields["database_id"], d1_databases.c.id, 10181
                message = f"D1 database {name[:80]!a} not found"
            case "dispatch_namespace":
                name, column, code = binding.fields["namespace"], dispatch_namespaces.c.name, 10021
                message = f"dispatch namespace '{name}' not found"
            case _:
                continue
        if not _exists(connection, account_id, column, name):
            raise Invalid(code, f"binding {binding.name}: {message}. Create it first, or mend its id or name.")


def _exists(connection: Connection, account_id: str, column: Column[str], value: str) -> bool:
    query = select(column).where(column.table.c.account_id == account_id, column == value)
    return connection.execute(query).first() is not None
