"""Access keys for the S3 endpoint: of an account, or of one bucket, with R2's four permissions.

As on Cloudflare the secret is the SHA-256 of a random token. Signature Version 4 proves that a client has it without
sending it, so the platform must have it too: it cannot be kept as a hash. It lies sealed in the store, see vault.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from tenantry.control import limits
from tenantry.control.clock import now
from tenantry.control.database import Database, vault_of
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.schema import S3Permission, s3_credentials

__all__ = ["S3Credential", "S3Credentials", "reseal_s3_secrets"]

_PERMISSIONS: Final = get_args(S3Permission)
_ACCESS_KEY_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
_LINE: Final = re.compile(r"[^\x00-\x1f\x7f]*")


@dataclass(frozen=True, slots=True)
class S3Credential:
    """`bucket` is the only one that it is for; None is all of the account's."""

    access_key_id: str
    name: str
    permission: S3Permission
    bucket: str | None
    created_on: str
    secret_access_key: str = field(repr=False)


class S3Credentials:
    """The access keys of the store. Blocks: call it from a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_untrusted(self, account_id: str, name: str, permission: str, bucket: str | None) -> S3Credential:
        """Raises Invalid (10001), NotFound (10006) where there is no such bucket."""
        if not name.strip() or len(name) > limits.S3_CREDENTIAL_NAME_CHARACTERS_MAX or not _LINE.fullmatch(name):
            raise Invalid(
                10001, f"name is text of 1 to {limits.S3_CREDENTIAL_NAME_CHARACTERS_MAX} characters on one line"
            )
        if permission not in _PERMISSIONS:
            raise Invalid(10001, f"permission is one of {', '.join(_PERMISSIONS)}")
        if bucket is not None and permission.startswith("admin-"):
            raise Invalid(
                10001, "an admin permission is for all buckets: leave bucket out, or use an object permission"
            )
        secret = hashlib.sha256(secrets.token_urlsafe(32).encode()).hexdigest()
        made = S3Credential(secrets.token_hex(16), name, permission, bucket, now(), secret)  # type: ignore[arg-type]  # checked
        try:
            with self._database.write() as connection:
                connection.execute(
                    insert(s3_credentials).values(
                        id=made.access_key_id,
                        account_id=account_id,
                        name=made.name,
                        permission=made.permission,
                        bucket=made.bucket,
                        secret=vault_of(connection).seal(secret, _context(account_id, made.access_key_id)),
                        created_on=made.created_on,
                    )
                )
        except IntegrityError as error:  # the key to r2_buckets
            raise NotFound(10006, "The specified bucket does not exist.") from error
        return made

    def all(self, account_id: str) -> list[S3Credential]:
        """In the order of their making."""
        query = select(s3_credentials).where(s3_credentials.c.account_id == account_id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(s3_credentials.c.created_on, s3_credentials.c.id)).all()
            return [_read(connection, row) for row in rows]

    def find_untrusted(self, account_id: str, access_key_id: str) -> S3Credential | None:
        """The key that a request names."""
        if not _ACCESS_KEY_ID.fullmatch(access_key_id):
            return None
        query = select(s3_credentials).where(
            s3_credentials.c.id == access_key_id, s3_credentials.c.account_id == account_id
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else _read(connection, row)

    def revoke(self, account_id: str, access_key_id: str) -> None:
        """From the next request on it is not valid. Raises NotFound (10007)."""
        with self._database.write() as connection:
            done = connection.execute(
                delete(s3_credentials).where(
                    s3_credentials.c.account_id == account_id, s3_credentials.c.id == access_key_id
                )
            )
        if not done.rowcount:
            raise NotFound(10007, f"S3 access key {access_key_id[:40]!a} not found")


def reseal_s3_secrets(connection: Connection) -> int:
    """Seal with today's key what is not. Gives how many there are."""
    vault = vault_of(connection)
    table = s3_credentials
    rows = connection.execute(select(table.c.id, table.c.account_id, table.c.secret)).all()
    for row in rows:
        if not vault.is_current(row.secret):
            context = _context(row.account_id, row.id)
            secret = vault.seal(vault.unseal(row.secret, context), context)
            connection.execute(update(table).where(table.c.id == row.id).values(secret=secret))
    return len(rows)


def _read(connection: Connection, row: Row[Any]) -> S3Credential:  # Any: the columns of the table
    secret = vault_of(connection).unseal(row.secret, _context(row.account_id, row.id))
    return S3Credential(row.id, row.name, row.permission, row.bucket, row.created_on, secret)


def _context(account_id: str, access_key_id: str) -> str:
    return f"s3/{account_id}/{access_key_id}"
