"""The values of secrets: the one place that writes and reads them. They lie sealed in the store, see vault.

A binding of a secret type leaves here as `{"secret": <id of a row>}`, which is what versions store; with the value in
it only on its way to the data plane.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from sqlalchemy import Connection, insert, select, update

from tenantry.config.deployment import SECRET_TYPES, BindingSpec
from tenantry.control.database import vault_of
from tenantry.control.schema import script_secrets

__all__ = ["keep_values", "reseal_values", "with_values"]


def keep_values(
    connection: Connection, script_id: str, bindings: Iterable[BindingSpec], moment: str
) -> tuple[BindingSpec, ...]:
    """The bindings as a version stores them. A value that the script had under this name is not stored twice."""
    return tuple(
        BindingSpec(binding.name, binding.type, {"secret": _keep(connection, script_id, binding, moment)})
        if binding.type in SECRET_TYPES and "text" in binding.fields
        else binding
        for binding in bindings
    )


def with_values(connection: Connection, bindings: Iterable[BindingSpec]) -> tuple[BindingSpec, ...]:
    """The bindings as a process of the Worker gets them."""
    return tuple(
        BindingSpec(binding.name, binding.type, {"text": _value(connection, binding.fields["secret"])})
        if binding.type in SECRET_TYPES and "secret" in binding.fields
        else binding
        for binding in bindings
    )


def reseal_values(connection: Connection) -> int:
    """Seal with today's key what is not. Gives how many there are."""
    vault = vault_of(connection)
    table = script_secrets
    rows = connection.execute(select(table.c.id, table.c.script_id, table.c.name, table.c.value)).all()
    for row in rows:
        if not vault.is_current(row.value):
            context = _context(row.script_id, row.name)
            value = vault.seal(vault.unseal(row.value, context), context)
            connection.execute(update(table).where(table.c.id == row.id).values(value=value))
    return len(rows)


def _keep(connection: Connection, script_id: str, binding: BindingSpec, moment: str) -> str:
    vault, context = vault_of(connection), _context(script_id, binding.name)
    query = select(script_secrets.c.id, script_secrets.c.value).where(
        script_secrets.c.script_id == script_id, script_secrets.c.name == binding.name
    )
    for known, value in connection.execute(query):
        if vault.unseal(value, context) == binding.fields["text"]:
            return str(known)
    made = secrets.token_hex(16)
    connection.execute(
        insert(script_secrets).values(
            id=made,
            script_id=script_id,
            name=binding.name,
            value=vault.seal(binding.fields["text"], context),
            created_on=moment,
        )
    )
    return made


def _value(connection: Connection, secret_id: str) -> str:
    table = script_secrets
    query = select(table.c.script_id, table.c.name, table.c.value).where(table.c.id == secret_id)
    row = connection.execute(query).one()
    return vault_of(connection).unseal(row.value, _context(row.script_id, row.name))


def _context(script_id: str, name: str) -> str:
    return f"secret/{script_id}/{name}"
