"""Who is asking, and for which account."""

from __future__ import annotations

import math

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery

from tenantry.control import limits
from tenantry.control.accounts import Accounts
from tenantry.control.body import ApiRequest
from tenantry.control.edge import token_of
from tenantry.control.envelope import Envelope, ResultInfo
from tenantry.control.errors import NotFound
from tenantry.control.resources import Page
from tenantry.control.threads import Threads

__all__ = ["account_routes", "check_account", "page_info", "page_untrusted"]


class AccountView(msgspec.Struct, frozen=True):
    id: str
    name: str
    created_on: str
    type: str = "standard"
    settings: dict[str, bool] = {}


def check_account(request: ApiRequest, account_id: str) -> str:
    """The account of the path, when the token is for it. Another's looks like one that is not there."""
    if account_id != token_of(request.scope).account_id:
        raise NotFound(7003, f"Could not route to {request.url.path[:200]}, perhaps your object identifier is invalid?")
    return account_id


def page_untrusted(number: int, size: int) -> Page:
    """A page as asked for, within the limits: what is out of range becomes the nearest that is not."""
    return Page(min(max(number, 1), 1_000_000_000), min(max(size, 1), limits.PAGE_ITEMS_MAX))


def page_info(page: Page, count: int, total: int) -> ResultInfo:
    return ResultInfo(page.number, page.size, count, total, math.ceil(total / page.size))


def account_routes(accounts: Accounts, threads: Threads) -> list[HTTPRouteHandler]:
    @get("/accounts", name="list_accounts")
    async def list_accounts(
        request: ApiRequest, page: FromQuery[int] = 1, per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT
    ) -> Envelope[list[AccountView]]:
        account = await threads.run(accounts.get, token_of(request.scope).account_id)
        part = page_untrusted(page, per_page)
        everything = [] if account is None else [AccountView(account.id, account.name, account.created_on)]
        views = everything[part.offset : part.offset + part.size]
        return Envelope(views, result_info=page_info(part, len(views), len(everything)))

    return [list_accounts]
