"""The errors of KV.

    BindingError               the Worker reads it; made by the functions below, in Cloudflare's words
    ├── Refused                the service refuses an operation; `reason` says why, for who speaks another protocol
    └── StorageError           the engine failed: a full or broken disk, a closed engine. The Worker reads a status of
        │                      500 or, where the disk is full, 507; the operator the cause
        └── NamespaceGone      the namespace was deleted: 404

An operation that the service refuses is `KV <VERB> failed: <status> <text>`; what the client's half refuses before it
asks the service is a bare TypeError.
"""

from __future__ import annotations

from enum import Enum, auto

from tenantry.errors import BindingError, StorageError, StorageFull

__all__ = [
    "NamespaceGone",
    "Reason",
    "Refused",
    "StorageError",
    "argument_type_error",
    "refused",
    "storage_refused",
    "type_error",
]


class Reason(Enum):
    """Why an operation is refused: what the caller has to change."""

    KEY = auto()
    KEY_LENGTH = auto()
    VALUE = auto()
    VALUE_LENGTH = auto()
    METADATA = auto()
    EXPIRATION = auto()
    EXPIRATION_TTL = auto()
    CACHE_TTL = auto()
    LIMIT = auto()
    CURSOR = auto()
    BULK = auto()
    RATE = auto()
    QUOTA = auto()


class Refused(BindingError):
    """`status` and `text` are those of the HTTP answer that Cloudflare's service gives to its binding."""

    def __init__(self, verb: str, status: int, text: str, reason: Reason) -> None:
        super().__init__(f"KV {verb} failed: {status} {text}")
        self.status = status
        self.text = text
        self.reason = reason


class NamespaceGone(StorageError):
    """The namespace was deleted, and nothing brings it back."""

    def __init__(self) -> None:
        super().__init__("The KV namespace was deleted.")


def refused(verb: str, status: int, text: str, reason: Reason) -> Refused:
    """`verb` is GET, PUT, DELETE or GET_BULK. A listing is a GET too."""
    return Refused(verb, status, text, reason)


def storage_refused(verb: str, error: StorageError) -> BindingError:
    """What an engine could not do, in the words of an operation."""
    if isinstance(error, NamespaceGone):
        return BindingError(f"KV {verb} failed: 404 namespace not found")
    if isinstance(error, StorageFull):
        return StorageFull(f"KV {verb} failed: 507 Insufficient Storage")
    return StorageError(f"KV {verb} failed: 500 Internal Server Error")


def type_error(text: str) -> BindingError:
    return BindingError(text, "TypeError")


def argument_type_error(method: str, position: int, expected: str) -> BindingError:
    """The text that workerd has for an argument of a wrong type; positions count from 1."""
    return type_error(
        f"Failed to execute '{method}' on 'KvNamespace': parameter {position} is not of type '{expected}'."
    )
