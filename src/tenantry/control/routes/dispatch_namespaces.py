"""Dispatch namespaces: made, listed, renamed, deleted."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.resources import DispatchNamespace
from tenantry.control.routes.account import check_account
from tenantry.control.store import Store
from tenantry.control.threads import Threads

__all__ = ["dispatch_namespace_routes"]


class _Name(msgspec.Struct, frozen=True):
    name: str


class _Change(msgspec.Struct, frozen=True):
    """`trusted_workers` is Cloudflare's; here no user Worker is trusted."""

    name: str | None = None
    trusted_workers: bool | None = None


class DispatchNamespaceView(msgspec.Struct, frozen=True):
    namespace_id: str
    namespace_name: str
    created_on: str
    modified_on: str
    script_count: int
    created_by: str = ""
    modified_by: str = ""
    trusted_workers: bool = False


def dispatch_namespace_routes(store: Store, deployer: Deployer, threads: Threads) -> list[HTTPRouteHandler]:
    resources = store.resources
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

    @route(path + "/{namespace:str}", http_method=["PUT", "PATCH"], name="edit_dispatch_namespace", status_code=200)
    async def change(
        request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str]
    ) -> Envelope[DispatchNamespaceView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Change, 10021)
        if body.trusted_workers:
            raise Invalid(10021, "trusted_workers: user Workers are not trusted here, and cannot be made so")
        name = namespace if body.name is None else body.name
        await deployer.apply(store.dispatch_namespaces.rename, account_id, namespace, name)
        return Envelope(view(await threads.run(resources.dispatch_namespace, account_id, name)))

    @delete(path + "/{namespace:str}", name="delete_dispatch_namespace", status_code=200)
    async def remove(request: ApiRequest, account_id: FromPath[str], namespace: FromPath[str]) -> Envelope[None]:
        check_account(request, account_id)
        await threads.run(store.dispatch_namespaces.delete, account_id, namespace)
        return Envelope(None)

    return [create, list_all, get_one, change, remove]
