"""What the endpoint must know of an account and does not keep itself: access keys, and which buckets there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Protocol

__all__ = ["BucketEntry", "Credential", "Directory", "Permission"]


class Permission(Enum):
    """R2's names. `object-*` are for objects and their listing, `admin-*` for buckets and their settings too."""

    ADMIN_READ_WRITE = "admin-read-write"
    ADMIN_READ_ONLY = "admin-read-only"
    OBJECT_READ_WRITE = "object-read-write"
    OBJECT_READ_ONLY = "object-read-only"

    def allows(self, *, write: bool, admin: bool) -> bool:
        kind, _, scope = self.value.partition("-")
        return (scope == "read-write" or not write) and (kind == "admin" or not admin)


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key. `bucket` is the only one that it is for; None is all of the account."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    permission: Permission
    bucket: str | None


@dataclass(frozen=True, slots=True)
class BucketEntry:
    name: str
    created: datetime


class Directory(Protocol):
    """Of one account. Names of buckets come straight from a client."""

    @property
    def account_id(self) -> str: ...

    async def credential(self, access_key_id: str) -> Credential | None: ...

    async def bucket(self, name: str) -> BucketEntry | None: ...

    async def buckets(self, prefix: str, after: str, limit: int) -> list[BucketEntry]:
        """At most `limit` in the order of their names, beginning behind `after`."""
        ...

    async def create_bucket(self, name: str) -> bool:
        """False if there is one of that name. Raises S3Error (InvalidBucketName, TooManyBuckets)."""
        ...

    async def delete_bucket(self, name: str) -> bool:
        """False, and no effect, if there is something in it."""
        ...
