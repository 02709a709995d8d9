"""What Workers are bound to: dispatch namespaces, KV namespaces, R2 buckets, D1 databases. Names and ids only.

The bytes belong to the services, which open a resource on first use by the id given here.
"""

from __future__ import annotations

import secrets
import uuid
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, Select, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from tenantry.config.quotas import Quotas
from tenantry.control.clock import now
from tenantry.control.database import Database
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.names import (
    bucket_name_untrusted,
    check_kv_id_untrusted,
    database_name_untrusted,
    kv_title_untrusted,
    namespace_name_untrusted,
)
from tenantry.control.schema import d1_databases, dispatch_namespaces, kv_namespaces, r2_buckets, scripts

__all__ = [
    "TOO_MANY_BUCKETS",
    "Bucket",
    "D1Database",
    "DispatchNamespace",
    "KvNamespace",
    "Page",
    "Resources",
    "kv_namespace_not_found",
]

TOO_MANY_BUCKETS: Final = 10009


_TOO_MANY: Final = {
    kv_namespaces.name: ("kv", 10023, "KV namespaces"),
    r2_buckets.name: ("r2", TOO_MANY_BUCKETS, "buckets"),
    d1_databases.name: ("d1", 7406, "databases"),
}
"""By table: whose quota it is, and the error. R2's and D1's codes are Cloudflare's; KV's is ours."""


@dataclass(frozen=True, slots=True)
class DispatchNamespace:
    id: str
    name: str
    created_on: str
    modified_on: str
    script_count: int


@dataclass(frozen=True, slots=True)
class KvNamespace:
    id: str
    title: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """`jurisdiction` is a label that Cloudflare's clients ask by: all buckets lie on the same disk."""

    name: str
    created_on: str
    storage_class: str = "Standard"
    jurisdiction: str = "default"
    location: str | None = None


