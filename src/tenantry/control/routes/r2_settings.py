"""A bucket's CORS policy and lifecycle."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.routes.account import check_account
from tenantry.control.routes.r2_requests import Buckets, r2_errors
from tenantry.services.r2.settings import (
    BucketSettings,
    CorsRule,
    InvalidSettings,
    LifecycleRule,
    checked_cors,
    checked_lifecycle,
)

__all__ = ["r2_settings_routes"]


class CorsView(msgspec.Struct, frozen=True):
    rules: tuple[CorsRule, ...] = ()


class LifecycleView(msgspec.Struct, frozen=True):
    rules: tuple[LifecycleRule, ...] = ()


def r2_settings_routes(buckets: Buckets) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/r2/buckets/{bucket_name:str}"

    async def change(
        request: ApiRequest, account_id: str, bucket_name: str, into: Callable[[BucketSettings], BucketSettings]
    ) -> None:
        bucket = await buckets.open(request, account_id, bucket_name)
        with r2_errors():
            await bucket.change_settings(into)

    async def settings(request: ApiRequest, account_id: str, bucket_name: str) -> BucketSettings:
        check_account(request, account_id)
        bucket = await buckets.open(request, account_id, bucket_name)
        with r2_errors():
            return await bucket.settings()

    @get(path + "/cors", name="get_bucket_cors")
    async def get_cors(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[CorsView]:
        rules = (await settings(request, account_id, bucket_name)).cors
        if not rules:
            raise NotFound(10059, "The CORS configuration does not exist.")
        return Envelope(CorsView(rules))

    @put(path + "/cors", name="put_bucket_cors")
    async def put_cors(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[dict[str, str]]:
        check_account(request, account_id)
        given = (await read_json_untrusted(request, CorsView, 10040)).rules
        try:
            rules = checked_cors(given)
        except InvalidSettings as error:
            raise Invalid(10040, str(error)) from error
        await change(request, account_id, bucket_name, lambda old: msgspec.structs.replace(old, cors=rules))
        return Envelope({})

    @delete(path + "/cors", name="delete_bucket_cors", status_code=200)
    async def delete_cors(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[dict[str, str]]:
        check_account(request, account_id)
        await change(request, account_id, bucket_name, lambda old: msgspec.structs.replace(old, cors=()))
        return Envelope({})

    @get(path + "/lifecycle", name="get_bucket_lifecycle")
    async def get_lifecycle(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[LifecycleView]:
        return Envelope(LifecycleView((await settings(request, account_id, bucket_name)).lifecycle))

    @put(path + "/lifecycle", name="put_bucket_lifecycle")
    async def put_lifecycle(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[dict[str, str]]:
        check_account(request, account_id)
        given = (await read_json_untrusted(request, LifecycleView, 10040)).rules
        try:
            rules = checked_lifecycle(given)
        except InvalidSettings as error:
            raise Invalid(10040, str(error)) from error
        await change(request, account_id, bucket_name, lambda old: msgspec.structs.replace(old, lifecycle=rules))
        return Envelope({})

    @delete(path + "/lifecycle", name="delete_bucket_lifecycle", status_code=200)
    async def delete_lifecycle(
        request: ApiRequest, account_id: FromPath[str], bucket_name: FromPath[str]
    ) -> Envelope[dict[str, str]]:
        check_account(request, account_id)
        await change(request, account_id, bucket_name, lambda old: msgspec.structs.replace(old, lifecycle=()))
        return Envelope({})

    return [get_cors, put_cors, delete_cors, get_lifecycle, put_lifecycle, delete_lifecycle]
