"""Time Travel: what a D1 database was at an earlier time, and back to it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control.body import ApiRequest
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.resources import Resources
from tenantry.control.routes.account import check_account
from tenantry.control.routes.d1_queries import d1_failures
from tenantry.control.threads import Threads
from tenantry.services.d1 import D1Service

__all__ = ["d1_time_travel_routes"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BookmarkView(msgspec.Struct, frozen=True):
    bookmark: str


class RestoreView(msgspec.Struct, frozen=True):
    bookmark: str
    previous_bookmark: str
    message: str


def d1_time_travel_routes(
    one: str, resources: Resources, service: D1Service, threads: Threads
) -> list[HTTPRouteHandler]:
    @get(f"{one}/time_travel/bookmark", name="get_database_bookmark")
    async def bookmark(
        request: ApiRequest, account_id: FromPath[str], database: FromPath[str], timestamp: FromQuery[str | None] = None
    ) -> Envelope[BookmarkView]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        time = None if timestamp is None else _nanoseconds_untrusted(timestamp)
        with d1_failures():
            return Envelope(BookmarkView(await service.open(found.id).bookmark(time)))

    @post(f"{one}/time_travel/restore", name="restore_database", status_code=200)
    async def restore(
        request: ApiRequest,
        account_id: FromPath[str],
        database: FromPath[str],
        timestamp: FromQuery[str | None] = None,
        bookmark: FromQuery[str | None] = None,
    ) -> Envelope[RestoreView]:
        check_account(request, account_id)
        found = await threads.run(resources.database, account_id, database)
        if (timestamp is None) == (bookmark is None):
            raise Invalid(7400, "say either 'bookmark' or 'timestamp' to restore to, as a query parameter")
        time = None if timestamp is None else _nanoseconds_untrusted(timestamp)
        with d1_failures():
            restored, previous = await service.open(found.id).restore(bookmark=bookmark, time=time)
        message = f"Database has been restored to bookmark {restored}. To undo this, restore to {previous}."
        return Envelope(RestoreView(restored, previous, message))

    return [bookmark, restore]


def _nanoseconds_untrusted(timestamp: str) -> int:
    """Since 1970. Raises Invalid (7400)."""
    try:
        time = datetime.fromisoformat(timestamp)
        since = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError) as error:
        raise Invalid(7400, "'timestamp' must be in ISO 8601, such as 2026-11-25T18:00:00Z") from error
    if since < timedelta(0):
        raise Invalid(7400, "'timestamp' is before 1970")
    return since // timedelta(microseconds=1) * 1000
