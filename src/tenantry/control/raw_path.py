"""Keys in paths: the rest of the path, undecoded, whatever is in it.

A key may hold slashes, dots, `%2F` and control characters. Routers decode a path before they look at it and tidy it up
(`//` becomes `/`, a slash at the end goes), so a key would not survive one. Here it is taken off first: the router sees
`…/values/key`, and the handler asks `raw_tail_of`.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from litestar.types import Scope

__all__ = ["raw_tail_of", "take_raw_tail", "whole_path"]

_SCOPE_KEY = "tenantry.raw_tail"
_PLACEHOLDER = "key"

# A client may send `//` after the base.
_TAILED = re.compile(rb"(/client/v4/+accounts/[^/]+/storage/kv/namespaces/[^/]+/(?:values|metadata)/)(.*)", re.DOTALL)


def take_raw_tail(scope: Scope) -> None:
    """Takes the key off the path of a request whose route has one, before the router sees it."""
    # Servers may leave the raw path out (ASGI, "HTTP connection scope"); then there is nothing better.
    match = _TAILED.fullmatch(scope.get("raw_path") or scope["path"].encode())
    if match is not None:
        scope["path"] = unquote(match[1].decode("latin-1")) + _PLACEHOLDER
        scope[_SCOPE_KEY] = match[2]  # type: ignore[literal-required]  # ours


def whole_path(scope: Scope) -> str:
    """The path as people read it: with its key, which stays percent-encoded."""
    return scope["raw_path"].decode("latin-1") if _SCOPE_KEY in scope else scope["path"]


def raw_tail_of(scope: Scope) -> bytes:
    """What the client sent behind the last slash of the route, still percent-encoded."""
    tail = scope[_SCOPE_KEY]  # type: ignore[literal-required]  # ours
    assert isinstance(tail, bytes), "a route that is not in the table"
    return tail
