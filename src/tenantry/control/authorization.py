"""Behind the router and before every handler: may this token do this, and if it changes something, write that down."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from tenantry.control.audit import Audit, Change
from tenantry.control.edge import PUBLIC_PATHS, asking_of
from tenantry.control.errors import Forbidden
from tenantry.control.limits import AUDIT_PATH_CHARACTERS_MAX
from tenantry.control.raw_path import whole_path
from tenantry.control.scopes import UPLOAD, permits, rule_of
from tenantry.control.threads import Threads

__all__ = ["authorization", "template"]

_TYPED = re.compile(r"\{(\w+):\w+\}")

# Any: Litestar's user, auth and state, none of which is used.
Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def template(path: str) -> str:
    """A route's path as `scopes.RULES` has it: without the types of its parameters."""
    return _TYPED.sub(r"{\1}", path)


def authorization(audit: Audit, threads: Threads) -> Guard:
    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        scope = connection.scope
        if scope["path"] in PUBLIC_PATHS:
            return
        asking = asking_of(scope)
        token = asking.token
        method = str(scope["method"])  # type: ignore[typeddict-item]  # only HTTP has guards here
        rule = rule_of(method, template(scope["path_template"]))
        if rule is not None and rule.audited:
            change = Change(
                asking.request_id,
                token.account_id,
                token.id,
                token.name,
                asking.address,
                method,
                whole_path(scope)[:AUDIT_PATH_CHARACTERS_MAX],
            )
            await threads.run(audit.begin, change)
            asking.change = change
        if asking.session_id is not None:
            if rule is not UPLOAD:
                raise Forbidden(10000, "Authentication error: the token of an upload of assets opens nothing else.")
            return
        if rule is None or not permits(rule, token.scope, token.resource, connection.path_params):
            what = f" to {token.resource!r}" if token.resource else ""
            raise Forbidden(
                10000, f"Authentication error: this token is limited to the scope {token.scope.value}{what}."
            )

    return guard