@dataclass(frozen=True, slots=True)
class D1Database:
    id: str
    name: str
    created_on: str
    read_replication: str = "disabled"
    """What its owner asked for. There is one copy, whatever it says."""


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list: pages count from 1."""

    number: int
    size: int

    @property
    def offset(self) -> int:
        return (self.number - 1) * self.size


class Resources:
    """The resources of all accounts. Every call names the account; nothing of another is ever seen. Blocks."""

    def __init__(self, database: Database, quotas: Quotas) -> None:
        self._database = database
        self._quotas = quotas

    # Dispatch namespaces

    def create_dispatch_namespace(self, account_id: str, name: str) -> DispatchNamespace:
        """Raises Invalid (10021) for a name that is taken or not valid."""
        namespace_name_untrusted(name)
        made = DispatchNamespace(str(uuid.uuid4()), name, now(), now(), 0)
        self._insert(
            dispatch_namespaces,
            Invalid(10021, f"a dispatch namespace with the name {name!r} already exists"),
            id=made.id,
            account_id=account_id,
            name=name,
            created_on=made.created_on,
            modified_on=made.modified_on,
        )
        return made

    def dispatch_namespaces(self, account_id: str) -> list[DispatchNamespace]:
        with self._database.read() as connection:
            rows = connection.execute(_namespaces(account_id).order_by(dispatch_namespaces.c.name)).all()
        return [DispatchNamespace(*row) for row in rows]

    def dispatch_namespace(self, account_id: str, name: str) -> DispatchNamespace:
        """Raises NotFound (10007)."""
        with self._database.read() as connection:
            row = connection.execute(_namespaces(account_id).where(dispatch_namespaces.c.name == name)).first()
        if row is None:
            raise NotFound(10007, f"dispatch namespace {name[:80]!a} not found")
        return DispatchNamespace(*row)

    # KV namespaces

    def create_kv_namespace(self, account_id: str, title: str) -> KvNamespace:
        """Raises Invalid (10014) for a title that is taken, (10019) for one that is not valid."""
        made = KvNamespace(secrets.token_hex(16), kv_title_untrusted(title))
        taken = _kv_title_taken("create namespace")
        self._insert(kv_namespaces, taken, id=made.id, account_id=account_id, title=title, created_on=now())
        return made

    def kv_namespace(self, account_id: str, namespace_id: str, action: str) -> KvNamespace:
        """Raises Invalid (10011) for what is no id, NotFound (10013); the message begins with `action`."""
        check_kv_id_untrusted(namespace_id, action)
        query = select(kv_namespaces.c.id, kv_namespaces.c.title).where(
            kv_namespaces.c.account_id == account_id, kv_namespaces.c.id == namespace_id
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise kv_namespace_not_found(action)
        return KvNamespace(*row)

    def rename_kv_namespace(self, account_id: str, namespace_id: str, title: str) -> KvNamespace:
        """Raises Invalid for a title that is taken (10014) or not valid (10019), NotFound (10013)."""
        action = "rename namespace"
        check_kv_id_untrusted(namespace_id, action)
        renamed = KvNamespace(namespace_id, kv_title_untrusted(title))
        statement = (
            update(kv_namespaces)
            .where(kv_namespaces.c.account_id == account_id, kv_namespaces.c.id == namespace_id)
            .values(title=title)
        )
        try:
            with self._database.write() as connection:
                found = connection.execute(statement).rowcount
        except IntegrityError as error:
            raise _kv_title_taken(action) from error
        if not found:
            raise kv_namespace_not_found(action)
        return renamed

    def delete_kv_namespace(self, account_id: str, namespace_id: str) -> None:
        """Forgets it. Idempotent."""
        with self._database.write() as connection:
            connection.execute(
                delete(kv_namespaces).where(
                    kv_namespaces.c.account_id == account_id, kv_namespaces.c.id == namespace_id
                )
            )

    def kv_title(self, namespace_id: str) -> str | None:
        """The title of a namespace of any account."""
        with self._database.read() as connection:
            return connection.execute(select(kv_namespaces.c.title).where(kv_namespaces.c.id == namespace_id)).scalar()

    def kv_namespaces(
        self, account_id: str, page: Page, order: Literal["id", "title"], *, descending: bool
    ) -> tuple[list[KvNamespace], int]:
        """One page, and how many there are in all."""
        column = kv_namespaces.c[order]
        query = (
            select(kv_namespaces.c.id, kv_namespaces.c.title)
            .where(kv_namespaces.c.account_id == account_id)
            .order_by(column.desc() if descending else column, kv_namespaces.c.id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query.limit(page.size).offset(page.offset)).all()
            total = _count(connection, query)
        return [KvNamespace(*row) for row in rows], total

    # R2 buckets

    def create_bucket(
        self,
        account_id: str,
        name: str,
        *,
        storage_class: str = "Standard",
        jurisdiction: str = "default",
        location: str | None = None,
    ) -> Bucket:
        """Raises Invalid (10004) for a name that is taken, (10005) for one that is not valid."""
        made = Bucket(bucket_name_untrusted(name), now(), storage_class, jurisdiction, location)
        taken = Invalid(10004, "The bucket you tried to create already exists, and you own it.")
        self._insert(
            r2_buckets,
            taken,
            account_id=account_id,
            name=name,
            created_on=made.created_on,
            storage_class=storage_class,
            jurisdiction=jurisdiction,
            location=location,
        )
        return made

    def find_bucket(self, account_id: str, name: str) -> Bucket | None:
        """The bucket of that name, in whatever jurisdiction."""
        with self._database.read() as connection:
            row = connection.execute(_buckets(account_id).where(r2_buckets.c.name == name)).first()
        return None if row is None else Bucket(*row)

    def bucket(self, account_id: str, name: str, jurisdiction: str = "default") -> Bucket:
        """Raises NotFound (10006), also for a bucket of another jurisdiction."""
        found = self.find_bucket(account_id, name)
        if found is None or found.jurisdiction != jurisdiction:
            raise NotFound(10006, "The specified bucket does not exist.")
        return found

    def set_bucket_storage_class(self, account_id: str, name: str, storage_class: str) -> None:
        with self._database.write() as connection:
            connection.execute(
                update(r2_buckets)
                .where(r2_buckets.c.account_id == account_id, r2_buckets.c.name == name)
                .values(storage_class=storage_class)
            )

    def delete_bucket(self, account_id: str, name: str) -> None:
        """Forgets a bucket, and the access keys for it alone. Its bytes are the service's to remove, before."""
        with self._database.write() as connection:
            connection.execute(
                delete(r2_buckets).where(r2_buckets.c.account_id == account_id, r2_buckets.c.name == name)
            )

    def buckets(
        self, account_id: str, *, after: str, contains: str, size: int, descending: bool, prefix: str = ""
    ) -> list[Bucket]:
        """At most `size` buckets by name, beginning behind `after` (an empty text: at the start)."""
        name = r2_buckets.c.name
        query = _buckets(account_id)
        if contains:
            query = query.where(name.contains(contains, autoescape=True))
        if prefix:
            query = query.where(name.startswith(prefix, autoescape=True))
        if after:
            query = query.where(name < after if descending else name > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(name.desc() if descending else name).limit(size)).all()
        return [Bucket(*row) for row in rows]

    # D1 databases

    def create_database(self, account_id: str, name: str) -> D1Database:
        """Raises Invalid (7502) for a name that is taken, (7400) for one that is not valid."""
        made = D1Database(str(uuid.uuid4()), database_name_untrusted(name), now())
        taken = Invalid(7502, f"Database with name '{name}' already exists")
        self._insert(d1_databases, taken, id=made.id, account_id=account_id, name=name, created_on=made.created_on)
        return made

    def databases(self, account_id: str, page: Page, name: str | None) -> tuple[list[D1Database], int]:
        """One page, of the database called `name` only if given, and how many there are in all."""
        query = _databases(account_id).order_by(d1_databases.c.created_on, d1_databases.c.id)
        if name is not None:
            query = query.where(d1_databases.c.name == name)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(page.size).offset(page.offset)).all()
            total = _count(connection, query)
        return [D1Database(*row) for row in rows], total

    def database(self, account_id: str, id_or_name: str) -> D1Database:
        """By its id, or else by its name. Raises NotFound (7404)."""
        columns = d1_databases.c
        query = _databases(account_id).where((columns.id == id_or_name) | (columns.name == id_or_name))
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        if not rows:
            raise NotFound(7404, f"The database {id_or_name[:80]!a} could not be found")
        # One may be called as another is numbered.
        return D1Database(*min(rows, key=lambda row: row[0] != id_or_name))

    def change_database(
        self, account_id: str, id_or_name: str, *, name: str | None, read_replication: str | None
    ) -> D1Database:
        """Raises NotFound (7404), Invalid (7502) for a name that is taken, (7400) for one that is not valid."""
        before = self.database(account_id, id_or_name)
        values = {
            "name": before.name if name is None else database_name_untrusted(name),
            "read_replication": read_replication or before.read_replication,
        }
        try:
            with self._database.write() as connection:
                connection.execute(update(d1_databases).where(d1_databases.c.id == before.id).values(**values))
        except IntegrityError as error:
            raise Invalid(7502, f"Database with name '{name}' already exists") from error
        return D1Database(before.id, values["name"], before.created_on, values["read_replication"])

    def delete_database(self, account_id: str, database_id: str) -> None:
        """Its name is free again; its bytes are the service's to remove."""
        mine = (d1_databases.c.account_id == account_id) & (d1_databases.c.id == database_id)
        with self._database.write() as connection:
            connection.execute(delete(d1_databases).where(mine))

    def _insert(self, table: Table, taken: Invalid, **values: str | None) -> None:
        try:
            with self._database.write() as connection:
                connection.execute(insert(table).values(**values))
                self._check_count(connection, table, values["account_id"])
        except IntegrityError as error:
            raise taken from error

    def _check_count(self, connection: Connection, table: Table, account_id: str | None) -> None:
        """Raises Invalid, which undoes the transaction, where the account has more than it may."""
        if table.name not in _TOO_MANY:
            return
        service, code, noun = _TOO_MANY[table.name]
        quota = self._quotas.get(service)
        if quota is None or quota.resources is None:
            return
        query = select(func.count()).select_from(table).where(table.c.account_id == account_id)
        if connection.execute(query).scalar_one() > quota.resources:
            raise Invalid(code, f"The account may not have more than {quota.resources} {noun}: delete one first.")


