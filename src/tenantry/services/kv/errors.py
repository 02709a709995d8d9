"""The errors of KV.

    BindingError                 the Worker reads it; made by the functions below, in Cloudflare's words
    StorageError (BindingError)  the engine failed: a full or broken disk, a closed engine. The Worker reads a status
                                 of 500 or, where the disk is full, 507; the operator the cause

An operation that the service refuses is `KV <VERB> failed: <status> <text>`; what the client's half refuses before it
asks the service is a bare TypeError.
"""

from __future__ import annotations

from tenantry.errors import BindingError, StorageError, StorageFull

__all__ = ["StorageError", "argument_type_error", "refused", "storage_refused", "type_error"]


def refused(verb: str, status: int, text: str) -> BindingError:
    """`verb` is GET, PUT, DELETE or GET_BULK. A listing is a GET too."""
    return BindingError(f"KV {verb} failed: {status} {text}")


def storage_refused(verb: str, error: StorageError) -> StorageError:
    """What an engine could not do, in the words of an operation."""
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
