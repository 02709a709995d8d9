"""The outermost layer of the control plane: nothing behind it is reached without a token, not even a 404.

Litestar resolves a route before its middleware runs; a guard there would tell strangers which routes exist. What a good
token may do is decided behind the router, by `authorization`.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from sqlalchemy.exc import SQLAlchemyError

from tenantry.control.asset_sessions import AssetSessions
from tenantry.control.audit import Audit, Change
from tenantry.control.envelope import error_envelope, status_of
from tenantry.control.errors import ControlError, Throttled, Unauthenticated
from tenantry.control.failures import Failures
from tenantry.control.raw_path import take_raw_tail
from tenantry.control.threads import Threads
from tenantry.control.tokens import Token, Tokens

__all__ = ["PUBLIC_PATHS", "Asking", "Edge", "asking_of", "token_of"]

_log = structlog.get_logger(__name__)
_SCOPE_KEY = "tenantry.asking"
# Where the token of an upload of assets may stand in the place of an API token. What it opens is `scopes.UPLOAD`.
_UPLOAD_PATH: Final = re.compile(r"/client/v4/accounts/[^/]+/workers/assets/upload(/|$)")
PUBLIC_PATHS = frozenset({"/healthz", "/readyz", "/client/v4/openapi.json", "/client/v4/docs"})


class Asking:
    """A request that came with a good token. `change` is set once it is known to be one that the audit log tells of.

    `session_id` is of an upload of assets, where it came with the token of one: `token` then only says whose it is.
    """

    __slots__ = ("address", "change", "request_id", "session_id", "token")

    def __init__(self, token: Token, request_id: str, address: str, session_id: str | None = None) -> None:
        self.token = token
        self.session_id = session_id
        self.request_id = request_id
        self.address = address
        self.change: Change | None = None


class Edge:
    """ASGI: authenticates each request, then passes it on with who is asking in the scope."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        audit: Audit,
        asset_sessions: AssetSessions,
        threads: Threads,
        clock: Callable[[], float] = time.monotonic,
        secret_paths: Mapping[str, ASGIApp] | None = None,
    ) -> None:
        """`secret_paths`: what answers below a prefix of paths that are each a secret, in the place of a token."""
        self._secret_paths = dict(secret_paths or {})
        self._app = app
        self._tokens = tokens
        self._audit = audit
        self._asset_sessions = asset_sessions
        self._threads = threads
        self._clock = clock
        self._failures = Failures()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP or scope["path"] in PUBLIC_PATHS:
            await self._app(scope, receive, send)
            return
        for prefix, app in self._secret_paths.items():
            if scope["path"].startswith(prefix):
                await app(scope, receive, send)
                return
        request_id = secrets.token_hex(16)
        client = scope.get("client")
        address = client[0] if client else ""
        asking: Asking | None = None

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if asking is not None and asking.change is not None:
                    # Before the caller learns of it: who was told of a change finds it in the log.
                    await self._end(asking.change, message["status"])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            token, session_id = await self._authenticate(scope, address)
            asking = Asking(token, request_id, address, session_id)
        except ControlError as error:
            await _send_error(answer, error)
            return
        scope[_SCOPE_KEY] = asking  # type: ignore[literal-required]  # ours
        take_raw_tail(scope)
        await self._app(scope, receive, answer)

    async def _end(self, change: Change, status: int) -> None:
        try:
            await self._threads.run(self._audit.end, change, status)
        except SQLAlchemyError:
            # That it began is in the log, durably, from before anything happened. The caller is to hear how it ended,
            # also where the disk is full.
            _log.exception("the end of a change is not in the audit log", request_id=change.request_id, status=status)

    async def _authenticate(self, scope: Scope, address: str) -> tuple[Token, str | None]:
        wait = self._failures.wait_seconds(address, self._clock())
        if wait:
            message = f"Too many requests with tokens that are not valid. Wait {math.ceil(wait)} seconds."
            raise Throttled(971, message, wait)
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
        token, session_id = None, None
        if len(values) == 1 and scheme.lower() == "bearer":
            token = await self._threads.run(self._tokens.verify_untrusted, credentials.strip())
            if token is None and _UPLOAD_PATH.match(scope["path"]):
                token = await self._threads.run(self._asset_sessions.asking_untrusted, credentials.strip())
                session_id = None if token is None else token.id
        if token is None:
            if self._failures.failed(address, self._clock()):
                _log.warning("too many requests with tokens that are not valid", address=address)
            raise Unauthenticated(10000, "Authentication error")
        return token, session_id


def asking_of(scope: Scope) -> Asking:
    """Who is asking, of a request that came through the edge."""
    asking = scope[_SCOPE_KEY]  # type: ignore[literal-required]  # ours
    assert isinstance(asking, Asking), "a request that did not come through the edge"
    return asking


def token_of(scope: Scope) -> Token:
    """The token of a request that came through the edge."""
    return asking_of(scope).token


async def _send_error(send: Send, error: ControlError) -> None:
    body = msgspec.json.encode(error_envelope(error.code, error.message))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    if isinstance(error, Throttled):
        headers.append((b"retry-after", b"%d" % math.ceil(error.wait_seconds)))
    else:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
