"""D1 databases: made, listed, shown, changed, deleted."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from litestar import delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.resources import D1Database, Resources
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.routes.d1_queries import d1_query_routes
from tenantry.control.routes.d1_time_travel import d1_time_travel_routes
from tenantry.control.routes.d1_transfers import d1_transfer_routes
from tenantry.control.threads import Threads
from tenantry.services.d1 import ArraysDocument, D1Service, QueryFailed, Statement

__all__ = ["d1_routes"]

_DATABASES_PER_PAGE_DEFAULT = 100
_TABLES = (
    "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') "
    "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_cf\\_%' ESCAPE '\\'"
)


class _Name(msgspec.Struct, frozen=True):
    name: str


class ReadReplication(msgspec.Struct, frozen=True):
    mode: Literal["auto", "disabled"]


class _Change(msgspec.Struct, frozen=True):
    name: str | None = None
    read_replication: ReadReplication | None = None


class DatabaseView(msgspec.Struct, frozen=True):
    uuid: str
    name: str
    created_at: str
    file_size: int
    """Bytes."""
    read_replication: ReadReplication | msgspec.UnsetType = msgspec.UNSET
    num_tables: int | msgspec.UnsetType = msgspec.UNSET
    version: str = "production"


def d1_routes(resources: Resources, service: D1Service, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/d1/database"
    one = path + "/{database:str}"

    def listed(database: D1Database) -> DatabaseView:
        return DatabaseView(database.id, database.name, database.created_on, service.open(database.id).usage())

    def view(database: D1Database, tables: int | msgspec.UnsetType = msgspec.UNSET) -> DatabaseView:
        size_bytes = service.open(database.id).usage()
        mode: Literal["auto", "disabled"] = "auto" if database.read_replication == "auto" else "disabled"
        return DatabaseView(
            database.id, database.name, database.created_on, size_bytes, ReadReplication(mode), num_tables=tables
        )

    @post(path, name="create_database", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[DatabaseView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Name, 7400)
        return Envelope(view(await threads.run(resources.create_database, account_id, body.name), 0))

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
        return Envelope([listed(item) for item in found], result_info=page_info(part, len(found), total))

    @get(one, name="get_database")
    async def show(
        request: ApiRequest,
        account_id: FromPath[str],
        database: FromPath[str],
        fields: FromQuery[list[str] | None] = None,
    ) -> Envelope[Any]:  # Any: a DatabaseView, or the fields of it that were asked for
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        wanted = {field for item in fields or () for field in item.split(",") if field}
        if wanted and "num_tables" not in wanted:
            shown: dict[str, Any] = msgspec.to_builtins(view(found))
            return Envelope({field: value for field, value in shown.items() if field in wanted})
        return Envelope(view(found, await _count_tables(service, found.id)))

    async def change(request: ApiRequest, account_id: str, database: str) -> Envelope[DatabaseView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Change, 7400)
        mode = None if body.read_replication is None else body.read_replication.mode
        changed = await threads.run(
            resources.change_database, account_id, database, name=body.name, read_replication=mode
        )
        return Envelope(view(changed, await _count_tables(service, changed.id)))

    @patch(one, name="edit_database", status_code=200)
    async def edit(request: ApiRequest, account_id: FromPath[str], database: FromPath[str]) -> Envelope[DatabaseView]:
        return await change(request, account_id, database)

    @put(one, name="update_database", status_code=200)
    async def update(request: ApiRequest, account_id: FromPath[str], database: FromPath[str]) -> Envelope[DatabaseView]:
        return await change(request, account_id, database)

    @delete(one, name="delete_database", status_code=200)
    async def remove(request: ApiRequest, account_id: FromPath[str], database: FromPath[str]) -> Envelope[None]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        # The bytes first: should the process end in between, the same request finds the database and goes on.
        await service.delete(found.id)
        await threads.run(resources.delete_database, account_id, found.id)
        return Envelope(None)

    return [
        create,
        list_page,
        show,
        edit,
        update,
        remove,
        *d1_query_routes(one, resources, service, threads),
        *d1_transfer_routes(one, resources, service, threads),
        *d1_time_travel_routes(one, resources, service, threads),
    ]


async def _count_tables(service: D1Service, database_id: str) -> int | msgspec.UnsetType:
    """Not said of a database that cannot be read: the rest is true all the same."""
    try:
        document = await service.open(database_id).query([Statement(_TABLES)], ArraysDocument(10_000))
    except QueryFailed:
        return msgspec.UNSET
    count: int = msgspec.json.decode(b"".join(document))[0]["results"]["rows"][0][0]
    return count
