"""The control plane as one ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.types import ASGIApp

from tenantry.control.authorization import authorization
from tenantry.control.bundles import BundleStore
from tenantry.control.d1_files import D1Files
from tenantry.control.deployer import Deployer, Deployments
from tenantry.control.edge import Edge
from tenantry.control.envelope import on_error
from tenantry.control.log_ring import LogRing
from tenantry.control.routes.account import account_routes
from tenantry.control.routes.api_keys import api_key_routes
from tenantry.control.routes.assets import asset_routes
from tenantry.control.routes.audit import audit_routes
from tenantry.control.routes.d1 import d1_routes
from tenantry.control.routes.dispatch_namespaces import dispatch_namespace_routes
from tenantry.control.routes.kv import KvNamespaces, kv_routes
from tenantry.control.routes.kv_bulk import kv_bulk_routes
from tenantry.control.routes.kv_values import kv_value_routes
from tenantry.control.routes.logs import log_routes
from tenantry.control.routes.openapi import openapi_routes
from tenantry.control.routes.platform import Watch, platform_routes
from tenantry.control.routes.queues import queue_routes
from tenantry.control.routes.r2 import r2_routes
from tenantry.control.routes.s3_credentials import s3_credential_routes
from tenantry.control.routes.scripts import Uploads, script_routes
from tenantry.control.routes.sealing import sealing_routes
from tenantry.control.routes.secrets import secret_routes
from tenantry.control.routes.services import service_routes
from tenantry.control.routes.settings import setting_routes
from tenantry.control.routes.tails import tail_routes
from tenantry.control.routes.tokens import token_routes
from tenantry.control.routes.versions import version_routes
from tenantry.control.startup import Starter
from tenantry.control.store import Store
from tenantry.control.tails import Tails
from tenantry.control.threads import Threads
from tenantry.host import TraceHub
from tenantry.services.assets import AssetStore
from tenantry.services.d1 import D1Service
from tenantry.services.installed import InstalledServices

__all__ = ["create_app"]


class _Litestar(Litestar):
    """Without the plugins for libraries that no route uses: Pydantic's alone is a quarter of what an application takes
    to be made. There is no option for it."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def create_app(
    store: Store,
    bundles: BundleStore,
    deployments: Deployments,
    services: InstalledServices,
    watch: Watch,
    *,
    assets: AssetStore,
    starter: Starter | None = None,
    gateway_url: str | None = None,
    tails: Tails | None = None,
    tail_port: int = 0,
    logs: LogRing | None = None,
    attend: Callable[[str | None, str], None] | None = None,
) -> ASGIApp:
    """The control plane over `store`, `bundles`, `assets` and `services`, which stay the caller's to close, after the
    end of the ASGI lifespan.

    `deployments` hears of every change of what is deployed, on the event loop that serves the application.
    `watch` tells how the platform is. `starter` tries a Worker before it is stored; None: none is tried.
    `gateway_url` is where the tenants' requests arrive, for clients to print. `tails` are read from a listener of the
    caller's, on `tail_port`; None: there are none. `logs` is what is kept of what Workers said; None: nothing is.
    `attend` is told whose log is followed: for a while all that this Worker does is wanted there.
    """
    d1 = services.by_name["d1"]
    assert isinstance(d1, D1Service)
    threads = Threads()
    kv = KvNamespaces(store.resources, services, threads)
    deployer = Deployer(deployments, threads)
    uploads = Uploads(store, bundles, assets, deployer, threads, starter)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        yield
        await deployer.aclose()
        await asyncio.to_thread(threads.close)

    routes = [
        *account_routes(store.accounts, threads),
        *token_routes(store.tokens, threads),
        *audit_routes(store.audit, threads),
        *dispatch_namespace_routes(store, deployer, threads),
        *kv_routes(store.resources, kv, threads),
        *kv_value_routes(kv),
        *kv_bulk_routes(kv, threads),
        *r2_routes(store.resources, services, threads),
        *d1_routes(store.resources, d1, threads),
        *s3_credential_routes(store.s3_credentials, threads),
        *script_routes(uploads),
        *asset_routes(uploads),
        *version_routes(uploads),
        *setting_routes(store, deployer, threads),
        *secret_routes(store, deployer, threads),
        *service_routes(store, deployer, threads, gateway_url),
        *queue_routes(store.queues, threads),
        *tail_routes(store, tails or Tails(TraceHub()), tail_port, threads),
    ]
    app = _Litestar(
        route_handlers=[
            Router("/client/v4", route_handlers=routes),
            *platform_routes(watch),
            *openapi_routes(routes, threads),
            *api_key_routes(store.api_keys, threads),
            *log_routes(logs, attend, threads),
            *sealing_routes(store.sealing, threads),
        ],
        guards=[authorization(store.audit, threads)],
        exception_handlers={Exception: on_error},
        lifespan=[lifespan],
        # Every reader of a body has a limit of its own.
        request_max_body_size=None,
        logging_config=None,
        openapi_config=None,
    )
    return Edge(
        app, store.tokens, store.audit, store.asset_sessions, threads, secret_paths={D1Files.PREFIX: D1Files(d1)}
    )
