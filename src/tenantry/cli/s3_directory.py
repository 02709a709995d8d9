"""What the S3 endpoint asks of the control store, asked of it in threads."""

from __future__ import annotations

import asyncio
from datetime import datetime

from tenantry.control import Store
from tenantry.control.errors import Invalid
from tenantry.control.resources import TOO_MANY_BUCKETS, Bucket
from tenantry.s3 import BucketEntry, Credential, Permission, S3Error
from tenantry.services.r2 import R2Service

__all__ = ["StoreDirectory"]

_BUCKET_EXISTS = 10004


class StoreDirectory:
    """`tenantry.s3.Directory` over the store, for one account and the service that holds its buckets' bytes."""

    def __init__(self, store: Store, r2: R2Service, account_id: str) -> None:
        self.account_id = account_id
        self._store = store
        self._r2 = r2

    async def credential(self, access_key_id: str) -> Credential | None:
        found = await asyncio.to_thread(self._store.s3_credentials.find_untrusted, self.account_id, access_key_id)
        if found is None:
            return None
        return Credential(found.access_key_id, found.secret_access_key, Permission(found.permission), found.bucket)

    async def bucket(self, name: str) -> BucketEntry | None:
        found = await asyncio.to_thread(self._store.resources.find_bucket, self.account_id, name)
        return None if found is None else _entry(found)

    async def buckets(self, prefix: str, after: str, limit: int) -> list[BucketEntry]:
        found = await asyncio.to_thread(
            self._store.resources.buckets,
            self.account_id,
            prefix=prefix,
            after=after,
            contains="",
            size=limit,
            descending=False,
        )
        return [_entry(bucket) for bucket in found]

    async def create_bucket(self, name: str) -> bool:
        try:
            await asyncio.to_thread(self._store.resources.create_bucket, self.account_id, name)
        except Invalid as error:
            if error.code == _BUCKET_EXISTS:
                return False
            if error.code == TOO_MANY_BUCKETS:
                raise S3Error("TooManyBuckets", 400, error.message) from error
            raise S3Error("InvalidBucketName", 400, error.message) from error
        return True

    async def delete_bucket(self, name: str) -> bool:
        # The bytes first: after a crash in between the same call finds an empty bucket and ends what was begun.
        if not await self._r2.delete_if_empty(name):
            return False
        await asyncio.to_thread(self._store.resources.delete_bucket, self.account_id, name)
        return True


def _entry(bucket: Bucket) -> BucketEntry:
    return BucketEntry(bucket.name, datetime.fromisoformat(bucket.created_on))
