"""API tokens of an account, in the shapes of Cloudflare's account-owned tokens.

A token has one policy with one permission group; the groups are the scopes of `scopes.Scope`. What `namespace` and
`worker` are limited to stands in the policy's resources, and so does what they may bind beside (`reach`).
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from litestar import delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_json_untrusted
from tenantry.control.clock import now
from tenantry.control.edge import token_of
from tenantry.control.envelope import Envelope
from tenantry.control.errors import Invalid
from tenantry.control.reach import GRANTABLE
from tenantry.control.records import Grant
from tenantry.control.routes.account import check_account, page_info, page_untrusted
from tenantry.control.scopes import Scope
from tenantry.control.threads import Threads
from tenantry.control.tokens import Token, Tokens

__all__ = ["token_routes"]

_CODE: Final = 1001
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9_][a-z0-9_-]*(?:/[a-z0-9_][a-z0-9_-]*)?", re.ASCII | re.IGNORECASE)
_ACCOUNT: Final = "com.cloudflare.api.account."
_RESOURCES: Final = {Scope.NAMESPACE: "tenantry.dispatch_namespace.", Scope.WORKER: "tenantry.worker."}

_GRANTS: Final = {kind: f"tenantry.{kind}." for kind in GRANTABLE}

_GROUPS: Final = {
    # Made once, as Cloudflare's are: 32 hex digits that name a group for good.
    "5e1a3c1f0d7b4d0f9a52c0c9e1b7a001": (Scope.ADMIN, "Account Admin"),
    "5e1a3c1f0d7b4d0f9a52c0c9e1b7a002": (Scope.READ, "Account Read"),
    "5e1a3c1f0d7b4d0f9a52c0c9e1b7a003": (Scope.NAMESPACE, "Dispatch Namespace Deploy"),
    "5e1a3c1f0d7b4d0f9a52c0c9e1b7a004": (Scope.WORKER, "Worker Deploy"),
}
_GROUP_OF: Final = {scope: (identifier, name) for identifier, (scope, name) in _GROUPS.items()}


class _Group(msgspec.Struct, frozen=True):
    id: str = ""
    name: str = ""


class _Policy(msgspec.Struct, frozen=True):
    permission_groups: list[_Group]
    resources: dict[str, Any]  # Cloudflare allows nested ones; here a value other than "*" is refused
    effect: str = "allow"


class _NewToken(msgspec.Struct, frozen=True):
    name: str
    policies: list[_Policy]
    expires_on: str | None = None


class _Changed(msgspec.Struct, frozen=True):
    name: str | None = None
    expires_on: str | msgspec.UnsetType | None = msgspec.UNSET


class GroupView(msgspec.Struct, frozen=True):
    id: str
    name: str
    scopes: list[str]


class PolicyGroupView(msgspec.Struct, frozen=True):
    id: str
    name: str


class PolicyView(msgspec.Struct, frozen=True):
    permission_groups: list[PolicyGroupView]
    resources: dict[str, str]
    effect: str = "allow"


class TokenView(msgspec.Struct, frozen=True):
    id: str
    name: str
    status: str
    issued_on: str
    modified_on: str
    expires_on: str | None
    policies: list[PolicyView]
    value: str | msgspec.UnsetType = msgspec.UNSET
    """In the answer that makes it, and nowhere else."""


class VerifiedView(msgspec.Struct, frozen=True, omit_defaults=True):
    id: str
    status: str
    expires_on: str | None = None


class DeletedView(msgspec.Struct, frozen=True):
    id: str


def token_routes(tokens: Tokens, threads: Threads) -> list[HTTPRouteHandler]:
    path = "/accounts/{account_id:str}/tokens"

    def verified(request: ApiRequest) -> Envelope[VerifiedView]:
        token = token_of(request.scope)
        return Envelope(VerifiedView(token.id, "active", token.expires_on))

    @get("/user/tokens/verify", name="verify_token")
    async def verify(request: ApiRequest) -> Envelope[VerifiedView]:
        return verified(request)

    @get(path + "/verify", name="verify_account_token")
    async def verify_of_account(request: ApiRequest, account_id: FromPath[str]) -> Envelope[VerifiedView]:
        check_account(request, account_id)
        return verified(request)

    @get(path + "/permission_groups", name="list_permission_groups")
    async def groups(request: ApiRequest, account_id: FromPath[str]) -> Envelope[list[GroupView]]:
        check_account(request, account_id)
        return Envelope(
            [GroupView(identifier, name, ["com.cloudflare.api.account"]) for identifier, (_, name) in _GROUPS.items()]
        )

    @post(path, name="create_token", status_code=200)
    async def create(request: ApiRequest, account_id: FromPath[str]) -> Envelope[TokenView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _NewToken, _CODE)
        scope, resource, granted = _scope_untrusted(body.policies, account_id)
        name, expires_on = _name_untrusted(body.name), _expiry_untrusted(body.expires_on)
        made, value = await threads.run(tokens.issue, account_id, name, scope, resource, expires_on, granted)
        return Envelope(_view(made, value))

    @get(path, name="list_tokens")
    async def list_page(
        request: ApiRequest,
        account_id: FromPath[str],
        page: FromQuery[int] = 1,
        per_page: FromQuery[int] = limits.PAGE_ITEMS_DEFAULT,
    ) -> Envelope[list[TokenView]]:
        check_account(request, account_id)
        part = page_untrusted(page, per_page)
        found, total = await threads.run(tokens.page, account_id, part)
        return Envelope([_view(token) for token in found], result_info=page_info(part, len(found), total))

    @get(path + "/{token_id:str}", name="get_token")
    async def get_one(request: ApiRequest, account_id: FromPath[str], token_id: FromPath[str]) -> Envelope[TokenView]:
        check_account(request, account_id)
        return Envelope(_view(await threads.run(tokens.get, account_id, token_id)))

    @put(path + "/{token_id:str}", name="update_token")
    async def change(request: ApiRequest, account_id: FromPath[str], token_id: FromPath[str]) -> Envelope[TokenView]:
        check_account(request, account_id)
        body = await read_json_untrusted(request, _Changed, _CODE)
        before = await threads.run(tokens.get, account_id, token_id)
        name = before.name if body.name is None else _name_untrusted(body.name)
        expires_on = before.expires_on
        if not isinstance(body.expires_on, msgspec.UnsetType):
            expires_on = _expiry_untrusted(body.expires_on)
        return Envelope(_view(await threads.run(tokens.update, account_id, token_id, name, expires_on)))

    @put(path + "/{token_id:str}/value", name="roll_token")
    async def roll(request: ApiRequest, account_id: FromPath[str], token_id: FromPath[str]) -> Envelope[str]:
        check_account(request, account_id)
        return Envelope(await threads.run(tokens.roll, account_id, token_id))

    @delete(path + "/{token_id:str}", name="revoke_token", status_code=200)
    async def revoke(request: ApiRequest, account_id: FromPath[str], token_id: FromPath[str]) -> Envelope[DeletedView]:
        check_account(request, account_id)
        await threads.run(tokens.revoke, account_id, token_id)
        return Envelope(DeletedView(token_id))

    return [verify, verify_of_account, groups, create, list_page, get_one, change, roll, revoke]


def _view(token: Token, value: str | msgspec.UnsetType = msgspec.UNSET) -> TokenView:
    prefix = _RESOURCES.get(token.scope)
    resource = f"{_ACCOUNT}{token.account_id}" if prefix is None else prefix + token.resource
    resources = [resource, *(_GRANTS[kind] + name for kind, name in sorted(token.granted))]
    policy = PolicyView([PolicyGroupView(*_GROUP_OF[token.scope])], dict.fromkeys(resources, "*"))
    return TokenView(
        id=token.id,
        name=token.name,
        status="expired" if token.is_expired(now()) else "active",
        issued_on=token.created_on,
        modified_on=token.modified_on,
        expires_on=token.expires_on,
        policies=[policy],
        value=value,
    )


def _scope_untrusted(policies: list[_Policy], account_id: str) -> tuple[Scope, str, frozenset[Grant]]:
    """Raises Invalid."""
    if len(policies) != 1 or policies[0].effect != "allow" or len(policies[0].permission_groups) != 1:
        raise Invalid(_CODE, "policies: a token has one policy, with the effect allow and one permission group")
    given = policies[0].permission_groups[0]
    group = _GROUPS.get(given.id)
    if group is None:
        known = ", ".join(f"{identifier} ({name})" for identifier, (_, name) in _GROUPS.items())
        raise Invalid(_CODE, f"policies: {given.id[:40]!a} is not the id of a permission group; there are {known}")
    scope = group[0]
    resources = policies[0].resources
    if not resources or len(resources) > limits.TOKEN_RESOURCES_MAX or set(map(repr, resources.values())) != {"'*'"}:
        raise Invalid(
            _CODE, f'policies: resources has 1 to {limits.TOKEN_RESOURCES_MAX} entries, each with the value "*"'
        )
    prefix = _RESOURCES.get(scope)
    if prefix is None:
        if list(resources) != [_ACCOUNT + account_id]:
            raise Invalid(_CODE, f"policies: the resource of {group[1]} is {_ACCOUNT}{account_id}")
        return scope, "", frozenset()
    granted = {name: grant for name in resources if (grant := _grant_untrusted(name)) is not None}
    names = [name for name in resources if name not in granted]
    if len(names) != 1:
        raise Invalid(_CODE, f"policies: one of the resources of {group[1]} begins with {prefix}")
    name = names[0]
    resource = name.removeprefix(prefix)
    if resource == name or not _NAME.fullmatch(resource) or (scope is Scope.NAMESPACE and "/" in resource):
        shape = "<namespace>" if scope is Scope.NAMESPACE else "<script> or <namespace>/<script>"
        raise Invalid(_CODE, f"policies: the resource of {group[1]} is {prefix}{shape}")
    return scope, resource, frozenset(granted.values())


def _grant_untrusted(name: str) -> Grant | None:
    """What the resource of a policy lets a token bind. Whether it is there is asked when it is bound."""
    for kind, prefix in _GRANTS.items():
        rest = name.removeprefix(prefix)
        if rest != name and 0 < len(rest) <= limits.TOKEN_RESOURCE_CHARACTERS_MAX and rest.isprintable():
            return kind, rest
    return None


def _name_untrusted(name: str) -> str:
    if not 0 < len(name.strip()) <= limits.TOKEN_NAME_CHARACTERS_MAX or not name.isprintable():
        raise Invalid(_CODE, f"name is 1 to {limits.TOKEN_NAME_CHARACTERS_MAX} printable characters")
    return name


def _expiry_untrusted(moment: str | None) -> str | None:
    """As `clock.now` writes it, so that the two compare as texts. Raises Invalid."""
    if moment is None:
        return None
    if not _INSTANT.fullmatch(moment):
        raise Invalid(_CODE, "expires_on is a time in UTC, such as 2027-01-31T00:00:00Z")
    seconds, _, fraction = moment.removesuffix("Z").partition(".")
    normal = f"{seconds}.{fraction:0<6}Z"
    if normal <= now():
        raise Invalid(_CODE, f"expires_on is over: {moment}")
    return normal
