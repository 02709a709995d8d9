"""The audit log, in the shape of Cloudflare's. There is no route that changes it."""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.audit import Audit, Record
from tenantry.control.body import ApiRequest
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["audit_routes"]

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\d(?:\.\d{1,6})?Z)?", re.ASCII)


class ActorView(msgspec.Struct, frozen=True):
    id: str
    name: str
    ip: str
    type: str = "token"


class ActionView(msgspec.Struct, frozen=True):
    """`result` is null where the host died before it could answer: the change may be done, or not."""

    type: str
    result: bool | None
    status: int | None


class ResourceView(msgspec.Struct, frozen=True):
    path: str


class AuditView(msgspec.Struct, frozen=True):
    id: str
    when: str
    actor: ActorView
    action: ActionView
    resource: ResourceView


def audit_routes(audit: Audit, threads: Threads) -> list[HTTPRouteHandler]:
    @get("/accounts/{account_id:str}/audit_logs", name="list_audit_logs")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT,
        since: FromQuery[str | None] = None,
        before: FromQuery[str | None] = None,
        actor: FromQuery[str | None] = None,
        direction: FromQuery[Literal["asc", "desc"]] = "desc",
    ) -> Envelope[list[AuditView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(
            audit.page,
            account_id,
            part,
            since=_moment_untrusted("since", since),
            before=_moment_untrusted("before", before),
            actor=actor,
            oldest_first=direction == "asc",
        )
        return Envelope([_view(record) for record in found], result_info=page_info(part, len(found), total))

    return [list_page]


def _view(record: Record) -> AuditView:
    change, status = record.change, record.status
    return AuditView(
        id=change.request_id,
        when=record.at,
        actor=ActorView(change.actor, change.actor_name, change.address),
        action=ActionView(change.method, None if status is None else status < 400, status),
        resource=ResourceView(change.path),
    )


def _moment_untrusted(name: str, given: str | None) -> str | None:
    if given is not None and not _MOMENT.fullmatch(given):
        raise Invalid(10001, f"{name} is a day or a time in UTC, such as 2027-01-31 or 2027-01-31T12:00:00Z")
    return given
