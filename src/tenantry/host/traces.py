"""What one invocation did, for whoever watches its Worker: what came, what was logged, how it ended.

Nothing is recorded for a Worker that nobody watches: `TraceHub.recorder` then gives None, and that is all it costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from tenantry.errors import LimitExceeded, ProtocolError
from tenantry.host.keeping import Keeping
from tenantry.wire.entry import split_entry
from tenantry.wire.events import InvocationKind, PeerError
from tenantry.wire.values import RequestValue, ResponseValue, decode_untrusted

if TYPE_CHECKING:
    from tenantry.config.deployment import DeployedWorker

__all__ = ["Recorder", "Trace", "TraceException", "TraceHub", "TraceLog", "TraceRequest"]

_log = structlog.get_logger()
_URL_CHARACTERS_MAX: Final = 8192
_HIDDEN: Final = ("auth", "cookie", "token", "secret", "key", "jwt", "password", "session")
"""A header with one of these in its name is shown without its value."""


class TraceLog(msgspec.Struct, frozen=True, gc=False):
    """A line of the Worker's log. `at` is in milliseconds since 1970. `gc=False`: as LogEvent."""

    level: str
    message: str
    at: int


class TraceException(msgspec.Struct, frozen=True):
    name: str
    message: str
    stack: str
    at: int


class TraceRequest(msgspec.Struct, frozen=True):
    """Headers in lower case; the values of those that let somebody in are left out."""

    method: str
    url: str
    headers: dict[str, str]


class Trace(msgspec.Struct, frozen=True):
    """An invocation that is over, or what a Worker said outside of any (then `began_at` is None).

    `outcome` is a word of Cloudflare's: ok, exception, canceled, exceededCpu, unknown. Everything in it that is text is
    a tenant's or a visitor's.
    """

    worker: str
    namespace: str | None
    version_id: str
    outcome: str
    logs: list[TraceLog]
    exceptions: list[TraceException] = []
    began_at: int | None = None
    wall_ms: int = 0
    cpu_ms: int = 0
    request: TraceRequest | None = None
    status: int | None = None
    method: str | None = None
    """Of an RPC call."""


Listener = Callable[[Trace], None]


class TraceHub:
    """Passes traces on to those who watch a Worker. Listeners are called on the event loop and must not block."""

    def __init__(self) -> None:
        self._listeners: dict[tuple[str | None, str], list[Listener]] = {}
        self._of_notable: list[Listener] = []
        self.keeping = Keeping()
        """Which of the others those hear of who hear of what is notable."""

    def watch(self, namespace: str | None, name: str, listener: Listener) -> Callable[[], None]:
        """From now on `listener` hears of what the Worker does, until the function that is returned is called."""
        listeners = self._listeners.setdefault((namespace, name), [])
        listeners.append(listener)

        def leave() -> None:
            if listener in listeners:
                listeners.remove(listener)
            if not listeners and self._listeners.get((namespace, name)) is listeners:
                del self._listeners[namespace, name]

        return leave

    def watch_notable(self, listener: Listener) -> Callable[[], None]:
        """As `watch`, of all Workers, but only of invocations that said something or did not end `ok`, and of those
        that `keeping` admits.

        What else ends `ok` in silence costs nothing: its recorder would be made by what it says, or by its failure.
        """
        self._of_notable.append(listener)

        def leave() -> None:
            if listener in self._of_notable:
                self._of_notable.remove(listener)

        return leave

    @property
    def keeps_notable(self) -> bool:
        return bool(self._of_notable)

    def recorder(
        self,
        worker: DeployedWorker,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        redact: Callable[[str], str] | None = None,
    ) -> Recorder | None:
        """For an invocation that begins; None when nobody watches."""
        if not self._listeners and not self.keeping:
            return None
        place = (worker.namespace, worker.name)
        is_kept = bool(self._of_notable) and self.keeping.admits(place)
        if not is_kept and place not in self._listeners:
            return None
        return Recorder(self, worker, kind, method, payload, redact, is_kept=is_kept)

    def said(self, worker: DeployedWorker, level: str, messages: Sequence[str]) -> None:
        """Something that the Worker logged while it ran no invocation."""
        if self._of_notable or (worker.namespace, worker.name) in self._listeners:
            logs = _logs(level, messages)
            self.publish(Trace(worker.name, worker.namespace, worker.version_id, "unknown", logs))

    def publish(self, trace: Trace, *, is_kept: bool = False) -> None:
        listeners = list(self._listeners.get((trace.namespace, trace.worker), ()))
        if is_kept or trace.logs or trace.outcome != "ok":
            listeners += self._of_notable
        for listener in listeners:
            try:
                listener(trace)
            except Exception:  # noqa: BLE001 - whoever watches may fail; that harms no request
                _log.exception("a trace could not be passed on", worker=trace.worker)


