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
from tenantry.control.reach import PINNED, is_within_reach
from tenantry.control.records import ScriptRef
from tenantry.control.schema import d1_databases, dispatch_namespaces, kv_namespaces, r2_buckets, scripts

__all__ = ["name_resources", "pin_resources", "replace_bindings", "resolve_bindings"]


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


def pin_resources(connection: Connection, ref: ScriptRef, bindings: Iterable[BindingSpec]) -> tuple[BindingSpec, ...]:
    """The bindings as a version of a Worker stores them: a dispatch namespace by its id too, for it may be renamed.

    Raises Invalid when one names what does not exist in this account, or is not within reach of who asks: the two, and
    what is another account's, are not told apart.
    """
    return tuple(_pin(connection, ref, binding) for binding in bindings)


def name_resources(connection: Connection, bindings: Iterable[BindingSpec]) -> tuple[BindingSpec, ...]:
    """The other way: the bindings as they are shown and run, with today's names."""
    return tuple(_name(connection, binding) for binding in bindings)


def _pin(connection: Connection, ref: ScriptRef, binding: BindingSpec) -> BindingSpec:
    fields = binding.fields
    condition = None
    match binding.type:
        case "kv_namespace":
            name, column, code = fields["namespace_id"], kv_namespaces.c.id, 10041
            message = f"KV namespace '{name}' not found"
        case "r2_bucket":
            name, column, code = fields["bucket_name"], r2_buckets.c.name, 10085
            message = f"R2 bucket {name[:80]!a} not found"
        case "d1":
            name, column, code = fields["database_id"], d1_databases.c.id, 10181
            message = f"D1 database {name[:80]!a} not found"
        case "dispatch_namespace":
            name, column, code = fields["namespace"], dispatch_namespaces.c.name, 10021
            message = f"dispatch namespace '{name}' not found"
        case "service":
            # Never a Worker of a dispatch namespace: those are customers', whose names nobody may guess.
            name, column, code = fields["service"], scripts.c.name, 10143
            condition = scripts.c.namespace_id.is_(None)
            message = f"Could not resolve service binding '{binding.name}'. Target script '{name}' not found"
        case _:
            if not is_within_reach(connection, ref, binding):
                raise Invalid(10021, f"binding {binding.name}: a token of the account has to bind a {binding.type}")
            return binding
    table = column.table
    identifier = table.c.id if "id" in table.c else column
    query = select(identifier).where(table.c.account_id == ref.account_id, column == name)
    found = connection.execute(query if condition is None else query.where(condition)).scalar()
    is_itself = binding.type == "service" and ref.namespace is None and name == ref.name
    if binding.type == "dispatch_namespace" and found is not None:
        binding = BindingSpec(binding.name, binding.type, {**fields, PINNED: found})
    if (found is None and not is_itself) or not is_within_reach(connection, ref, binding):
        hint = "Create it first, or mend its id or name."
        if ref.reach is not None:
            hint = "Create it first, mend its id or name, or use a token that may bind it."
        raise Invalid(code, f"binding {binding.name}: {message}. {hint}")
    return binding


def _name(connection: Connection, binding: BindingSpec) -> BindingSpec:
    if PINNED not in binding.fields:
        return binding
    fields = dict(binding.fields)
    query = select(dispatch_namespaces.c.name).where(dispatch_namespaces.c.id == fields.pop(PINNED))
    name = connection.execute(query).scalar()
    if name is not None:
        fields["namespace"] = name
    return BindingSpec(binding.name, binding.type, fields)
