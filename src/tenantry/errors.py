"""The errors of tenantry, split by what the caller does next.

    TenantryError
    ├── ConfigError            the operator's file or argument is wrong: mend it and start again
    ├── IsolationError         this machine lacks a sandbox layer that was asked for
    ├── ProtocolError          a peer broke the wire protocol: close its channel, kill its process
    ├── StartRefused           a Worker that was tried could not be imported: the message is for its author
    ├── BindingError           a binding call failed: the Worker sees `name` and `message`
    │   └── StorageError       the disk below a resource failed: the log names the file; to try again may help
    │       └── StorageFull    it has no space left: reads go on, writes do again when there is some (507)
    ├── InvocationError        an invocation did not produce its result
    │   ├── WorkerNotFound     no such Worker
    │   ├── WorkerThrew        the Worker's own code raised (1101)
    │   ├── WorkerCrashed      its process died, or never started (1101)
    │   ├── LimitExceeded      CPU, memory or time (1102)
    │   │   ├── TimeLimitExceeded  wall time: its caller waited too long
    │   │   └── StartLimitExceeded its import took too long (1101)
    │   └── Overloaded         the Worker has too many invocations running and waiting (429)
    └── StreamError            a body ended before its end

Domain errors know nothing of HTTP: each edge (gateway, control) has one table from these to a status.
`str(error)` may be read by a tenant. What only the operator needs goes into the log, never into the message.
"""

from __future__ import annotations


class TenantryError(Exception):
    """The root. `code` is the public number of the error where Cloudflare defines one."""

    code: int = 0


class ConfigError(TenantryError):
    """A setting, a file or an argument that cannot be used. The message says which and how to mend it."""


class IsolationError(TenantryError):
    """A sandbox layer is missing. `layer` is its name, also where `tenantry doctor` says what is wrong."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"{layer}: {reason}")
        self.layer = layer
        self.reason = reason


class ProtocolError(TenantryError):
    """A peer sent what the wire protocol does not allow."""


class StartRefused(TenantryError):
    """A Worker that was started for a try could not be imported. The message has its own traceback, or the limit."""


class BindingError(TenantryError):
    """A binding call failed for a reason that the Worker may read.

    `name` is the JavaScript class (`Error`, `TypeError`, `RangeError`, …), `message` Cloudflare's text. The Worker
    gets both as a `pyodide.ffi.JsException`.
    """

    def __init__(self, message: str, name: str = "Error") -> None:
        super().__init__(message)
        self.name = name
        self.message = message


class StorageError(BindingError):
    """What lies below a resource could not be read or written. Others are not concerned.

    The message is safe for a tenant. The operator finds the resource and the cause, which is chained, in the log.
    """


class StorageFull(StorageError):
    """The disk has no space left, and the write was not done. The resource is sound and can be read."""


class InvocationError(TenantryError):
    """An invocation did not produce its result."""


class WorkerNotFound(InvocationError):
    """No such Worker in the namespace. The message begins with `Worker not found`, which dispatchers test for."""

    code = 1042

    def __init__(self, message: str = "Worker not found.") -> None:
        super().__init__(message)


class WorkerThrew(InvocationError):
    """The Worker's own code raised. `name` and `message` are the exception's, `remote` crosses to a calling Worker."""

    code = 1101

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}" if name else message)
        self.name = name
        self.message = message


class WorkerCrashed(InvocationError):
    """The process of the Worker died while it held the invocation, or it could not be started."""

    code = 1101


class LimitExceeded(InvocationError):
    """The Worker used more than its limit allows: CPU time, memory, wall time."""

    code = 1102


class TimeLimitExceeded(LimitExceeded):
    """The Worker did not answer in time."""


class StartLimitExceeded(LimitExceeded):
    """The Worker used more CPU or wall time to be imported than it may."""

    code = 1101


class Overloaded(InvocationError):
    """More invocations than the Worker may run and queue."""

    code = 1015


class StreamError(TenantryError):
    """A body broke off before its end: its producer failed, was killed or went away."""
