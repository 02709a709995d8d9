"""What clients read of a Worker and of the account around it before and after they change something.

`services` is the older word for a Worker, `workers/workers` the newest; wrangler asks both.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, get, post, put
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.deployer import Deployer
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.records import Script, ScriptRef
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.routes.worker import ORDINARY, REF, ScriptView, script_view
from tenantry.control.store import Store
from tenantry.control.threads import Threads

__all__ = ["service_routes"]

_ACCOUNT = "/accounts/{account_id:str}"
# There are no workers.dev addresses: it stands in for one where a client wants to print something.
_SUBDOMAIN = "tenantry"


class _EnvironmentView(msgspec.Struct, frozen=True):
    script: ScriptView
    created_on: str
    modified_on: str
    environment: str = "production"


class ServiceView(msgspec.Struct, frozen=True):
    id: str
    created_on: str
    modified_on: str
    default_environment: _EnvironmentView
    environments: tuple[_EnvironmentView, ...]
    usage_model: str = "standard"


class _WorkerSubdomainView(msgspec.Struct, frozen=True):
    enabled: bool
    previews_enabled: bool
    url: str


class WorkerView(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_on: str
    updated_on: str
    deployed_on: str
    logpush: bool
    observability: dict[str, Any]
    subdomain: _WorkerSubdomainView
    tags: tuple[str, ...]
    tail_consumers: tuple[dict[str, Any], ...]
    references: dict[str, tuple[str, ...]]


class SubdomainView(msgspec.Struct, frozen=True):
    subdomain: str


class _ServiceReferencesView(msgspec.Struct, frozen=True):
    """`service` is the other Worker, `name` the binding."""

    incoming: tuple[dict[str, str], ...]
    outgoing: tuple[dict[str, str], ...]
    pages_function: bool = False


class ReferencesView(msgspec.Struct, frozen=True):
    """What would break if the Worker went."""

    services: _ServiceReferencesView
    dispatch_outbounds: tuple[dict[str, str], ...]
    durable_objects: tuple[str, ...] = ()


class _ViewerView(msgspec.Struct, frozen=True):
    accounts: tuple[str, ...] = ()


class _DataView(msgspec.Struct, frozen=True):
    viewer: _ViewerView = _ViewerView()


class GraphqlView(msgspec.Struct, frozen=True):
    """No figures are kept: clients that ask for them show none."""

    data: _DataView = _DataView()
    errors: None = None


def service_routes(
    store: Store, deployer: Deployer, threads: Threads, gateway_url: str | None
) -> list[HTTPRouteHandler]:
    async def find(account_id: str, name: str, code: int) -> Script:
        try:
            return await threads.run(store.scripts.get, ScriptRef(account_id, None, name))
        except NotFound as error:
            raise NotFound(code, error.message) from error

    @get(_ACCOUNT + "/workers/services/{script_name:str}", name="get_service")
    async def get_service(
        request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[ServiceView]:
        script = await find(check_account(request, account_id), script_name, 10090)
        environment = _EnvironmentView(script_view(script), script.created_on, script.modified_on)
        return Envelope(ServiceView(script.name, script.created_on, script.modified_on, environment, (environment,)))

    @delete(_ACCOUNT + "/workers/services/{script_name:str}", name="delete_service", status_code=200)
    async def delete_service(
        request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[None]:
        await find(check_account(request, account_id), script_name, 10090)
        await deployer.apply(store.scripts.delete, ScriptRef(account_id, None, script_name))
        return Envelope(None)

    @get(_ACCOUNT + "/workers/workers/{script_name:str}", name="get_worker")
    async def get_worker(
        request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[WorkerView]:
        script = await find(check_account(request, account_id), script_name, 10007)
        settings = script.settings
        url = gateway_url or str(request.base_url).rstrip("/")
        return Envelope(
            WorkerView(
                id=script.id,
                name=script.name,
                created_on=script.created_on,
                updated_on=script.modified_on,
                deployed_on=script.modified_on,
                logpush=settings.logpush,
                observability=settings.observability or {"enabled": False},
                subdomain=_WorkerSubdomainView(settings.subdomain_enabled, settings.previews_enabled, url),
                tags=settings.tags,
                tail_consumers=settings.tail_consumers,
                references=dict.fromkeys(
                    ("dispatch_namespace_outbounds", "domains", "durable_objects", "queues", "workers"), ()
                ),
            )
        )

    @get(ORDINARY + "/references", name="get_references", dependencies=REF)
    async def get_references(ref: NamedDependency[ScriptRef]) -> Envelope[ReferencesView]:
        found = await threads.run(store.scripts.references, ref)

        def views(pairs: tuple[tuple[str, str], ...], key: str) -> tuple[dict[str, str], ...]:
            return tuple({"service": worker, "environment": "production", key: name} for worker, name in pairs)

        services = _ServiceReferencesView(views(found.incoming, "name"), views(found.outgoing, "name"))
        return Envelope(ReferencesView(services, views(found.outbound, "namespace")))

    @get(_ACCOUNT + "/workers/tails/by-consumer/{script_name:str}", name="list_tail_producers")
    async def list_tail_producers(
        request: ApiRequest, account_id: FromPath[str], script_name: FromPath[str]
    ) -> Envelope[tuple[str, ...]]:
        check_account(request, account_id)
        return Envelope(())

    @get(_ACCOUNT + "/workers/subdomain", name="get_subdomain")
    async def get_subdomain(request: ApiRequest, account_id: FromPath[str]) -> Envelope[SubdomainView]:
        check_account(request, account_id)
        return Envelope(SubdomainView(_SUBDOMAIN))

    @put(_ACCOUNT + "/workers/subdomain", name="put_subdomain")
    async def put_subdomain(request: ApiRequest, account_id: FromPath[str]) -> Envelope[SubdomainView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, SubdomainView, 10021)
        if body.subdomain != _SUBDOMAIN:
            raise Invalid(10031, f"The subdomain of this platform is {_SUBDOMAIN!r} and cannot be changed.")
        return Envelope(SubdomainView(_SUBDOMAIN))

    # Lists of what does not exist here, and which clients ask for on their way.

    @get(["/zones", _ACCOUNT + "/workers/domains", _ACCOUNT + "/workers/domains/records"], name="list_nothing")
    async def list_nothing(request: ApiRequest, account_id: FromPath[str | None] = None) -> Envelope[tuple[str, ...]]:
        if account_id is not None:
            check_account(request, account_id)
        return Envelope((), result_info=page_info(page_untrusted(1, 20), 0, 0))

    @get(_ACCOUNT + "/workers/durable_objects/namespaces", name="list_object_namespaces")
    async def list_object_namespaces(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = 20,
    ) -> Envelope[tuple[str, ...]]:
        check_account(request, account_id)
        info: ResultInfo = page_info(page_untrusted(page, per_page), 0, 0)
        return Envelope((), result_info=info)

    @post("/graphql", name="graphql", status_code=200)
    async def graphql(request: ApiRequest) -> GraphqlView:
        return GraphqlView()

    return [
        get_service,
        delete_service,
        get_worker,
        get_references,
        list_tail_producers,
        get_subdomain,
        put_subdomain,
        list_nothing,
        list_object_namespaces,
        graphql,
    ]
