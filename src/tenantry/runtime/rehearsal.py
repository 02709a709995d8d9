"""What most Workers do, done in the zygote before it forks: by a Worker that is ours, and a host that is played.

A child shares its zygote's memory page by page, until it writes. And Python writes much when it runs code for the first
time: it specialises the bytecode, fills caches of types and dicts, imports what was left for later. After a rehearsal
that is done, once for all children: less of each is private, and its first request takes less.

No tenant's code takes part, and nothing stays open.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
from http import HTTPStatus
from typing import Any, Final

from workers import Response, WorkerEntrypoint, _entry, _env

from tenantry.channel import Peer
from tenantry.runtime.loader import import_main
from tenantry.runtime.loop import rehearse as rehearse_loop
from tenantry.runtime.worker import Kit, Worker
from tenantry.wire.assignment import (
    WORKER_ROOT,
    Assignment,
    BindingStubSpec,
    decode_assignment,
    encode_assignment,
)
from tenantry.wire.events import CallReceived, InvocationKind, LogLost, LogReceived, StreamExport, StubExport
from tenantry.wire.values import RequestValue, decode_untrusted, encode

__all__ = ["rehearse"]

_MODULE: Final = "colorsys"
_PATTERNS: Final = (r"bytes=(\d{0,15})-(\d{0,15})", r"^/(?P<name>[a-z0-9_.-]+)(?:/.*)?$", r"\s*,\s*|a+?[^b]")

_KV: Final = 3
_R2: Final = 4
_D1: Final = 5
_DISPATCHER: Final = 6
_BINDINGS: Final = [
    BindingStubSpec("KV", "kv_namespace", _KV),
    BindingStubSpec("R2", "r2_bucket", _R2),
    BindingStubSpec("D1", "d1", _D1),
    BindingStubSpec("DISPATCHER", "dispatch_namespace", _DISPATCHER),
]
_KEY: Final = "key"
_VALUE: Final = json.dumps({"name": "blue", "tags": ["a", "b"], "text": "x" * 64})
_META: Final = {
    "changes": 0,
    "duration": 0.1,
    "last_row_id": 1,
    "rows_read": 1,
    "rows_written": 0,
    "timings": {"sql_duration_ms": 0.1},
}
_ANSWERS: Final[dict[tuple[int, str], Any]] = {  # plain values, as the services answer
    (_KV, "get"): _VALUE.encode(),
    (_KV, "put"): None,
    (_KV, "delete"): None,
    (_KV, "list"): json.dumps({"keys": [{"name": _KEY}], "list_complete": True}).encode(),
    (_R2, "head"): None,
    (_R2, "list"): {"objects": [], "truncated": False, "delimitedPrefixes": []},
    (_D1, "query"): json.dumps(
        {"results": [{"columns": ["a"], "rows": [[1]], "meta": _META}], "bookmark": None}
    ).encode(),
    (_DISPATCHER, "customer/method"): {"key": _KEY, "value": json.loads(_VALUE)},
}
_HEADERS: Final = [("host", "a.example"), ("x-user-id", "user")]
_BODY: Final = _VALUE.encode()
_REQUESTS: Final = (
    RequestValue("GET", "http://a.example/?key=a", _HEADERS),
    RequestValue("POST", "http://a.example/", [*_HEADERS, ("content-length", str(len(_BODY)))], _BODY),
)


class Default(WorkerEntrypoint):
    """Uses the bindings as Workers do."""

    async def fetch(self, request: Any) -> Any:
        assert request.headers["x-user-id"]
        assert request.url
        assert request.method
        if request.headers["content-length"]:
            await request.json()
        found = await self.env.DISPATCHER.get("customer").method(_KEY)
        if found is None:
            return Response("", status=HTTPStatus.NOT_FOUND)
        return Response.from_json(found, headers={"x-answer": "1"})

    async def method(self, key: str) -> Any:
        kv, bucket, database = self.env.KV, self.env.R2, self.env.D1
        await kv.put(key, _VALUE)
        text = await kv.get(key)
        page, files, row = await asyncio.gather(
            kv.list(prefix="a"), bucket.list(prefix="a"), database.prepare("SELECT ?").bind(1).first()
        )
        await database.prepare("INSERT").run()
        await bucket.head(key)
        await kv.delete(key)
        return {
            "key": key,
            "value": json.loads(text),
            "keys": len(page["keys"]),
            "files": len(files.objects),
            "row": row,
        }


def rehearse(times: int) -> None:
    """Takes a few milliseconds each time. Raises whatever goes wrong: nothing may."""
    rehearse_loop(times)
    _import(times)
    loop = asyncio.new_event_loop()
    try:
        kit = Kit(loop, end=lambda _code: None)
        for _ in range(times):
            loop.run_until_complete(_play(kit))
    finally:
        loop.close()
        _env.set_env(_env.make_env([]))


def _import(times: int) -> None:
    """A module is found and run, as the main one of a bundle: one of Python's own, that nobody needs."""
    path, finders = sys.path[:], dict(sys.path_importer_cache)
    try:
        for _ in range(times):
            sys.path[:] = path
            import_main(f"{_MODULE}.py", "/nowhere")
            del sys.modules[_MODULE]
            _entry.find_entrypoints(sys.modules[__name__])
            for pattern in _PATTERNS:
                re.compile(pattern)
            re.purge()
    finally:
        sys.path[:] = path
        for folder in sys.path_importer_cache.keys() - finders:
            del sys.path_importer_cache[folder]


async def _play(kit: Kit) -> None:
    near, far = socket.socketpair()
    host = _Host(near, kit.loop)
    assignment = decode_assignment(encode_assignment(Assignment("rehearsal.py", _BINDINGS, 1, 2)))
    assert isinstance(assignment, Assignment)
    rehearsed = Worker(far, assignment, kit)
    rehearsed._entry = {"Default": Default}
    try:
        for request in _REQUESTS:
            _, answer = host.peer.call(WORKER_ROOT, InvocationKind.FETCH, "fetch", encode([request]))
            response = decode_untrusted((await answer).payload)
            assert response.status == HTTPStatus.OK
        _, answer = host.peer.call(WORKER_ROOT, InvocationKind.RPC, "method", encode([_KEY]))
        await answer
    finally:
        host.peer.close(None)
        rehearsed.peer.close(None)


class _Host:
    """The far end of the channel: answers what the Worker asks."""

    def __init__(self, channel: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self.peer = Peer(channel, self, loop)
        for number in range(1, _DISPATCHER + 1):
            self.peer.session.export(StubExport(number))

    def call_received(self, event: CallReceived) -> None:
        assert event.target is not None
        self.peer.result(event.call, encode(_ANSWERS[event.target.target, event.method]))

    def call_canceled(self, call: int) -> None: ...

    def call_closed(self, call: int) -> None: ...

    def export_over(self, export: StubExport | StreamExport) -> None: ...

    def stream_failed(self, export: StreamExport, error: BaseException) -> None: ...

    def log_received(self, event: LogReceived) -> None:
        raise AssertionError(event.messages)

    def logs_lost(self, event: LogLost) -> None: ...

    def closed(self, error: Exception | None) -> None: ...