def _buckets(account_id: str) -> Select[str, str, str, str, str | None]:
    columns = r2_buckets.c
    return select(
        columns.name, columns.created_on, columns.storage_class, columns.jurisdiction, columns.location
    ).where(columns.account_id == account_id)


def kv_namespace_not_found(action: str) -> NotFound:
    """What all calls answer for a namespace that is not there, each in its own words."""
    return NotFound(10013, f"{action}: 'namespace not found'")


def _kv_title_taken(action: str) -> Invalid:
    return Invalid(10014, f"{action}: 'a namespace with this account ID and title already exists'")


def _namespaces(account_id: str) -> Select[str, str, str, str, int]:
    count = select(func.count()).where(scripts.c.namespace_id == dispatch_namespaces.c.id).scalar_subquery()
    return select(
        dispatch_namespaces.c.id,
        dispatch_namespaces.c.name,
        dispatch_namespaces.c.created_on,
        dispatch_namespaces.c.modified_on,
        count,
    ).where(dispatch_namespaces.c.account_id == account_id)


def _databases(account_id: str) -> Select[str, str, str, str]:
    columns = d1_databases.c
    return select(columns.id, columns.name, columns.created_on, columns.read_replication).where(
        columns.account_id == account_id
    )


def _count(connection: Connection, query: Select[str, str] | Select[str, str, str, str]) -> int:
    return connection.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
