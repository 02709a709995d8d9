"""Live tails of Workers: sessions that a client opens over REST and reads over a WebSocket.

The URL of a session is all that its reader needs: it holds 256 random bits, and expires. Each reader has a queue of its
own with a bound; what does not fit into it is lost, and said to be.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec

from tenantry.control import limits
from tenantry.control.errors import Invalid, NotFound
from tenantry.control.records import ScriptRef
from tenantry.host import Trace

__all__ = ["Reader", "Tail", "TailFilter", "Tails", "Watchable", "message_of", "parse_filters_untrusted"]


class Watchable(Protocol):
    """Whoever tells of what Workers do."""

    def watch(self, namespace: str | None, name: str, listener: Callable[[Trace], None]) -> Callable[[], None]:
        """`listener` hears of each invocation until the function that is returned is called."""


class _HeaderFilter(msgspec.Struct, frozen=True):
    key: str
    query: str | None = None


class TailFilter(msgspec.Struct, frozen=True):
    """One of Cloudflare's filters; an item of the list has one key. All filters of a tail have to let a trace pass."""

    sampling_rate: float | None = None
    outcome: list[str] | None = None
    method: list[str] | None = None
    header: _HeaderFilter | None = None
    client_ip: list[str] | None = None
    query: str | None = None
    scriptVersion: str | None = None  # noqa: N815 - as it is sent

    def passes(self, trace: Trace, draw: Callable[[], float]) -> bool:
        """`draw` gives a number in [0, 1)."""
        request = trace.request
        if self.sampling_rate is not None and draw() >= self.sampling_rate:
            return False
        if self.outcome is not None and trace.outcome not in self.outcome:
            return False
        if self.method is not None:
            wanted = {method.upper() for method in self.method}
            if request is None or request.method.upper() not in wanted:
                return False
        if self.header is not None:
            value = None if request is None else request.headers.get(self.header.key.lower())
            if value is None or (self.header.query is not None and self.header.query not in value):
                return False
        if self.client_ip is not None:
            address = None if request is None else request.headers.get("cf-connecting-ip")
            if address is None or address not in self.client_ip:
                return False
        if self.query is not None and not any(self.query in log.message for log in trace.logs):
            return False
        return self.scriptVersion is None or trace.version_id == self.scriptVersion


class _Filters(msgspec.Struct, frozen=True):
    filters: list[TailFilter] = []


def parse_filters_untrusted(body: bytes) -> tuple[TailFilter, ...]:
    """The filters of a request body, which may be empty. Raises Invalid (10021)."""
    try:
        decoded = msgspec.json.decode(body, type=_Filters) if body.strip() else _Filters()
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(10021, f"filters: {error}") from error
    if len(decoded.filters) > limits.TAIL_FILTERS_MAX:
        raise Invalid(10021, f"filters: more than {limits.TAIL_FILTERS_MAX}")
    return tuple(decoded.filters)


def message_of(trace: Trace) -> bytes:
    """A trace in the shape of Cloudflare's `trace-v1`."""
    event: dict[str, Any] | None = None
    if trace.request is not None:
        request = trace.request
        event = {"request": {"url": request.url, "method": request.method, "headers": request.headers, "cf": {}}}
        if trace.status is not None:
            event["response"] = {"status": trace.status}
    elif trace.method is not None:
        event = {"rpcMethod": trace.method}
    return msgspec.json.encode(
        {
            "outcome": trace.outcome,
            "scriptName": trace.worker,
            "scriptVersion": {"id": trace.version_id},
            "executionModel": "stateless",
            "exceptions": [
                {"name": each.name, "message": each.message, "stack": each.stack, "timestamp": each.at}
                for each in trace.exceptions
            ],
            "logs": [{"message": [each.message], "level": each.level, "timestamp": each.at} for each in trace.logs],
            "diagnosticsChannelEvents": [],
            "truncated": False,
            "cpuTime": trace.cpu_ms,
            "wallTime": trace.wall_ms,
            "eventTimestamp": trace.began_at,
            "event": event,
        }
    )


def _overload_message(lost: int) -> bytes:
    text = f"{lost} messages were left out: this reader is too slow, or filters too little"
    event = {"message": text, "type": "overload"}
    return msgspec.json.encode(
        {"outcome": "unknown", "scriptName": None, "exceptions": [], "logs": [], "eventTimestamp": None, "event": event}
    )


