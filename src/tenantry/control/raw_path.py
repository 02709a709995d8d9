"""Keys in paths: the rest of the path, undecoded, whatever is in it.

A key may hold slashes, dots, `%2F` and control characters. Routers decode a path before they look at it and tidy it up
(`//` becomes `/`, a slash at the end goes), so a key would not survive one. Here it is taken off first: the router sees
`…/values/key`, and the handler asks `raw_tail_of`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

__all__ = ["RawTails", "raw_tail_of"]

_SCOPE_KEY = "tenantry.raw_tail"
_PLACEHOLDER = "key"

# A client may send `//` after the base.
_TAILED = re.compile(rb"(/client/v4/+accounts/[^/]+/storage/kv/namespaces/[^/]+/(?:values|metadata)/)(.*)", re.DOTALL)


class RawTails:
    """ASGI: takes the key off the path of the routes that have one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            # Servers may leave it out (ASGI, "HTTP connection scope"); then there is nothing better.
            match = _TAILED.fullmatch(scope.get("raw_path") or scope["path"].encode())
            if match is not None:
                scope["path"] = unquote(match[1].decode("latin-1")) + _PLACEHOLDER
                scope[_SCOPE_KEY] = match[2]  # type: ignore[literal-required]  # ours
        await self._app(scope, receive, send)


def raw_tail_of(scope: Scope) -> bytes:
    """What the client sent behind the last slash of the route, still percent-encoded."""
    tail = scope[_SCOPE_KEY]  # type: ignore[literal-required]  # ours
    assert isinstance(tail, bytes), "a route that is not in the table"
    return tail
