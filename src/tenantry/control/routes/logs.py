"""What Workers said and how their invocations ended, by query. Ours, and not Cloudflare's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Literal

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest
from tenantry.control.edge import token_of
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import Forbidden, Invalid
from tenantry.control.log_ring import LogEntry, LogQuery, LogRing
from tenantry.control.scopes import Scope
from tenantry.control.threads import Threads
from tenantry.control.tokens import Token

__all__ = ["log_routes"]

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)?", re.ASCII)
_ID_MAX: Final = 2**63 - 1


def log_routes(
    ring: LogRing | None, attend: Callable[[str | None, str], None] | None, threads: Threads
) -> list[HTTPRouteHandler]:
    """`ring` is None where nothing is kept. `attend` is told whose log somebody follows, each time they look."""

    @get("/tenantry/v1/logs", name="list_logs")
    async def list_logs(
        request: ApiRequest,
        worker: FromQuery[str | None] = None,
        namespace: FromQuery[str | None] = None,
        since: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        outcome: FromQuery[str | None] = None,
        level: FromQuery[Literal["debug", "log", "info", "warn", "error"] | None] = None,
        limit: FromQuery[int] = limits.LOG_ENTRIES_DEFAULT,
        cursor: FromQuery[str | None] = None,
        after: FromQuery[str | None] = None,
        follow: FromQuery[bool] = False,
    ) -> Envelope[list[LogEntry]]:
        if not 1 <= limit <= limits.LOG_ENTRIES_MAX:
            raise Invalid(10001, f"limit is a number from 1 to {limits.LOG_ENTRIES_MAX}")
        query = LogQuery(
            worker=worker,
            any_namespace=namespace is None,
            namespace=namespace or None,
            since=_moment_untrusted("since", since),
            before=_moment_untrusted("before", before),
            outcome=outcome,
            level=level,
            after=_id_untrusted("after", after),
            below=_id_untrusted("cursor", cursor),
        )
        query = _limited(query, token_of(request.scope))
        if follow:
            if query.worker is None or query.any_namespace:
                raise Invalid(10001, "follow needs a worker and a namespace, which is empty outside of any")
            if attend is not None:
                attend(query.namespace, query.worker)
        if ring is None:
            return Envelope([], result_info=ResultInfo(count=0))
        found, more = await threads.run(ring.find, query, limit)
        last = str(found[-1].id) if more else None
        return Envelope(found, result_info=ResultInfo(count=len(found), cursor=last))

    return [list_logs]


def _limited(query: LogQuery, token: Token) -> LogQuery:
    """To what the token is for. Raises Forbidden (10000) when it asks for something else by name."""
    if token.scope in (Scope.ADMIN, Scope.READ):
        return query
    own_namespace: str | None = token.resource
    own_worker: str | None = None
    if token.scope is Scope.WORKER:
        namespace, _, own_worker = token.resource.rpartition("/")
        own_namespace = namespace or None
    foreign_namespace = not query.any_namespace and query.namespace != own_namespace
    if foreign_namespace or (own_worker is not None and query.worker not in (None, own_worker)):
        raise Forbidden(
            10000,
            f"Authentication error: this token is limited to the scope {token.scope.value} to {token.resource!r}.",
        )
    return replace(query, worker=own_worker or query.worker, any_namespace=False, namespace=own_namespace)


def _moment_untrusted(name: str, given: str | None) -> int | None:
    if given is None:
        return None
    try:
        if not _MOMENT.fullmatch(given):
            raise ValueError
        return int(datetime.fromisoformat(given).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise Invalid(10001, f"{name} is a day or a time in UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z") from error


def _id_untrusted(name: str, given: str | None) -> int | None:
    if given is None:
        return None
    if not re.fullmatch(r"[0-9]{1,19}", given, re.ASCII) or int(given) > _ID_MAX:
        raise Invalid(10001, f"{name} is the id of an entry, as an answer had it")
    return int(given)
