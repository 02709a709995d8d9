"""What Workers are bound to: made and listed here; their contents have routes of their own."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid
from tenantry.control.resources import Bucket, D1Database, DispatchNamespace, KvNamespace, Resources
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["resource_routes"]

# wrangler lists buckets in one request without asking for a size.
_BUCKETS_PER_PAGE_DEFAULT = 1000
_DATABASES_PER_PAGE_DEFAULT = 100


class _Title(msgspec.Struct, frozen=True):
    title: str


class _Name(msgspec.Struct, frozen=True):
    name: str


class DispatchNamespaceView(msgspec.Struct, frozen=True):
    namespace_id: str
    namespace_name: str
    created_on: str
    modified_on: str
    script_count: int
    created_by: str = ""
    modified_by: str = ""
    trusted_workers: bool = False


class KvNamespaceView(msgspec.Struct, frozen=True):
    id: str
    title: str
    supports_url_encoding: bool = True


class BucketView(msgspec.Struct, frozen=True):
    name: str
    creation_date: str
    storage_class: str = "Standard"


class BucketsView(msgspec.Struct, frozen=True):
    buckets: list[BucketView]


class DatabaseView(msgspec.Struct, frozen=True):
    uuid: str
    name: str
    created_at: str
    version: str = "production"


def resource_routes(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
    return [
        *_dispatch_namespaces(resources, threads),
        *_kv(resources, threads),
        *_r2(resources, threads),
        *_d1(resources, threads),
    ]


def _dispatch_namespaces(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/workers/dispatch/namespaces"

    def view(namespace: DispatchNamespace) -> DispatchNamespaceView:
        return DispatchNamespaceView(
            namespace.id, namespace.name, namespace.created_on, namespace.modified_on, namespace.script_count
        )

    @post(path, name="create_dispatch_namespace", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[DispatchNamespaceView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Name, 10021)
        return Envelope(view(await threads.run(resources.create_dispatch_namespace, account_id, body.name)))

    @get(path, name="list_dispatch_namespaces")
    async def list_all(request: ApiRequest, account_id: FromPath[str]) -> Envelope[list[DispatchNamespaceView]]:
        check_account(request, account_id)
        found = await threads.run(resources.dispatch_namespaces, account_id)
        return Envelope([view(namespace) for namespace in found])

    @get(path + "/{namespace:str}", name="get_dispatch_namespace")
    async def get_one(
        request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str]
    ) -> Envelope[DispatchNamespaceView]:
        check_account(request, account_id)
        return Envelope(view(await threads.run(resources.dispatch_namespace, account_id, namespace)))

    return [create, list_all, get_one]


def _kv(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/storage/kv/namespaces"

    def view(namespace: KvNamespace) -> KvNamespaceView:
        return KvNamespaceView(namespace.id, namespace.title)

    @post(path, name="create_kv_namespace", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[KvNamespaceView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Title, 10019)
        return Envelope(view(await threads.run(resources.create_kv_namespace, account_id, body.title)))

    @get(path, name="list_kv_namespaces")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT,
        order: FromQuery[Literal["id", "title"]] = "id",
        direction: FromQuery[Literal["asc", "desc"]] = "asc",
    ) -> Envelope[list[KvNamespaceView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(
            resources.kv_namespaces, account_id, part, order, descending=direction == "desc"
        )
        return Envelope([view(item) for item in found], result_info=page_info(part, len(found), total))

    return [create, list_page]


def _r2(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
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


def _d1(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/d1/database"

    def view(database: D1Database) -> DatabaseView:
        return DatabaseView(database.id, database.name, database.created_on)

    @post(path, name="create_database", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[DatabaseView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Name, 7400)
        return Envelope(view(await threads.run(resources.create_database, account_id, body.name)))

    @get(path, name="list_databases")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = _DATABASES_PER_PAGE_DEFAULT,
        name: FromQuery[str | None] = None,
    ) -> Envelope[list[DatabaseView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(resources.databases, account_id, part, name)
        return Envelope([view(item) for item in found], result_info=page_info(part, len(found), total))

    return [create, list_page]


def _cursor(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _cursor_name(cursor: str) -> str:
    try:
        return base64.b64decode(cursor.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError) as error:
        raise Invalid(10001, "the cursor is not one that a listing returned") from error
