"""R2 buckets: made and listed."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid
from tenantry.control.resources import Bucket, Resources
from tenantry.control.routes.account import check_account, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["r2_routes"]

# wrangler lists buckets in one request without asking for a size.
_BUCKETS_PER_PAGE_DEFAULT = 1000


class _Name(msgspec.Struct, frozen=True):
    name: str


class BucketView(msgspec.Struct, frozen=True):
    name: str
    creation_date: str
    storage_class: str = "Standard"


class BucketsView(msgspec.Struct, frozen=True):
    buckets: list[BucketView]


def r2_routes(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/r2/buckets"

    def view(bucket: Bucket) -> BucketView:
        return BucketView(bucket.name, bucket.created_on)

    @post(path, name="create_bucket", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[BucketView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Name, 10001)
        return Envelope(view(await threads.run(resources.create_bucket, account_id, body.name)))

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

    return [create, list_page]


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _cursor_name(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise Invalid(10001, "the cursor is not one that a listing returned") from error
