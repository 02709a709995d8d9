"""API keys of end users: made, listed and revoked. Ours, and not Cloudflare's."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.api_keys import ApiKeys
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.edge import token_of
from tenantry.control.envelope import Envelope
from tenantry.control.routes.account import page_info, page_untrusted
from tenantry.control.threads import Threads

__all__ = ["api_key_routes"]


class _User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user: str


class ApiKeyView(msgspec.Struct, frozen=True):
    id: str
    user: str
    created_on: str


class NewApiKeyView(msgspec.Struct, frozen=True):
    """`key` is shown this once."""

    id: str
    user: str
    created_on: str
    key: str


class RevokedView(msgspec.Struct, frozen=True):
    id: str


def api_key_routes(keys: ApiKeys, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/tenantry/v1/api_keys"

    @post(path, name="create_api_key", status_code=200)
    async def create(request: ApiRequest) -> Envelope[NewApiKeyView]:
        body = await read_json_untrusted(request, _User, 10001)
        made, key = await threads.run(keys.create_untrusted, token_of(request.scope).account_id, body.user)
        return Envelope(NewApiKeyView(made.id, made.user, made.created_on, key))

    @get(path, name="list_api_keys")
    async def list_page(
        request: ApiRequest,
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT,
        user: FromQuery[str | None] = None,
    ) -> Envelope[list[ApiKeyView]]:
        part = page_untrusted(page, per_page)
        found, total = await threads.run(keys.page, token_of(request.scope).account_id, part, user)
        views = [ApiKeyView(key.id, key.user, key.created_on) for key in found]
        return Envelope(views, result_info=page_info(part, len(views), total))

    @delete(path + "/{key_id:str}", name="revoke_api_key", status_code=200)
    async def revoke(request: ApiRequest, key_id: FromPath[str]) -> Envelope[RevokedView]:
        await threads.run(keys.revoke, token_of(request.scope).account_id, key_id)
        return Envelope(RevokedView(key_id))

    return [create, list_page, revoke]
