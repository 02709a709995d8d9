"""Tails of a Worker: opened, listed, ended. What is read of them comes over a WebSocket, see `tail_server`."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from tenantry.control import limits
from tenantry.control.body import ApiRequest, read_body_untrusted
from tenantry.control.envelope import Envelope
from tenantry.control.records import ScriptRef
from tenantry.control.routes.worker import REF, both
from tenantry.control.store import Store
from tenantry.control.tail_server import TAIL_PATH
from tenantry.control.tails import Tail, Tails, parse_filters_untrusted
from tenantry.control.threads import Threads

__all__ = ["tail_routes"]


class TailView(msgspec.Struct, frozen=True):
    """`url` is a capability: whoever has it reads the tail."""

    id: str
    url: str
    expires_at: str


class ListedTailView(msgspec.Struct, frozen=True):
    id: str
    expires_at: str


def _expiry(tail: Tail) -> str:
    return tail.expires_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def tail_routes(store: Store, tails: Tails, port: int, threads: Threads) -> list[HTTPRouteHandler]:
    @post(both("/tails"), name="create_tail", status_code=200, dependencies=REF)
    async def create_tail(request: ApiRequest, ref: NamedDependency[ScriptRef]) -> Envelope[TailView]:
        filters = parse_filters_untrusted(await read_body_untrusted(request, limits.JSON_BODY_BYTES_MAX, 10021))
        await threads.run(store.scripts.get, ref)
        tail = tails.create(ref, filters)
        # The address that the client reached us at is one that it can reach again.
        host = request.url.hostname or "127.0.0.1"
        url = f"ws://{f'[{host}]' if ':' in host else host}:{port}{TAIL_PATH}{tail.secret}"
        return Envelope(TailView(tail.id, url, _expiry(tail)))

    @get(both("/tails"), name="list_tails", dependencies=REF)
    async def list_tails(ref: NamedDependency[ScriptRef]) -> Envelope[list[ListedTailView]]:
        await threads.run(store.scripts.get, ref)
        return Envelope([ListedTailView(tail.id, _expiry(tail)) for tail in tails.of(ref)])

    @delete(both("/tails/{tail_id:str}"), name="delete_tail", status_code=200, dependencies=REF)
    async def delete_tail(ref: NamedDependency[ScriptRef], tail_id: FromPath[str]) -> Envelope[None]:
        tails.delete(ref, tail_id)
        return Envelope(None)

    return [create_tail, list_tails, delete_tail]
