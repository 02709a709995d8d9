"""What a session reports: the events that received frames turn into."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

from tenantry.errors import TenantryError

__all__ = [
    "CallCanceled",
    "CallClosed",
    "CallFailed",
    "CallReceived",
    "CallReturned",
    "Import",
    "InvocationKind",
    "LogReceived",
    "PeerError",
    "StreamAborted",
    "StreamCredited",
    "StreamData",
    "StreamEnded",
    "StreamExport",
    "StubExport",
    "WireLimitError",
]


class InvocationKind(IntEnum):
    """What an invocation delivers. Only the host starts the kinds after RPC."""

    FETCH = 0
    RPC = 1
    SCHEDULED = 2
    QUEUE = 3
    ALARM = 4
    TAIL = 5
    OUTBOUND = 6
    """A fetch that a Worker makes, for the outbound Worker of whoever called it."""


class PeerError(TenantryError):
    """An ERROR frame: how a call failed on the other side. `stack` is for the log of its Worker, never for a caller."""

    def __init__(self, name: str, message: str, code: int = 0, stack: str = "") -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.name = name
        self.message = message
        self.code = code
        self.stack = stack


class WireLimitError(TenantryError):
    """This side asked for more than the protocol has room for. Nothing was sent; its caller may read why."""


@dataclass(slots=True, eq=False)
class Import:
    """A capability of the peer that this side may use: call it (a stub) or read it (a stream).

    `length` is the number of bytes of a stream, or None where the peer does not know it. It is a claim.
    """

    identifier: int
    kind: Literal["stub", "stream"]
    length: int | None = None
    live: bool = True
    credit: int = 0  # bytes that were asked for and have not come
    owner: Any = None  # whatever the I/O side attaches: its reader of the stream
    scope: Any = field(default=None, repr=False)  # private to the session: the invocation that it ends with


@dataclass(slots=True, eq=False)
class StubExport:
    """Something of this side that the peer may call. `target` is opaque to the session.

    It is sent once; to send the target again, make another. One whose target is None, in a list that the peer sent,
    stands for something that is gone: a stub or a stream.
    """

    target: Any
    identifier: int = 0
    scope: Any = field(default=None, repr=False)  # as of an Import


@dataclass(slots=True, eq=False)
class StreamExport:
    """Bytes of this side that the peer may read. `source` is opaque to the session. It is sent once, as a StubExport.

    The peer may hand it back at any time, also after it asked for bytes; `credit` is then 0 and what was sent is lost.
    """

    source: Any
    length: int | None
    identifier: int = 0
    credit: int = 0  # bytes that the reader asked for and that were not sent
    ended: bool = False
    scope: Any = field(default=None, repr=False)  # as of an Import


Capability = Import | StubExport | StreamExport


@dataclass(slots=True, eq=False)
class CallReceived:
    """`target` is what this side exported, or None when the peer named something that is gone by now."""

    call: int
    target: StubExport | None
    kind: InvocationKind
    method: str
    parent: int
    payload: bytes
    capabilities: list[Capability]


@dataclass(slots=True, eq=False)
class CallReturned:
    """`open` says that the callee goes on (waitUntil, a body, a stub): CallClosed follows when it is done."""

    call: int
    payload: bytes
    capabilities: list[Capability]
    open: bool


@dataclass(slots=True, eq=False)
class CallFailed:
    call: int
    error: PeerError


@dataclass(slots=True, eq=False)
class CallClosed:
    """The invocation of a call that had returned `open` is over."""

    call: int


@dataclass(slots=True, eq=False)
class CallCanceled:
    """The caller does not want the result any more. An answer is still owed, and anything will do."""

    call: int


@dataclass(slots=True, eq=False)
class StreamCredited:
    """The peer wants more of a stream: `export.credit` bytes may be sent now."""

    export: StreamExport


@dataclass(slots=True, eq=False)
class StreamData:
    stream: Import
    data: bytes


@dataclass(slots=True, eq=False)
class StreamEnded:
    stream: Import


@dataclass(slots=True, eq=False)
class StreamAborted:
    stream: Import
    reason: str


@dataclass(slots=True, eq=False)
class LogReceived:
    """Something the code of an invocation printed, logged or raised. `call` is the invocation, or 0."""

    call: int
    level: str
    message: str


Event = (
    CallReceived
    | CallReturned
    | CallFailed
    | CallClosed
    | CallCanceled
    | StreamCredited
    | StreamData
    | StreamEnded
    | StreamAborted
    | LogReceived
)
