"""Dispatch namespaces: made and listed."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.resources import DispatchNamespace, Resources
from tenantry.control.routes.account import check_account
from tenantry.control.threads import Threads

__all__ = ["dispatch_namespace_routes"]


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


def dispatch_namespace_routes(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
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
