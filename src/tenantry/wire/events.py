"""What a session reports: the events that received frames turn into."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import msgspec

from tenantry.errors import TenantryError

__all__ = [
    "CallCanceled",
    "CallClosed",
    "CallFailed",
    "CallReceived",
    "CallReturned",
    "Import",
    "InvocationKind",
    "LogLost",
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
    ENTRY_FETCH = 6
    ENTRY_RPC = 7
    """As FETCH and RPC, with what the host says of their entrypoint in front of the arguments: see `entry`."""


class PeerError(TenantryError):
    """An ERROR frame: how a call failed on the other side. Where it did is for its Worker's log, never for a caller."""

    def __init__(self, name: str, message: str, code: int = 0) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.name = name
        self.message = message
        self.code = code


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


class CallReceived(msgspec.Struct, eq=False):
    """`target` is what this side exported, or None when the peer named something that is gone by now."""

    call: int
    target: StubExport | None
    kind: InvocationKind
    method: str
    parent: int
    payload: bytes
    capabilities: list[Capability]


class CallReturned(msgspec.Struct, eq=False):
    """`open` says that the callee goes on (waitUntil, a body, a stub): CallClosed follows when it is done."""

    call: int
    payload: bytes
    capabilities: list[Capability]
    open: bool


class CallFailed(msgspec.Struct, eq=False):
    call: int
    error: PeerError


class CallClosed(msgspec.Struct, eq=False):
    """The invocation of a call that had returned `open` is over."""

    call: int


class CallCanceled(msgspec.Struct, eq=False):
    """The caller does not want the result any more. An answer is still owed, and anything will do."""

    call: int


class StreamCredited(msgspec.Struct, eq=False):
    """The peer wants more of a stream: `export.credit` bytes may be sent now."""

    export: StreamExport


class StreamData(msgspec.Struct, eq=False):
    stream: Import
    data: bytes


class StreamEnded(msgspec.Struct, eq=False):
    stream: Import


class StreamAborted(msgspec.Struct, eq=False):
    stream: Import
    reason: str


class LogReceived(msgspec.Struct, eq=False):
    """What the code of an invocation printed, logged or raised: at least one message. `call` is the invocation, or 0.
    `size` is what they took of the log's window."""

    call: int
    level: str
    messages: list[str]
    size: int


class LogLost(msgspec.Struct, eq=False):
    """So many messages did not fit into the log's window. `call` is the invocation of the last of them, or 0."""

    call: int
    count: int


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
    | LogLost
)
