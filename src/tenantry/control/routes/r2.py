"""R2 buckets: made, listed, looked at, deleted; their default storage class. What is in them: `r2_objects.py`."""

from __future__ import annotations

import base64
import binascii
from typing import Literal, cast

import msgspec
from litestar import delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid
from tenantry.control.resources import Bucket, Resources
from tenantry.control.routes.account import check_account, page_untrusted
from tenantry.control.routes.r2_objects import r2_object_routes
from tenantry.control.routes.r2_requests import Buckets, jurisdiction_untrusted, storage_class_untrusted
from tenantry.control.routes.r2_settings import r2_settings_routes
from tenantry.control.threads import Threads
from tenantry.services.installed import InstalledServices
from tenantry.services.r2 import R2Service

__all__ = ["r2_routes"]

# wrangler lists buckets in one request without asking for a size.
_BUCKETS_PER_PAGE_DEFAULT = 1000


class _NewBucket(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    storage_class: str | None = None
    location_hint: str | None = None


class BucketView(msgspec.Struct, frozen=True, omit_defaults=True):
    """`jurisdiction` only where it is not the default one: wrangler takes absent for equal."""

    name: str
    creation_date: str
    storage_class: str
    location: str | None = None
    jurisdiction: str | None = None


class BucketsView(msgspec.Struct, frozen=True):
    buckets: list[BucketView]


def r2_routes(resources: Resources, services: InstalledServices, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/r2/buckets"
    service = cast("R2Service", services.by_name["r2"])
    buckets = Buckets(resources, service, threads)

    def view(bucket: Bucket) -> BucketView:
        jurisdiction = None if bucket.jurisdiction == "default" else bucket.jurisdiction
        return BucketView(bucket.name, bucket.created_on, bucket.storage_class, bucket.location, jurisdiction)

    @post(path, name="create_bucket", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[BucketView]:
        check_account(request, account_id)
        jurisdiction = jurisdiction_untrusted(request)
        body = await read_json_untrusted(request, _NewBucket, 10001)
        storage_class = storage_class_untrusted(body.storage_class or "Standard")
        hint = body.location_hint
        if hint is not None and not (hint.isascii() and hint.isalpha() and len(hint) <= 16):
            raise Invalid(10001, "locationHint is a short word such as weur")
        made = await threads.run(
            resources.create_bucket,
            account_id,
            body.name,
            storage_class=storage_class,
            jurisdiction=jurisdiction,
            location=None if hint is None else hint.upper(),
        )
        if storage_class != "Standard":
            await service.bucket(made.name).change_settings(
                lambda settings: msgspec.structs.replace(settings, storage_class=storage_class)
            )
        return Envelope(view(made))

    @get(path, name="list_buckets")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        per_page: FromQuery[int] = _BUCKETS_PER_PAGE_DEFAULT,
        cursor: FromQuery[str] = "",
        start_after: FromQuery[str] = "",
        name_contains: FromQuery[str] = "",
        direction: FromQuery[Literal["asc", "desc"]] = "asc",
    ) -> Envelope[BucketsView]:
        check_account(request, account_id)
        size = page_untrusted(1, per_page).size
        after = _cursor_name(cursor) if cursor else start_after
        # One more than asked for says whether there is a next page.
        found = await threads.run(
            resources.buckets,
            account_id,
            after=after,
            contains=name_contains,
            size=size + 1,
            descending=direction == "desc",
        )
        following = _cursor(found[size - 1].name) if len(found) > size else None
        views = [view(bucket) for bucket in found[:size]]
        return Envelope(BucketsView(views), result_info=ResultInfo(per_page=size, cursor=following))

    @get(path + "/{bucket_name:str}", name="get_bucket")
    async def get_bucket(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[BucketView]:
        check_account(request, account_id)
        return Envelope(view(await buckets.find(request, account_id, bucket_name)))

    @patch(path + "/{bucket_name:str}", name="edit_bucket")
    async def edit_bucket(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[BucketView]:
        check_account(request, account_id)
        bucket = await buckets.find(request, account_id, bucket_name)
        storage_class = storage_class_untrusted(request.headers.get("cf-r2-storage-class", ""))
        await service.bucket(bucket.name).change_settings(
            lambda settings: msgspec.structs.replace(settings, storage_class=storage_class)
        )
        await threads.run(resources.set_bucket_storage_class, account_id, bucket.name, storage_class)
        return Envelope(view(await buckets.find(request, account_id, bucket_name)))

    @delete(path + "/{bucket_name:str}", name="delete_bucket", status_code=200)
    async def delete_bucket(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[dict[str, str]]:
        check_account(request, account_id)
        bucket = await buckets.find(request, account_id, bucket_name)
        # The bytes first: after a crash in between the same call finds an empty bucket and ends what was begun.
        if not await service.delete_if_empty(bucket.name):
            raise Invalid(10008, "The bucket you tried to delete is not empty. Delete its objects first.")
        await threads.run(resources.delete_bucket, account_id, bucket.name)
        return Envelope({})

    return [
        create,
        list_page,
        get_bucket,
        edit_bucket,
        delete_bucket,
        *r2_object_routes(buckets),
        *r2_settings_routes(buckets),
    ]


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _cursor_name(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise Invalid(10001, "the cursor is not one that a listing returned") from error
