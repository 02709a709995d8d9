"""Changes of a dispatch namespace that its Workers, and the Workers that dispatch to it, take part in."""

from __future__ import annotations

from itertools import groupby

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError

from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid
from tenantry.control.names import namespace_name_untrusted
from tenantry.control.records import namespace_id_of
from tenantry.control.schema import dispatch_namespaces, scripts, versions
from tenantry.control.scripts import Change, running_where

__all__ = ["DispatchNamespaces"]


class DispatchNamespaces:
    """Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rename(self, account_id: str, name: str, new: str) -> Change[None]:
        """Its Workers and its dispatchers go on without a gap: bindings follow the namespace, not its name.

        Raises NotFound (10007), and Invalid (10021) for a name that is taken or none.
        """
        namespace_name_untrusted(new)
        with self._database.write() as connection:
            namespace_id = namespace_id_of(connection, account_id, name)
            if new == name:
                return Change(None)
            statement = update(dispatch_namespaces).where(dispatch_namespaces.c.id == namespace_id)
            try:
                connection.execute(statement.values(name=new, modified_on=now()))
            except IntegrityError as error:
                raise Invalid(10021, f"a dispatch namespace with the name {new!r} already exists") from error
            touched = running_where(
                connection,
                or_(
                    scripts.c.namespace_id == namespace_id, versions.c.metadata.contains(namespace_id, autoescape=True)
                ),
            )
            groups = groupby(touched, key=lambda worker: (worker.namespace, worker.name))
            deployed = tuple(tuple(group) for _, group in groups)
            gone = tuple((name, group[0].name) for group in deployed if group[0].namespace == new)
            return Change(None, deployed, gone)

    def delete(self, account_id: str, name: str) -> None:
        """Raises NotFound (10007), and Invalid (10021) while Workers are in it: they are customers' and many."""
        with self._database.write() as connection:
            namespace_id = namespace_id_of(connection, account_id, name)
            held = connection.execute(select(scripts.c.id).where(scripts.c.namespace_id == namespace_id)).first()
            if held is not None:
                raise Invalid(
                    10021,
                    f"dispatch namespace {name!r} still has Workers. Delete them first, one by one or with "
                    f"DELETE …/dispatch/namespaces/{name}/scripts?tags=<tag>:yes",
                )
            connection.execute(delete(dispatch_namespaces).where(dispatch_namespaces.c.id == namespace_id))
