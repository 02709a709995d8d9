"""Who is asking, and for which account."""

from __future__ import annotations

import math

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

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


class UserView(msgspec.Struct, frozen=True):
    """Whoever holds the token. There are no people here, only tokens with names."""

    id: str
    email: str
    first_name: str | None = None
    last_name: str | None = None


class MembershipView(msgspec.Struct, frozen=True):
    id: str
    account: AccountView
    roles: tuple[str, ...] = ("Administrator",)
    status: str = "accepted"


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
    async def own_account(request: ApiRequest) -> list[AccountView]:
        account = await threads.run(accounts.get, token_of(request.scope).account_id)
        return [] if account is None else [AccountView(account.id, account.name, account.created_on)]

    @get("/user", name="get_user")
    async def get_user(request: ApiRequest) -> Envelope[UserView]:
        token = token_of(request.scope)
        return Envelope(UserView(token.id, f"{token.id}@token.invalid"))

    @get("/accounts", name="list_accounts")
    async def list_accounts(
        request: ApiRequest, page: FromQuery[int] = 1, per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT
    ) -> Envelope[list[AccountView]]:
        part = page_untrusted(page, per_page)
        everything = await own_account(request)
        views = everything[part.offset : part.offset + part.size]
        return Envelope(views, result_info=page_info(part, len(views), len(everything)))

    @get("/accounts/{account_id:str}", name="get_account")
    async def get_account(request: ApiRequest, account_id: FromPath[str]) -> Envelope[AccountView]:
        check_account(request, account_id)
        (account,) = await own_account(request)
        return Envelope(account)

    @get("/memberships", name="list_memberships")
    async def list_memberships(
        request: ApiRequest, page: FromQuery[int] = 1, per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT
    ) -> Envelope[list[MembershipView]]:
        part = page_untrusted(page, per_page)
        everything = [MembershipView(account.id, account) for account in await own_account(request)]
        views = everything[part.offset : part.offset + part.size]
        return Envelope(views, result_info=page_info(part, len(views), len(everything)))

    return [get_user, list_accounts, get_account, list_memberships]
