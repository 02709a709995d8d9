"""SQL for a D1 database: `query` gives rows as objects, `raw` as arrays, one result for each statement."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_body_untrusted
from tenantry.control.errors import Invalid
from tenantry.control.resources import Resources
from tenantry.control.routes.account import check_account
from tenantry.control.threads import Threads
from tenantry.errors import BindingError
from tenantry.services.d1 import (
    ArraysDocument,
    D1Service,
    ObjectsDocument,
    QueryFailed,
    Statement,
    split_statements,
    sql_value,
)

__all__ = ["d1_failures", "d1_query_routes"]

_ENVELOPE_END = b',"success":true,"errors":[],"messages":[]}'


class _Query(msgspec.Struct, frozen=True):
    sql: str
    params: list[bool | int | float | str | None] = []


class _Request(msgspec.Struct, frozen=True):
    sql: str | None = None
    params: list[bool | int | float | str | None] = []
    batch: list[_Query] = []


@contextmanager
def d1_failures() -> Iterator[None]:
    """What D1 says of a query, as an error of the API: Cloudflare's 7500, and never a 5xx, which clients repeat."""
    try:
        yield
    except QueryFailed as failure:
        raise Invalid(7500, str(failure)) from failure
    except BindingError as error:
        raise Invalid(7500, error.message.removeprefix("D1_ERROR: ")) from error


def d1_query_routes(one: str, resources: Resources, service: D1Service, threads: Threads) -> list[HTTPRouteHandler]:
    async def run(request: ApiRequest, account_id: str, database: str, document: ObjectsDocument) -> Response[bytes]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        body = await read_body_untrusted(request, limits.D1_QUERY_BODY_BYTES_MAX, 7400)
        statements = await threads.run(_statements_untrusted, body)
        with d1_failures():
            parts = await service.open(found.id).query(statements, document)
        return Response(b"".join([b'{"result":', *parts, _ENVELOPE_END]), media_type="application/json")

    @post(f"{one}/query", name="query_database", status_code=200)
    async def query(request: ApiRequest, account_id: FromPath[str], database: FromPath[str]) -> Response[bytes]:
        return await run(request, account_id, database, ObjectsDocument(service.result_bytes_max))

    @post(f"{one}/raw", name="query_database_raw", status_code=200)
    async def raw(request: ApiRequest, account_id: FromPath[str], database: FromPath[str]) -> Response[bytes]:
        return await run(request, account_id, database, ArraysDocument(service.result_bytes_max))

    return [query, raw]


def _statements_untrusted(body: bytes) -> list[Statement]:
    """Raises Invalid (7400), and (7500) for what D1 would refuse to bind."""
    try:
        request = msgspec.json.decode(body, type=_Request)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Invalid(7400, f"the request body is not what it should be: {error}") from error
    if (request.sql is None) == (not request.batch):
        raise Invalid(7400, "the request body must have either 'sql' or 'batch'")
    asked = request.batch or [_Query(request.sql or "", request.params)]
    statements = []
    with d1_failures():
        for item in asked:
            pieces = split_statements(item.sql)
            parameters = tuple([sql_value(value) for value in item.params])
            # Of several statements, the last one has the parameters. Nothing but blanks is D1's to refuse.
            statements += [Statement(piece) for piece in pieces[:-1]]
            statements.append(Statement(pieces[-1] if pieces else item.sql, parameters))
    return statements