class Recorder:
    """Notes of one invocation. They are published once it is answered and nothing of it is left."""

    def __init__(
        self,
        hub: TraceHub,
        worker: DeployedWorker,
        kind: InvocationKind,
        method: str,
        payload: bytes,
        redact: Callable[[str], str] | None = None,
        age_seconds: float = 0.0,
        *,
        is_kept: bool = False,
    ) -> None:
        """`redact` takes secrets out of what the Worker says. `age_seconds`: how long ago the invocation began.
        `is_kept`: it is notable, whatever comes of it."""
        self._is_kept = is_kept
        self._hub = hub
        self._redact = redact
        self._worker = worker
        self._is_fetch = kind in (InvocationKind.FETCH, InvocationKind.ENTRY_FETCH)
        self._method = method
        self._request = _request_untrusted(split_entry(kind, payload)[2]) if self._is_fetch else None
        self._began_at = _now_ms() - round(age_seconds * 1000)
        self._logs: list[TraceLog] = []
        self._exceptions: list[TraceException] = []
        self._outcome: str | None = None
        self._status: int | None = None
        self._over = False
        self._published = False
        self.cpu_seconds = 0.0

    def log(self, level: str, messages: Sequence[str]) -> None:
        self._logs += _logs(level, messages)

    def answered_before(self) -> None:
        """It is made for what comes after the answer, of which nothing is known any more."""
        self._settle("ok")

    def answered(self, payload: bytes) -> None:
        self._status = _status_untrusted(payload) if self._is_fetch else None
        self._settle("ok")

    def failed(self, error: BaseException) -> None:
        if isinstance(error, PeerError):
            # Its traceback is what the Worker logged last.
            last = self._logs.pop() if self._logs and self._logs[-1].message.startswith("Traceback") else None
            stack = last.message if last is not None else ""
            name, message = error.name, error.message
            if self._redact is not None:
                name, message = self._redact(name), self._redact(message)
            self._exceptions.append(TraceException(name, message, stack, _now_ms()))
            self._settle("exception")
        elif isinstance(error, LimitExceeded):
            self._exceptions.append(TraceException("Error", str(error), "", _now_ms()))
            self._settle("exceededCpu")
        else:
            self._settle("unknown" if isinstance(error, Exception) else "canceled")

    def over(self, cpu_seconds: float) -> None:
        self.cpu_seconds = cpu_seconds
        self._over = True
        self._publish_when_done()

    def _settle(self, outcome: str) -> None:
        if self._published:
            return  # a client that left when all was over
        self._outcome = outcome
        self._publish_when_done()

    def _publish_when_done(self) -> None:
        if not self._over or self._outcome is None:
            return
        self._published = True
        self._hub.publish(
            Trace(
                worker=self._worker.name,
                namespace=self._worker.namespace,
                version_id=self._worker.version_id,
                outcome=self._outcome,
                logs=self._logs,
                exceptions=self._exceptions,
                began_at=self._began_at,
                wall_ms=_now_ms() - self._began_at,
                cpu_ms=round(self.cpu_seconds * 1000),
                request=self._request,
                status=self._status,
                method=None if self._is_fetch else self._method,
            ),
            is_kept=self._is_kept,
        )


def _request_untrusted(payload: bytes) -> TraceRequest | None:
    """The request of a call; None for what is none."""
    try:
        args = decode_untrusted(payload)
    except ProtocolError:
        return None
    request = args[0] if isinstance(args, list) and args else None
    if not isinstance(request, RequestValue):
        return None
    headers: dict[str, str] = {}
    for name, value in request.headers:
        lower = name.lower()
        hidden = any(word in lower for word in _HIDDEN)
        headers[lower] = "REDACTED" if hidden else value
    return TraceRequest(request.method, request.url[:_URL_CHARACTERS_MAX], headers)


def _status_untrusted(payload: bytes) -> int | None:
    try:
        response = decode_untrusted(payload)
    except ProtocolError:
        return None
    return response.status if isinstance(response, ResponseValue) else None


def _logs(level: str, messages: Sequence[str]) -> list[TraceLog]:
    now = _now_ms()
    return [TraceLog(level, message, now) for message in messages]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
