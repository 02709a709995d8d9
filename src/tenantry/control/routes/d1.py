"""D1 databases: made and listed."""

from __future__ import annotations

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.resources import D1Database, Resources
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["d1_routes"]

_DATABASES_PER_PAGE_DEFAULT = 100


class _Name(msgspec.Struct, frozen=True):
    name: str


class DatabaseView(msgspec.Struct, frozen=True):
    uuid: str
    name: str
    created_at: str
    version: str = "production"


def d1_routes(resources: Resources, threads: Threads) -> list[HTTPRouteHandler]:
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
