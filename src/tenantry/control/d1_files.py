"""The files of D1's exports and imports, each behind an address that is a secret for an hour.

Clients send no token here (Cloudflare's addresses are those of an object store, signed), so the edge asks for none. The
address says nothing of the account or the database, and what it does not open it does not tell apart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from tenantry.control.body import ApiRequest
from tenantry.control.envelope import error_envelope
from tenantry.services.d1 import D1Service, QueryFailed

__all__ = ["D1Files", "file_url"]


def file_url(request: ApiRequest, secret: str) -> str:
    """On the address that the client used for `request`: that is one it can reach."""
    return f"{str(request.base_url).rstrip('/')}{D1Files.PREFIX}{secret}"


class D1Files:
    """ASGI: answers `PUT` and `GET` below `PREFIX`."""

    PREFIX: Final = "/client/v4/d1-files/"

    def __init__(self, service: D1Service) -> None:
        self._transfers = service.transfers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == ScopeType.HTTP
        secret, method = scope["path"].removeprefix(self.PREFIX), scope["method"]
        if method == "PUT":
            await self._put(secret, receive, send)
        elif method == "GET":
            await self._get(secret, send)
        else:
            await _refuse(send, 405, 7001, f"Method {method} not available for that URI.")

    async def _put(self, secret: str, receive: Receive, send: Send) -> None:
        try:
            etag = await self._transfers.receive_untrusted(secret, _body(receive))
        except QueryFailed as failure:
            await _refuse(send, 400, 7500, str(failure))
            return
        except OSError:
            await _refuse(send, 507, 7500, "The file could not be kept: no space is left.")
            return
        if etag is None:
            await _refuse(send, 404, 7003, "There is no such upload, or it is too long ago.")
            return
        headers = [(b"etag", f'"{etag}"'.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _get(self, secret: str, send: Send) -> None:
        path = self._transfers.download(secret)
        if path is None:
            await _refuse(send, 404, 7003, "There is no such file, or it is too long ago.")
            return
        headers = [
            (b"content-type", b"application/sql"),
            (b"content-disposition", b"attachment"),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for piece in self._transfers.read(path):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise QueryFailed("The upload broke off.")
        if event["type"] == "http.request":
            if body := event.get("body", b""):
                yield body
            if not event.get("more_body", False):
                return


async def _refuse(send: Send, status: int, code: int, message: str) -> None:
    body = msgspec.json.encode(error_envelope(code, message))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
