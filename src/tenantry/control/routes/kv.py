"""KV namespaces: made and listed."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.resources import KvNamespace, Resources
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["kv_routes"]


class _Title(msgspec.Struct, frozen=True):
    title: str


class KvNamespaceView(msgspec.Struct, frozen=True):
    id: str
    title: str
    supports_url_encoding: bool = True


def kv_routes(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
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
