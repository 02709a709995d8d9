"""The outermost layer of the control plane: nothing behind it is reached without a token, not even a 404.

Litestar resolves a route before its middleware runs; a guard there would tell strangers which routes exist.
"""

from __future__ import annotations

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from tenantry.control.accounts import Accounts, Token
from tenantry.control.envelope import error_envelope, status_of
from tenantry.control.errors import ControlError, Unauthenticated
from tenantry.control.threads import Threads

__all__ = ["Edge", "token_of"]

_SCOPE_KEY = "tenantry.token"
_PUBLIC_PATHS = frozenset({"/healthz", "/readyz"})


class Edge:
    """ASGI: authenticates each request, then passes it on with its token in the scope."""

    def __init__(self, app: ASGIApp, accounts: Accounts, threads: Threads) -> None:
        self._app = app
        self._accounts = accounts
        self._threads = threads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and scope["path"] not in _PUBLIC_PATHS:
            try:
                scope[_SCOPE_KEY] = await self._authenticate(scope)  # type: ignore[literal-required]  # ours
            except ControlError as error:
                await _send_error(send, error)
                return
        await self._app(scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Token:
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        values = [value for name, value in headers if name == b"authorization"]
        if not values:
            message = "Missing authentication: send an API token in the header 'Authorization: Bearer <token>'."
            if any(name.startswith(b"x-auth-") for name, _ in headers):
                message = (
                    "Only API tokens are accepted: send 'Authorization: Bearer <token>'. X-Auth-Email and X-Auth-Key "
                    "come from a client that has CLOUDFLARE_EMAIL or CLOUDFLARE_API_KEY in its environment; unset them."
                )
            raise Unauthenticated(9106, message)
        scheme, _, credentials = values[0].decode("latin-1").partition(" ")
        token = None
        if len(values) == 1 and scheme.lower() == "bearer":
            token = await self._threads.run(self._accounts.verify_token_untrusted, credentials.strip())
        if token is None:
            raise Unauthenticated(10000, "Authentication error")
        return token


def token_of(scope: Scope) -> Token:
    """The token of a request that came through the edge."""
    token = scope[_SCOPE_KEY]  # type: ignore[literal-required]  # ours
    assert isinstance(token, Token), "a request that did not come through the edge"
    return token


async def _send_error(send: Send, error: ControlError) -> None:
    body = msgspec.json.encode(error_envelope(error.code, error.message))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"www-authenticate", b"Bearer"),
    ]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