class Reader:
    """What one connection still has to be sent. Bounded in messages and in bytes."""

    def __init__(self) -> None:
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._lost = 0
        self._changed = asyncio.Event()

    def put(self, message: bytes) -> None:
        is_full = (
            len(self._pending) >= limits.TAIL_PENDING_MESSAGES_MAX
            or self._pending_bytes + len(message) > limits.TAIL_PENDING_BYTES_MAX
        )
        if is_full:
            self._lost += 1
        else:
            self._pending.append(message)
            self._pending_bytes += len(message)
        self._changed.set()

    async def get(self) -> bytes:
        """The next message, once there is one."""
        while True:
            if self._pending:
                message = self._pending.popleft()
                self._pending_bytes -= len(message)
                return message
            if self._lost:
                lost, self._lost = self._lost, 0
                return _overload_message(lost)
            self._changed.clear()
            await self._changed.wait()


@dataclass(slots=True, eq=False)
class Tail:
    """A session. `secret` is the part of its URL that opens it."""

    id: str
    secret: str
    ref: ScriptRef
    filters: Sequence[TailFilter]
    expires_at: datetime
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    connected: bool = False


class Tails:
    """The sessions of the platform. Made and used on one event loop; they end with it.

    `now` and `draw` are the clock and the dice.
    """

    def __init__(
        self,
        workers: Watchable,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        draw: Callable[[], float] = lambda: secrets.randbelow(1 << 32) / (1 << 32),
    ) -> None:
        self._workers = workers
        self._now = now
        self._draw = draw
        self._tails: dict[str, Tail] = {}

    def create(self, ref: ScriptRef, filters: Sequence[TailFilter]) -> Tail:
        """Raises Invalid (10021) when the Worker has as many as it may."""
        self._forget_expired()
        if len(self.of(ref)) >= limits.TAILS_PER_WORKER_MAX or len(self._tails) >= limits.TAILS_MAX:
            raise Invalid(
                10021,
                f"This Worker has {limits.TAILS_PER_WORKER_MAX} tails already, or the platform too many: end one.",
            )
        expires_at = self._now() + timedelta(seconds=limits.TAIL_SECONDS_MAX)
        tail = Tail(secrets.token_hex(16), secrets.token_urlsafe(32), ref, filters, expires_at)
        self._tails[tail.id] = tail
        return tail

    def of(self, ref: ScriptRef) -> list[Tail]:
        self._forget_expired()
        return [tail for tail in self._tails.values() if tail.ref == ref]

    def delete(self, ref: ScriptRef, tail_id: str) -> None:
        """Raises NotFound (10007)."""
        tail = self._tails.get(tail_id)
        if tail is None or tail.ref != ref:
            raise NotFound(10007, "This Worker has no such tail.")
        self._end(tail)

    def claim_untrusted(self, secret: str) -> Tail | None:
        """The session that a connection may read: each is read once. None for any other text."""
        self._forget_expired()
        for tail in self._tails.values():
            if secrets.compare_digest(tail.secret.encode(), secret.encode("utf-8", "surrogatepass")):
                if tail.connected:
                    return None
                tail.connected = True
                return tail
        return None

    def read(self, tail: Tail) -> tuple[Reader, Callable[[], None]]:
        """From now on the reader gets what the tail's filters let pass. The function ends that, and the session."""
        reader = Reader()

        def listen(trace: Trace) -> None:
            if all(each.passes(trace, self._draw) for each in tail.filters):
                reader.put(message_of(trace))

        leave = self._workers.watch(tail.ref.namespace, tail.ref.name, listen)

        def end() -> None:
            leave()
            self._end(tail)

        return reader, end

    def seconds_left(self, tail: Tail) -> float:
        return max(0.0, (tail.expires_at - self._now()).total_seconds())

    def close(self) -> None:
        for tail in list(self._tails.values()):
            self._end(tail)

    def _end(self, tail: Tail) -> None:
        self._tails.pop(tail.id, None)
        tail.closed.set()

    def _forget_expired(self) -> None:
        now = self._now()
        for tail in [tail for tail in self._tails.values() if tail.expires_at <= now]:
            self._end(tail)
