"""From the bindings that an upload asks for to those that its version gets.

Inherited ones take the place of the previous version's; secrets, and types that the upload says to keep, stay unless
they are named anew; and every resource must exist in the same account.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from tenantry.config.deployment import SECRET_TYPES, BindingSpec
from tenantry.control.errors import Invalid
from tenantry.control.metadata import INHERIT, Metadata
from tenantry.control.schema import d1_databases, dispatch_namespaces, kv_namespaces, r2_buckets

__all__ = ["name_resources", "pin_resources", "replace_bindings", "resolve_bindings"]

_NAMESPACE_ID = "namespace_id_pinned"


def resolve_bindings(metadata: Metadata, previous: Iterable[BindingSpec], *, strict: bool) -> tuple[BindingSpec, ...]:
    """The bindings of the new version. An `inherit` without a source is left out, or Invalid (10057) if `strict`."""
    return replace_bindings(metadata.bindings, previous, kept=metadata.keep_bindings | SECRET_TYPES, strict=strict)


def replace_bindings(
    wanted: Iterable[BindingSpec], previous: Iterable[BindingSpec], *, kept: Collection[str], strict: bool
) -> tuple[BindingSpec, ...]:
    """`wanted` in the place of `previous`, of which the types in `kept` stay unless they are named anew."""
    wanted = tuple(wanted)
    old = {binding.name: binding for binding in previous}
    resolved: dict[str, BindingSpec] = {}
    for binding in wanted:
        if binding.type != INHERIT:
            resolved[binding.name] = binding
        elif (source := old.get(binding.fields["old_name"])) is not None:
            resolved[binding.name] = BindingSpec(binding.name, source.type, source.fields)
        elif strict:
            raise Invalid(
                10057, f"inherit binding '{binding.name}' is invalid: the previous version has no binding of that name"
            )
    named = {binding.name for binding in wanted}
    for binding in old.values():
        if binding.type in kept and binding.name not in named:
            resolved[binding.name] = binding
    return tuple(resolved.values())


def pin_resources(connection: Connection, account_id: str, bindings: Iterable[BindingSpec]) -> tuple[BindingSpec, ...]:
    """The bindings as a version stores them: a dispatch namespace by its id too, for it may be renamed.

    Raises Invalid when one names what does not exist in this account; another's is not told apart from none.
    """
    return tuple(_pin(connection, account_id, binding) for binding in bindings)


def name_resources(connection: Connection, bindings: Iterable[BindingSpec]) -> tuple[BindingSpec, ...]:
    """The other way: the bindings as they are shown and run, with today's names."""
    return tuple(_name(connection, binding) for binding in bindings)


def _pin(connection: Connection, account_id: str, binding: BindingSpec) -> BindingSpec:
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
            return binding
    table = column.table
    identifier = table.c.id if "id" in table.c else column
    query = select(identifier).where(table.c.account_id == account_id, column == name)
    found = connection.execute(query).scalar()
    if found is None:
        raise Invalid(code, f"binding {binding.name}: {message}. Create it first, or mend its id or name.")
    if binding.type != "dispatch_namespace":
        return binding
    return BindingSpec(binding.name, binding.type, {**binding.fields, _NAMESPACE_ID: found})


def _name(connection: Connection, binding: BindingSpec) -> BindingSpec:
    if _NAMESPACE_ID not in binding.fields:
        return binding
    fields = dict(binding.fields)
    query = select(dispatch_namespaces.c.name).where(dispatch_namespaces.c.id == fields.pop(_NAMESPACE_ID))
    name = connection.execute(query).scalar()
    if name is not None:
        fields["namespace"] = name
    return BindingSpec(binding.name, binding.type, fields)
