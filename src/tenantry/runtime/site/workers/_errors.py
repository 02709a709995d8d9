"""Exceptions as they cross the border of a Worker: how a peer's error looks here, and how ours is told to a peer.

A JavaScript error is a `JsException` with `name` and `message`. One whose name Python knows is also an instance of
Python's class of that name, so that both `except JsException` and `except TypeError` catch it.
"""

from __future__ import annotations

from typing import Final

from tenantry.wire.values import DataCloneError as WireDataCloneError

__all__ = [
    "DataCloneError",
    "HttpStatusError",
    "JsException",
    "data_clone_error",
    "error_from_peer",
    "error_to_peer",
    "range_error",
    "type_error",
]


class JsException(Exception):
    """An error of the platform, of a binding, or of another Worker."""

    remote = False
    """Whether the code of another Worker raised it."""

    def __init__(self, name: str = "Error", message: str = "", stack: str = "") -> None:
        # The classes beside this one (OSError, KeyError) would read the arguments in ways of their own.
        self.args = (message,)
        self.name = name
        self.message = message
        self.stack = stack

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    def toString(self) -> str:
        return str(self)


JsException.__module__ = "pyodide.ffi"


class JsTypeError(JsException, TypeError):
    """JavaScript's TypeError."""


class JsRangeError(JsException, ValueError):
    """JavaScript's RangeError, which Python's SDK calls a ValueError."""


class DataCloneError(JsException, WireDataCloneError):
    """A value that cannot be sent."""


def type_error(message: str) -> JsException:
    return JsTypeError("TypeError", message)


def range_error(message: str) -> JsException:
    return JsRangeError("RangeError", message)


def data_clone_error(message: str) -> JsException:
    return DataCloneError("DataCloneError", message)


class HttpStatusError(OSError):
    """What `raise_for_status()` raises."""

    def __init__(self, status: int, status_text: str, url: str) -> None:
        kind = "Client" if status < 500 else "Server"
        super().__init__(f"{status} {kind} Error: {status_text} for url: {url}")
        self.status = status
        self.status_text = status_text
        self.url = url


_BASES: Final[dict[str, type[Exception]]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        ConnectionError,
        FileExistsError,
        FileNotFoundError,
        IndexError,
        KeyError,
        LookupError,
        NotImplementedError,
        OSError,
        OverflowError,
        PermissionError,
        RuntimeError,
        TimeoutError,
        ValueError,
        ZeroDivisionError,
    )
}
"""A closed list: a peer chooses the name, and must not be able to make classes without end."""

_classes: dict[str, type[JsException]] = {
    "TypeError": JsTypeError,
    "RangeError": JsRangeError,
    "DataCloneError": DataCloneError,
}


def error_from_peer(name: str, message: str) -> JsException:
    """The exception for an ERROR of the host or of another Worker."""
    kind = _classes.get(name)
    if kind is None:
        base = _BASES.get(name)
        kind = JsException if base is None else type(name, (JsException, base), {"__module__": "pyodide.ffi"})
        if base is not None:
            _classes[name] = kind
    error = kind(name or "Error", message)
    error.remote = True
    return error


def error_to_peer(error: BaseException) -> tuple[str, str]:
    """(name, message) of an exception. Where it was raised is for the Worker's own log."""
    if isinstance(error, JsException):
        return error.name, error.message
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - a tenant's __str__ may do anything
        message = ""
    return type(error).__name__, message
