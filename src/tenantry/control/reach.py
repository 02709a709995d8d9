"""What a Worker may be bound to by whoever uploads it.

A token of the account binds whatever the account has. One that is limited to a namespace, or to a Worker, would reach
beyond its limit if it could: through a Worker of its own that is bound to somebody else's database. It binds

    * what a version of a Worker that it may deploy is bound to already: with that it could be deployed again anyway;
    * the dispatch namespace, or the Worker, that it is limited to, for it deploys what is in there;
    * the KV namespaces, buckets and databases that were named when the token was made.

What it may not bind is answered as what is not there. A service binding is authority over another Worker, with
properties that this Worker trusts: only one with the same target, entrypoint and properties as one that is there is
within reach. The same holds for an outbound Worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, select

from tenantry.config.deployment import BindingSpec
from tenantry.control.records import Reach, ScriptRef, VersionMetadata, place_of
from tenantry.control.schema import scripts, versions

__all__ = ["GRANTABLE", "PINNED", "WITHOUT_RESOURCE", "is_within_reach"]

GRANTABLE: Final = {"kv_namespace": "namespace_id", "r2_bucket": "bucket_name", "d1": "database_id"}
"""The types of bindings that a token can be given, and which of their fields names what they bind."""

WITHOUT_RESOURCE: Final = frozenset({"plain_text", "secret_text", "secret_key", "json", "assets", "version_metadata"})
"""Types that give a Worker nothing but what is uploaded with it."""

PINNED: Final = "namespace_id_pinned"
"""The field in which a stored dispatch_namespace binding has the id of its namespace, which may be renamed."""


def is_within_reach(connection: Connection, ref: ScriptRef, binding: BindingSpec) -> bool:
    """Whether who asks may bind this to the Worker that `ref` names. `binding` is as versions store it."""
    reach = ref.reach
    if reach is None or binding.type in WITHOUT_RESOURCE:
        return True
    if binding.type not in _NEEDLES:
        return False
    fields = binding.fields
    if binding.type == "service" and (reach.namespace, reach.worker) == (None, fields["service"]):
        return True  # itself
    field = GRANTABLE.get(binding.type)
    if field is not None and (binding.type, fields[field]) in reach.granted:
        return True
    if (
        binding.type == "dispatch_namespace"
        and reach.worker is None
        and fields["namespace"] == reach.namespace
        and "outbound" not in fields
    ):
        return True
    return _is_bound_there(connection, ref, reach, binding)


_NEEDLES: Final = {**GRANTABLE, "dispatch_namespace": PINNED, "service": "service"}
"""What a stored document has to hold, so that it is worth reading."""


def _is_bound_there(connection: Connection, ref: ScriptRef, reach: Reach, binding: BindingSpec) -> bool:
    needle = binding.fields[_NEEDLES[binding.type]]
    conditions = [
        place_of(connection, ref.account_id, reach.namespace),
        versions.c.metadata.contains(needle, autoescape=True),
    ]
    if reach.worker is not None:
        conditions.append(scripts.c.name == reach.worker)
    query = select(versions.c.metadata).join(scripts, scripts.c.id == versions.c.script_id).where(*conditions)
    wanted = _essence(binding)
    return any(
        wanted == _essence(known)
        for document in connection.execute(query).scalars()
        for known in VersionMetadata.read(document).bindings
    )


def _essence(binding: BindingSpec) -> tuple[str, Mapping[str, Any]]:
    """What is bound, whatever it is called: today's name of a dispatch namespace says nothing."""
    if binding.type != "dispatch_namespace":
        return binding.type, binding.fields
    return binding.type, {name: value for name, value in binding.fields.items() if name != "namespace"}
