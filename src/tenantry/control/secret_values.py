"""The values of secrets: the one place that writes and reads them.

A binding of a secret type leaves here as `{"secret": <id of a row>}`, which is what versions store; with the value in
it only on its way to the data plane.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from tenantry.config.deployment import BindingSpec
from tenantry.control.metadata import SECRET_TYPES
from tenantry.control.schema import script_secrets

__all__ = ["keep_values", "with_values"]


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


def _keep(connection: Connection, script_id: str, binding: BindingSpec, moment: str) -> str:
    query = select(script_secrets.c.id, script_secrets.c.value).where(
        script_secrets.c.script_id == script_id, script_secrets.c.name == binding.name
    )
    for known, value in connection.execute(query):
        if value == binding.fields["text"]:
            return str(known)
    made = secrets.token_hex(16)
    connection.execute(
        insert(script_secrets).values(
            id=made, script_id=script_id, name=binding.name, value=binding.fields["text"], created_on=moment
        )
    )
    return made


def _value(connection: Connection, secret_id: str) -> str:
    query = select(script_secrets.c.value).where(script_secrets.c.id == secret_id)
    value: str = connection.execute(query).scalar_one()
    return value
